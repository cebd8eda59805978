// The products of attention_bf16 without tiles; avx2_bf16.cpp and avx512_bf16.cpp include it after their Words and kRows.
#pragma once

#include <cstdint>

#include "kernels/attention/bf16.h"

namespace gemloupe {
namespace {

using Cell = float;  // a bfloat16 of the left matrix, widened
constexpr bool kFlushes = false;

struct TileSetting {};
struct Ahead {
  const uint32_t *keys, *values;
  int lines;
};

// 32 bfloat16 in a row, and 16 pairs.
[[gnu::always_inline]] inline Words pack_rounded(Lanes a, Lanes b) { return pack(rounded(a), rounded(b)); }
[[gnu::always_inline]] inline Words pair_rounded(Lanes a, Lanes b) { return pair(rounded(a), rounded(b)); }
// 32 cells in a row from two rounded Words.
[[gnu::always_inline]] inline void store_cells(Cell* to, Words a, Words b) {
  store(to, high(a));
  store(to + kLanes, high(b));
}
[[gnu::always_inline]] inline void store_rounded(Cell* to, Lanes a, Lanes b) { store_cells(to, rounded(a), rounded(b)); }
[[gnu::always_inline]] inline float widened(Cell c) { return c; }

// p_k of the 32 keys at s and s + 256 (two tiles side by side), and their sum.
[[gnu::always_inline]] inline void store_weights(Cell* to, const float* s, Lanes m, Lanes& sum) {
  Words w[2];
  for (int i = 0; i < 2; ++i) {
    const Lanes x = load(s + i * 256) - m;
    w[i] = rounded(choose(greater(fill(kFaint), x), fill(0.0f), exp_(x)));
    sum = sum + high(w[i]);
  }
  store_cells(to, w[0], w[1]);
}

template <int Q, bool kFlush>
[[gnu::always_inline]] inline void product_rows(const Cell* a, const uint32_t* b, int blocks, float* c, bool add) {
  for (int k = 0; k < blocks; ++k, a += 16 * 32) {
    Lanes even[Q], odd[Q];
    for (int j = 0; j < Q; ++j) even[j] = odd[j] = fill(0.0f);
    for (int p = 0; p < kLanes; ++p) {
      const Words w = load_words(b + (k * kLanes + p) * kLanes);
      const Lanes x = low(w), y = high(w);
      for (int j = 0; j < Q; ++j) {
        even[j] = fma(fill(a[j * 32 + 2 * p]), x, even[j]);
        odd[j] = fma(fill(a[j * 32 + 2 * p + 1]), y, odd[j]);
        if (kFlush) even[j] = flushed(even[j]), odd[j] = flushed(odd[j]);
      }
    }
    for (int j = 0; j < Q; ++j) {
      Lanes sum = even[j] + odd[j];
      if (kFlush) sum = flushed(sum);
      sum = (add || k > 0 ? load(c + j * kLanes) : fill(0.0f)) + sum;
      store(c + j * kLanes, kFlush ? flushed(sum) : sum);
    }
  }
}

template <bool kFlush>
void product_of(const Cell* a, int64_t a_stride, int rows, const uint32_t* b, int64_t b_stride, int64_t columns, int blocks, float* c,
                int64_t c_stride, bool add) {
  for (int64_t i = 0; i < columns; i += kLanes, b += b_stride, c += 256) {
    int j = 0;
    for (; j + kRows <= rows; j += kRows)
      product_rows<kRows, kFlush>(a + j / 16 * a_stride + j % 16 * 32, b, blocks, c + j / 16 * c_stride + j % 16 * 16, add);
    for (; j < rows; ++j) product_rows<1, kFlush>(a + j / 16 * a_stride + j % 16 * 32, b, blocks, c + j / 16 * c_stride + j % 16 * 16, add);
  }
}

// c (or 0) plus a times b, `rows` of them, at most 32. All are tiles: of a 16 rows of 32 cells, of b 16 pairs of rows of 16 columns,
// of c 16 rows of 16 floats. `blocks` tiles follow each other in a and b. A stride leads to the next 16 rows or columns. Columns
// are a multiple of 32. `tiny`: there may be factors so small that a sum falls below 2^-126.
[[gnu::always_inline]] inline void product(const Cell* a, int64_t a_stride, int rows, const uint32_t* b, int64_t b_stride,
                                           int64_t columns, int blocks, float* c, int64_t c_stride, bool add, bool tiny, Ahead&) {
  if (tiny) product_of<true>(a, a_stride, rows, b, b_stride, columns, blocks, c, c_stride, add);
  else product_of<false>(a, a_stride, rows, b, b_stride, columns, blocks, c, c_stride, add);
}

}  // namespace
}  // namespace gemloupe
