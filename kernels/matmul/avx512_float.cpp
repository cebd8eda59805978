#if defined(__AVX512F__)

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of its own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include "kernels/matmul/blocks.h"

namespace gemloupe::matmul {
namespace {

struct F32 {
  static constexpr int kBytes = 4;
  [[gnu::always_inline]] static __m512 load(const uint8_t* w) { return _mm512_loadu_ps(w); }
  [[gnu::always_inline]] static __m512 load(const uint8_t* w, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, w); }
};
struct F16 {
  static constexpr int kBytes = 2;
  [[gnu::always_inline]] static __m512 load(const uint8_t* w) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
  }
  [[gnu::always_inline]] static __m512 load(const uint8_t* w, __mmask16 mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, w));
  }
};
struct Bf16 {
  static constexpr int kBytes = 2;
  [[gnu::always_inline]] static __m512 widen(__m256i w) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(w), 16));
  }
  [[gnu::always_inline]] static __m512 load(const uint8_t* w) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
  }
  [[gnu::always_inline]] static __m512 load(const uint8_t* w, __mmask16 mask) {
    return widen(_mm256_maskz_loadu_epi16(mask, w));
  }
};

// The order of fold() in kernels/common/sum.h.
[[gnu::always_inline]] inline float fold_lanes(__m512 v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

// Activation rows and weight rows whose sums wait, lane by lane, while their columns pass a part at a time through the first cache.
constexpr int kSide = 16;
constexpr int64_t kColumns = 256;

struct Columns {
  int64_t begin, end, all;
};

// `sums` holds the lanes [token][kSide rows] between two parts of the columns.
template <class W, int kTokens, int kRows>
[[gnu::always_inline]] inline void tile(const float* const* x, const uint8_t* w, int64_t row_bytes, const Columns& columns, float* sums,
                                        float* const* y, int64_t at) {
  __m512 acc[kTokens][kRows];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
      acc[t][r] = columns.begin ? _mm512_load_ps(sums + (t * kSide + r) * 16) : _mm512_setzero_ps();
  int64_t i = columns.begin;
  for (; i + 16 <= columns.end; i += 16) {
    __m512 v[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) v[r] = W::load(w + r * row_bytes + i * W::kBytes);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const __m512 u = _mm512_loadu_ps(x[t] + i);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) acc[t][r] = _mm512_fmadd_ps(u, v[r], acc[t][r]);
    }
  }
  if (columns.end < columns.all) {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) _mm512_store_ps(sums + (t * kSide + r) * 16, acc[t][r]);
    return;
  }
  if (i < columns.end) {
    // Lanes without an element keep their sum: adding +0 would turn a -0 into +0.
    const __mmask16 mask = static_cast<__mmask16>((1u << (columns.end - i)) - 1);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r)
        acc[t][r] = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(mask, x[t] + i),
                                          W::load(w + r * row_bytes + i * W::kBytes, mask), acc[t][r], mask);
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) y[t][at + r] = fold_lanes(acc[t][r]);
}

template <class W, int kRows>
[[gnu::always_inline]] inline void strip(const float* const* x, int64_t tokens, const uint8_t* w, int64_t row_bytes,
                                         const Columns& columns, float* sums, float* const* y, int64_t at) {
  const auto of = [&](int64_t t) { return sums + t * kSide * 16; };
  int64_t t = 0;
  for (; t + 4 <= tokens; t += 4) tile<W, 4, kRows>(x + t, w, row_bytes, columns, of(t), y + t, at);
  if (t + 2 <= tokens) tile<W, 2, kRows>(x + t, w, row_bytes, columns, of(t), y + t, at), t += 2;
  if (t < tokens) tile<W, 1, kRows>(x + t, w, row_bytes, columns, of(t), y + t, at);
}

template <class W>
void strips(const float* const* x, int64_t tokens, const uint8_t* w, int64_t row_bytes, int64_t rows, const Columns& columns,
            float* sums, float* const* y, int64_t y_first) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) strip<W, 4>(x, tokens, w + r * row_bytes, row_bytes, columns, sums + r * 16, y, y_first + r);
  for (; r < rows; ++r) strip<W, 1>(x, tokens, w + r * row_bytes, row_bytes, columns, sums + r * 16, y, y_first + r);
}

template <class W>
void block(const float* const* x, int64_t tokens, const void* w, int64_t stride, int64_t rows, int64_t cols, float* const* y,
           int64_t y_first) {
  const uint8_t* at = static_cast<const uint8_t*>(w);
  const int64_t row_bytes = stride * W::kBytes;
  if (tokens <= 4 || cols < 2 * kColumns) return strips<W>(x, tokens, at, row_bytes, rows, {0, cols, cols}, nullptr, y, y_first);
  alignas(64) float sums[kSide * kSide * 16];
  for (int64_t t = 0; t < tokens; t += kSide)
    for (int64_t r = 0; r < rows; r += kSide)
      for (int64_t c = 0; c < cols; c += kColumns) {
        const Columns columns{c, c + kColumns < cols ? c + kColumns : cols, cols};
        strips<W>(x + t, tokens - t < kSide ? tokens - t : kSide, at + r * row_bytes, row_bytes, rows - r < kSide ? rows - r : kSide,
                  columns, sums, y + t, y_first + r);
      }
}

}  // namespace

const Blocks avx512_blocks = {block<F32>, block<F16>, block<Bf16>};

}  // namespace gemloupe::matmul

#endif
