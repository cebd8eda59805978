// The tiled form of matmul_exact that the vector variants share; only this room and kernels/experts include it.
//
// Weight rows are taken `lanes` at a time: decoded by their format into a small scratch, then interleaved so that a
// register holds four columns of each row, one row a lane. A lane then sums its own row, in ascending order, with no sums
// across lanes. The same tile serves one activation row and five hundred.
#pragma once

#include <cstdint>

#include "kernels/matmul/batch.h"
#include "kernels/matmul/exact.h"

namespace gemloupe::matmul {

// One tile times all activation rows of a job, over a chunk of columns.
struct Product {
  const uint8_t* codes = nullptr;  // [column / 4][lane][4]
  const float* scale = nullptr;    // [group][lane]
  const float* min = nullptr;      // [group][lane], or null
  int64_t cols = 0;  // in this chunk; what lies between them and the end of the last group multiplies zeros
  int group = 0;
  int used = 0;          // lanes that are rows of the weight
  bool has_min = false;
  bool first = false;    // begins the sums; else they are in y
  bool last = false;     // ends them: multiply by row_scale
  int64_t rows = 0;
  const uint8_t* planes = nullptr;  // activations from the chunk's first column, in the variant's own order, 2 bytes each
  int64_t plane_stride = 0;         // bytes between rows
  const int32_t* correction = nullptr;  // -offset * X of each run (kRun), from the chunk's first one
  const float* sums = nullptr;          // float(X)
  int64_t run_stride = 0;
  const float* row_scale = nullptr;
  float* const* y = nullptr;  // one pointer a row
  int64_t y_first = 0;        // where in it the tile's first lane goes
};

// Types that a variant may read without the detour through decoded rows.
enum class Known { none, q4_0, q5_0, q8_0, q4_k, q6_k };
inline constexpr int kKnown = 6;

// For `lanes` full rows of `blocks` blocks, row_bytes apart. Both are null for a type that goes the detour.
struct Direct {
  // Straight into a tile. As many bytes as it reads are prefetched from `next` on.
  void (*fill)(const uint8_t* rows, int64_t row_bytes, int64_t blocks, const uint8_t* next, uint8_t* codes, float* scale,
               float* min);
  // Times one activation row, all columns at once, without a tile: codes, scale, min, first, last and rows of p are not used.
  void (*dot)(const uint8_t* rows, int64_t row_bytes, int64_t blocks, const Product& p);
};

// What a variant brings.
struct Steps {
  int lanes;
  Quantize* quantize;
  // [lane][column] to [column / 4][lane][4]; `cols` is a multiple of 64.
  void (*interleave)(const uint8_t* staged, int64_t stride, int64_t cols, uint8_t* codes);
  // [lane][group] to [group][lane]; `groups` is a multiple of 16.
  void (*turn)(const float* staged, int64_t stride, int64_t groups, float* turned);
  void (*multiply)(const Product& product);
  const Direct* direct;  // [Known], or null
};
extern const Steps avx2_steps, avx512_steps;
extern const Direct avx512_direct[kKnown];

// One weight and the activation rows that it is multiplied with.
struct Job {
  PackedRows w;
  int64_t first = 0, rows = 0;  // in the order of Batch
};

// All jobs have the same cols and layout; they cover the batch's rows.
void multiply(const Steps& steps, const Batch& batch, const Job* jobs, int64_t count);

}  // namespace gemloupe::matmul
