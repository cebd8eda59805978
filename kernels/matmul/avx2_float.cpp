#if defined(__AVX2__)

#include <immintrin.h>

#include "kernels/matmul/blocks.h"

namespace gemloupe::matmul {
namespace {

struct F32 {
  static constexpr int kBytes = 4;
  [[gnu::always_inline]] static __m256 load(const uint8_t* w) { return _mm256_loadu_ps(reinterpret_cast<const float*>(w)); }
};
struct F16 {
  static constexpr int kBytes = 2;
  [[gnu::always_inline]] static __m256 load(const uint8_t* w) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
  }
};
struct Bf16 {
  static constexpr int kBytes = 2;
  [[gnu::always_inline]] static __m256 load(const uint8_t* w) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
};

// The order of fold() in kernels/common/sum.h, given lanes 0..7 and 8..15.
[[gnu::always_inline]] inline float fold_lanes(__m256 low, __m256 high) {
  const __m256 eight = _mm256_add_ps(low, high);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

template <class W, int kTokens, int kRows>
[[gnu::always_inline]] inline void tile(const float* const* x, const uint8_t* w, int64_t row_bytes, int64_t cols,
                                        float* const* y, int64_t at) {
  __m256 acc[kTokens][kRows][2];
#pragma GCC unroll 2
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) acc[t][r][0] = acc[t][r][1] = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= cols; i += 16)
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      __m256 v[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) v[r] = W::load(w + r * row_bytes + (i + 8 * h) * W::kBytes);
#pragma GCC unroll 2
      for (int t = 0; t < kTokens; ++t) {
        const __m256 u = _mm256_loadu_ps(x[t] + i + 8 * h);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) acc[t][r][h] = _mm256_fmadd_ps(u, v[r], acc[t][r][h]);
      }
    }
  // Lanes without an element keep their sum: adding +0 would turn a -0 into +0.
  const int rest = static_cast<int>(cols - i);
  if (rest) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      uint8_t w_part[16 * W::kBytes] = {};
      __builtin_memcpy(w_part, w + r * row_bytes + i * W::kBytes, static_cast<unsigned>(rest) * W::kBytes);
#pragma GCC unroll 2
      for (int t = 0; t < kTokens; ++t) {
        float x_part[16] = {};
        __builtin_memcpy(x_part, x[t] + i, static_cast<unsigned>(rest) * 4);
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
          const __m256i used = _mm256_cmpgt_epi32(_mm256_set1_epi32(rest - 8 * h), lane);
          const __m256 x_half = _mm256_loadu_ps(x_part + 8 * h), w_half = W::load(w_part + 8 * h * W::kBytes);
          const __m256 sum = _mm256_fmadd_ps(x_half, w_half, acc[t][r][h]);
          acc[t][r][h] = _mm256_blendv_ps(acc[t][r][h], sum, _mm256_castsi256_ps(used));
        }
      }
    }
  }
#pragma GCC unroll 2
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) y[t][at + r] = fold_lanes(acc[t][r][0], acc[t][r][1]);
}

template <class W>
void block(const float* const* x, int64_t tokens, const void* w, int64_t stride, int64_t rows, int64_t cols, float* const* y,
           int64_t y_first) {
  const uint8_t* at = static_cast<const uint8_t*>(w);
  const int64_t row_bytes = stride * W::kBytes;
  int64_t r = 0;
  if (tokens == 1)
    for (; r + 4 <= rows; r += 4) tile<W, 1, 4>(x, at + r * row_bytes, row_bytes, cols, y, y_first + r);
  for (; r + 2 <= rows; r += 2) {
    int64_t t = 0;
    for (; t + 2 <= tokens; t += 2) tile<W, 2, 2>(x + t, at + r * row_bytes, row_bytes, cols, y + t, y_first + r);
    if (t < tokens) tile<W, 1, 2>(x + t, at + r * row_bytes, row_bytes, cols, y + t, y_first + r);
  }
  for (; r < rows; ++r)
    for (int64_t t = 0; t < tokens; ++t) tile<W, 1, 1>(x + t, at + r * row_bytes, row_bytes, cols, y + t, y_first + r);
}

}  // namespace

const Blocks avx2_blocks = {block<F32>, block<F16>, block<Bf16>};

}  // namespace gemloupe::matmul

#endif
