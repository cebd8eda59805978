// The form of the arithmetic `int8` that the variants share; only this room includes it. Sixteen weight rows are taken at a time,
// a lane to a row: their codes and scales, unit by unit of columns, then all activation rows times them.
#pragma once

#include <cstdint>

#include "kernels/strips/strips.h"

namespace gemloupe::int8 {

inline constexpr int kBlock = 32;  // columns that share an activation scale
inline constexpr int kPart = 16;   // columns that every group and block is made of

// A unit of sixteen weight rows times all activation rows, whose pointers stand at the unit's first column, a multiple of 32.
struct Product {
  const uint8_t* codes = nullptr;  // [column / 4][16][4]
  const float* scale = nullptr;    // [group][16]
  const float* min = nullptr;      // likewise, or null
  int group = 0, offset = 0;
  int64_t cols = 0;
  int64_t rows = 0;
  const int8_t* q = nullptr;       // [row][padded]
  const int32_t* sums = nullptr;   // of 16 columns each, [row][padded / 16]
  const float* s = nullptr;        // [row][padded / 32]
  int64_t padded = 0;
  float* acc = nullptr;            // [row][16]
};

struct Steps {
  void (*codes)(const StripLayout& layout, const uint8_t* unit, uint8_t* code);
  void (*scales)(const StripLayout& layout, const uint8_t* unit, float* scale, float* min);
  void (*multiply)(const Product& product);
};
extern const Steps avx512_steps;

}  // namespace gemloupe::int8
