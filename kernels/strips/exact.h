// The form of the exact arithmetic over strips that the vector variants share; only this room includes it.
//
// A thread walks up to four strips at a time, unit by unit, at the same columns: memory then has four streams to follow, and the
// activations of a unit stay in the first cache. Work is dealt out in pieces that shrink, so that no thread waits long.
#pragma once

#include <cstdint>

#include "kernels/matmul/tiles.h"
#include "kernels/strips/strips.h"

namespace gemloupe::strips {

inline constexpr int kStreams = 4;

// Up to four strips times all activation rows of a job.
struct Lockstep {
  StripLayout layout;
  int64_t units = 0, groups = 0;  // groups that have columns
  int streams = 0;
  const uint8_t* strip[kStreams] = {};
  const uint8_t* end[kStreams] = {};   // of the strips that this stream still walks
  const uint8_t* next[kStreams] = {};  // what is read thereafter
  int64_t y_first[kStreams] = {};      // where in a row of y the strip's first row goes
  int used[kStreams] = {};             // rows of the strip that y has
  int64_t rows = 0;
  const uint8_t* planes = nullptr;  // activations, 2 bytes a column in the variant's own order
  int64_t plane_stride = 0;         // bytes between rows
  const uint8_t* panels = nullptr;  // activations once more, as Steps::panels left them
  const int32_t* correction = nullptr;  // -offset * X of each group
  const float* sums = nullptr;          // float(X)
  int64_t run_stride = 0;
  const float* row_scale = nullptr;
  float* const* y = nullptr;  // one pointer a row
  float* acc = nullptr;       // [stream][row][16], for the variant's use
};

// What a variant brings.
struct Steps {
  matmul::Quantize* quantize;
  void (*multiply)(const Lockstep& step);
  // Of `rows` activation rows: bytes that their panels take, and the panels. Null where there are none.
  int64_t (*panel_bytes)(int64_t rows, int64_t padded, int group);
  void (*panels)(const uint8_t* planes, int64_t plane_stride, int64_t rows, int64_t padded, int group, uint8_t* to);
};
extern const Steps avx2_steps, avx512_steps, amx_steps;

// A part and the activation rows that it is multiplied with.
struct Job {
  int64_t part = 0;
  int64_t first = 0, rows = 0;  // in the order of the batch
};

// Rows `first_row` .. of each job's part; batch.y.cols of them.
void multiply(const Steps& steps, const matmul::Batch& batch, const Strips& w, int64_t first_row, const Job* jobs, int64_t count);

}  // namespace gemloupe::strips
