// The form of the exact arithmetic over strips that the vector variants share; only this room includes it.
//
// A thread walks two strips at a time, at the same columns: two streams for memory to follow, while the activations of those columns
// stay in the first cache. Work is dealt out in pieces that shrink, so that no thread waits long.
#pragma once

#include <cstdint>

#include "kernels/matmul/tiles.h"
#include "kernels/strips/strips.h"

namespace gemloupe::strips {

inline constexpr int kStreams = 2;

// Up to two strips times all activation rows of a job.
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
  const uint8_t* panels = nullptr;  // activations once more, as Steps::fill left them
  const int32_t* correction = nullptr;  // -offset * X of each group
  const float* sums = nullptr;          // float(X)
  int64_t run_stride = 0;
  const float* row_scale = nullptr;
  float* const* y = nullptr;  // one pointer a row
  float* acc = nullptr;       // [stream][acc_rows][16], for the variant's use
  int64_t acc_rows = 0;       // kSlack more than rows, or above
};

// Bytes ahead of what is read now, in the same stream.
inline constexpr int64_t kFar = 3072;

// What lies `far` behind p in its stream: behind the stream's end, what is read next.
[[gnu::always_inline]] inline const uint8_t* far_of(const uint8_t* p, const uint8_t* end, const uint8_t* next, int64_t far = kFar) {
  return p + far < end ? p + far : next + (p + far - end);
}

// Asks for the line `far` behind p. As assembly, for the compiler would gather them.
[[gnu::always_inline]] inline void prefetch(const uint8_t* p, int64_t far) { asm volatile("prefetcht0 %0" ::"m"(p[far])); }

// What most weights have: scales in f16, no minima, and two groups of 32 columns a unit.
[[gnu::always_inline]] inline bool is_common(const StripLayout& layout) {
  return layout.scale == StripScale::f16 && !layout.has_min && layout.unit == 64 && layout.group == 32;
}

// Rows that a variant may take for more than there are; what it reads and computes for them means nothing.
inline constexpr int kSlack = 7;

// Activation rows once more, in an order of the variant's own: `blocks` of them, each of bytes_a_block.
struct Panels {
  int64_t blocks = 0, bytes_a_block = 0;
  int rows_a_block = 0;
};

// What a variant brings. The last four may be null.
struct Steps {
  matmul::Quantize* quantize;
  void (*multiply)(const Lockstep& step);
  Panels (*panels)(int64_t rows, int64_t padded, const StripLayout& layout);
  // Block `block` of the panels of a job whose planes these are.
  void (*fill)(const Panels& panels, int64_t block, const uint8_t* planes, int64_t plane_stride, int64_t rows, int64_t padded,
               int group, uint8_t* to);
  // Before and after calls of multiply by one thread, for one job.
  void (*open)(const Lockstep& step);
  void (*close)();
};
void avx512_multiply(const Lockstep& step);
extern const Steps avx2_steps, avx512_steps, amx_steps;

// A part and the activation rows that it is multiplied with.
struct Job {
  int64_t part = 0;
  int64_t first = 0, rows = 0;  // in the order of the batch
};

// Rows `first_row` .. of each job's part; batch.y.cols of them.
void multiply(const Steps& steps, const matmul::Batch& batch, const Strips& w, int64_t first_row, const Job* jobs, int64_t count);

}  // namespace gemloupe::strips
