// The products of attention_bf16 without tiles; avx2_bf16.cpp and avx512_bf16.cpp include it after their Words and kRows.
#pragma once

#include <cstdint>

namespace gemloupe {
namespace {

using Cell = float;  // a bfloat16 of the left matrix, widened
constexpr bool kFlushes = false;

struct TileSetting {};

// 32 cells in a row from two rounded Words.
[[gnu::always_inline]] inline void store_cells(Cell* to, Words a, Words b) {
  store(to, high(a));
  store(to + kLanes, high(b));
}
[[gnu::always_inline]] inline float widened(Cell c) { return c; }

// Tiles know no denormal numbers. Which zero comes out is not seen in what attention makes of it.
[[gnu::always_inline]] inline Lanes flushed(Lanes x) {
  return choose(greater(fill(0x1p-126f), larger(x, -x)), fill(0.0f), x);
}

template <int Q, bool kFlush>
[[gnu::always_inline]] inline void product_rows(const Cell* a, int64_t pitch, const uint32_t* b, int blocks, float* c, int64_t c_pitch,
                                                bool add) {
  for (int k = 0; k < blocks; ++k) {
    Lanes even[Q], odd[Q];
    for (int j = 0; j < Q; ++j) even[j] = odd[j] = fill(0.0f);
    for (int p = 0; p < kLanes; ++p) {
      const Words w = load_words(b + (k * kLanes + p) * kLanes);
      const Lanes x = low(w), y = high(w);
      for (int j = 0; j < Q; ++j) {
        const Cell* pair = a + j * pitch + k * 32 + 2 * p;
        even[j] = fma(fill(pair[0]), x, even[j]);
        odd[j] = fma(fill(pair[1]), y, odd[j]);
        if (kFlush) even[j] = flushed(even[j]), odd[j] = flushed(odd[j]);
      }
    }
    for (int j = 0; j < Q; ++j) {
      Lanes sum = even[j] + odd[j];
      if (kFlush) sum = flushed(sum);
      sum = (add || k > 0 ? load(c + j * c_pitch) : fill(0.0f)) + sum;
      store(c + j * c_pitch, kFlush ? flushed(sum) : sum);
    }
  }
}

template <bool kFlush>
void product_of(const Cell* a, int64_t pitch, int rows, const uint32_t* b, int64_t b_stride, int64_t columns, int blocks, float* c,
                int64_t c_pitch, bool add) {
  for (int64_t i = 0; i < columns; i += kLanes, b += b_stride, c += kLanes) {
    int j = 0;
    for (; j + kRows <= rows; j += kRows) product_rows<kRows, kFlush>(a + j * pitch, pitch, b, blocks, c + j * c_pitch, c_pitch, add);
    for (; j < rows; ++j) product_rows<1, kFlush>(a + j * pitch, pitch, b, blocks, c + j * c_pitch, c_pitch, add);
  }
}

// c (or 0) plus a times b: a is `rows` of 32 * blocks cells, b for each 16 columns `blocks` tiles in a row, columns a multiple of
// 32. `tiny`: there may be factors so small that a sum falls below 2^-126.
[[gnu::always_inline]] inline void product(const Cell* a, int64_t pitch, int rows, const uint32_t* b, int64_t b_stride,
                                           int64_t columns, int blocks, float* c, int64_t c_pitch, bool add, bool tiny) {
  if (tiny) product_of<true>(a, pitch, rows, b, b_stride, columns, blocks, c, c_pitch, add);
  else product_of<false>(a, pitch, rows, b, b_stride, columns, blocks, c, c_pitch, add);
}

}  // namespace
}  // namespace gemloupe
