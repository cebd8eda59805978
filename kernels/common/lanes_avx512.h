// Lanes: the 16 lanes of sum.h, here one register. lanes_avx2.h has the same words on two, so a room writes its vector loop
// once (vector.h) and avx2.cpp and avx512.cpp compile it each with its own Lanes. Everything is local to the file that includes
// it.
#pragma once

#include "kernels/common/math_avx512.h"
#include "kernels/common/sum.h"

namespace gemloupe {
namespace {

struct Lanes {
  __m512 v;
};

[[gnu::always_inline]] inline __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1); }

[[gnu::always_inline]] inline Lanes fill(float a) { return {_mm512_set1_ps(a)}; }
[[gnu::always_inline]] inline Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
[[gnu::always_inline]] inline Lanes load(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
// Of n < 16 elements; the other lanes get +0, or the given value, and nothing behind the last element is touched.
[[gnu::always_inline]] inline Lanes load(const float* p, int n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
[[gnu::always_inline]] inline Lanes load(const float* p, int n, float rest) {
  return {_mm512_mask_loadu_ps(_mm512_set1_ps(rest), first(n), p)};
}
[[gnu::always_inline]] inline Lanes load(const uint16_t* p, int n) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p))};
}
[[gnu::always_inline]] inline void store(float* p, Lanes a) { _mm512_storeu_ps(p, a.v); }
[[gnu::always_inline]] inline void store(float* p, Lanes a, int n) { _mm512_mask_storeu_ps(p, first(n), a.v); }
[[gnu::always_inline]] inline void store(uint16_t* p, Lanes a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
[[gnu::always_inline]] inline void store(uint16_t* p, Lanes a, int n) {
  _mm256_mask_storeu_epi16(p, first(n), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

[[gnu::always_inline]] inline Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
[[gnu::always_inline]] inline Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
[[gnu::always_inline]] inline Lanes operator-(Lanes a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
[[gnu::always_inline]] inline Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
[[gnu::always_inline]] inline Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
[[gnu::always_inline]] inline Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// a > b ? a : b, so b where a is NaN.
[[gnu::always_inline]] inline Lanes larger(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
[[gnu::always_inline]] inline unsigned greater(Lanes a, Lanes b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ);
}  // bit l for lane l
[[gnu::always_inline]] inline unsigned equal(Lanes a, Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
[[gnu::always_inline]] inline Lanes choose(unsigned bits, Lanes yes, Lanes no) {
  return {_mm512_mask_mov_ps(no.v, static_cast<__mmask16>(bits), yes.v)};
}
[[gnu::always_inline]] inline Lanes exp_(Lanes a) { return {gemloupe::exp_(a.v)}; }
[[gnu::always_inline]] inline Lanes tanh_(Lanes a) { return {gemloupe::tanh_(a.v)}; }
[[gnu::always_inline]] inline Lanes gelu_(Lanes a) { return {gemloupe::gelu_(a.v)}; }
[[gnu::always_inline]] inline void sincos_(Lanes a, Lanes& sine, Lanes& cosine) {
  __m256 s0, c0, s1, c1;
  gemloupe::sincos_(_mm512_castps512_ps256(a.v), s0, c0);
  gemloupe::sincos_(_mm512_extractf32x8_ps(a.v, 1), s1, c1);
  sine = {_mm512_insertf32x8(_mm512_castps256_ps512(s0), s1, 1)};
  cosine = {_mm512_insertf32x8(_mm512_castps256_ps512(c0), c1, 1)};
}

[[gnu::always_inline]] inline float fold(Lanes a) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
[[gnu::always_inline]] inline float largest(Lanes a) {
  const __m256 h = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}

// Lanes folded to four: a, b, c, d after the steps l + 8 and l + 4 stand in the four quarters.
[[gnu::always_inline]] inline __m512 fold_to_quarters(Lanes a, Lanes b, Lanes c, Lanes d) {
  const __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a.v, b.v, 0x44), _mm512_shuffle_f32x4(a.v, b.v, 0xee));
  const __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c.v, d.v, 0x44), _mm512_shuffle_f32x4(c.v, d.v, 0xee));
  return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}
// fold(a), fold(b), fold(c), fold(d)
[[gnu::always_inline]] inline __m128 fold(Lanes a, Lanes b, Lanes c, Lanes d) {
  __m512 x = fold_to_quarters(a, b, c, d);
  x = _mm512_add_ps(x, _mm512_permute_ps(x, 0x4e));
  x = _mm512_add_ps(x, _mm512_permute_ps(x, 0xb1));
  return _mm512_castps512_ps128(
      _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12), x));
}

// Attention works on blocks of queries times keys abreast, and of queries times Lanes of the width abreast.
constexpr int kQueries = 4, kWide = 4;
template <int Q>
constexpr int kKeys = 4;

// out[j][i] = factor * fold(s[j][i])
template <int Q>
[[gnu::always_inline]] inline void store_folds(const Lanes (&s)[Q][4], float factor, float* const* out, int64_t at) {
  if constexpr (Q == 4) {
    const __m512 a = fold_to_quarters(s[0][0], s[1][0], s[2][0], s[3][0]),
                 b = fold_to_quarters(s[0][1], s[1][1], s[2][1], s[3][1]);
    const __m512 c = fold_to_quarters(s[0][2], s[1][2], s[2][2], s[3][2]),
                 d = fold_to_quarters(s[0][3], s[1][3], s[2][3], s[3][3]);
    const __m512 ab = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    const __m512 cd = _mm512_add_ps(_mm512_shuffle_ps(c, d, 0x44), _mm512_shuffle_ps(c, d, 0xee));
    const __m512 all =
        _mm512_mul_ps(_mm512_set1_ps(factor), _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x88), _mm512_shuffle_ps(ab, cd, 0xdd)));
    _mm_storeu_ps(out[0] + at, _mm512_castps512_ps128(all));
    _mm_storeu_ps(out[1] + at, _mm512_extractf32x4_ps(all, 1));
    _mm_storeu_ps(out[2] + at, _mm512_extractf32x4_ps(all, 2));
    _mm_storeu_ps(out[3] + at, _mm512_extractf32x4_ps(all, 3));
  } else {
    for (int j = 0; j < Q; ++j)
      _mm_storeu_ps(out[j] + at, _mm_mul_ps(_mm_set1_ps(factor), fold(s[j][0], s[j][1], s[j][2], s[j][3])));
  }
}

// 16 sums in double, lane by lane.
struct WideLanes {
  __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
};
[[gnu::always_inline]] inline void accumulate(WideLanes& sum, Lanes a) {
  sum.low = _mm512_add_pd(sum.low, _mm512_cvtps_pd(_mm512_castps512_ps256(a.v)));
  sum.high = _mm512_add_pd(sum.high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1)));
}
[[gnu::always_inline]] inline void store(double* p, const WideLanes& sum) {
  _mm512_storeu_pd(p, sum.low);
  _mm512_storeu_pd(p + 8, sum.high);
}

}  // namespace
}  // namespace gemloupe
