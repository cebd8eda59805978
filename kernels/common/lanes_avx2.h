// Lanes: the 16 lanes of sum.h on two 256-bit registers. The words are those of lanes_avx512.h.
#pragma once

#include "kernels/common/math_avx2.h"
#include "kernels/common/sum.h"

namespace gemloupe {
namespace {

struct Lanes {
  __m256 a, b;
};

[[gnu::always_inline]] inline __m256i first(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

[[gnu::always_inline]] inline Lanes fill(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
[[gnu::always_inline]] inline Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
[[gnu::always_inline]] inline Lanes load(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
[[gnu::always_inline]] inline Lanes load(const float* p, int n) {
  return {_mm256_maskload_ps(p, first(n)), _mm256_maskload_ps(p + 8, first(n - 8))};
}
[[gnu::always_inline]] inline Lanes load(const float* p, int n, float rest) {
  const Lanes x = load(p, n);
  const __m256 r = _mm256_set1_ps(rest);
  return {_mm256_blendv_ps(r, x.a, _mm256_castsi256_ps(first(n))), _mm256_blendv_ps(r, x.b, _mm256_castsi256_ps(first(n - 8)))};
}
[[gnu::always_inline]] inline Lanes load(const uint16_t* p, int n) {
  uint16_t copy[16] = {};
  for (int i = 0; i < n; ++i) copy[i] = p[i];
  return load(copy);
}
[[gnu::always_inline]] inline void store(float* p, Lanes x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
[[gnu::always_inline]] inline void store(float* p, Lanes x, int n) {
  _mm256_maskstore_ps(p, first(n), x.a);
  _mm256_maskstore_ps(p + 8, first(n - 8), x.b);
}
[[gnu::always_inline]] inline void store(uint16_t* p, Lanes x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
[[gnu::always_inline]] inline void store(uint16_t* p, Lanes x, int n) {
  uint16_t copy[16];
  store(copy, x);
  for (int i = 0; i < n; ++i) p[i] = copy[i];
}

[[gnu::always_inline]] inline Lanes operator+(Lanes x, Lanes y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
[[gnu::always_inline]] inline Lanes operator-(Lanes x, Lanes y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
[[gnu::always_inline]] inline Lanes operator-(Lanes x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(x.a, sign), _mm256_xor_ps(x.b, sign)};
}
[[gnu::always_inline]] inline Lanes operator*(Lanes x, Lanes y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
[[gnu::always_inline]] inline Lanes operator/(Lanes x, Lanes y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
[[gnu::always_inline]] inline Lanes fma(Lanes x, Lanes y, Lanes z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
[[gnu::always_inline]] inline Lanes larger(Lanes x, Lanes y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
[[gnu::always_inline]] inline unsigned bits(__m256 low, __m256 high) {
  return static_cast<unsigned>(_mm256_movemask_ps(low)) | static_cast<unsigned>(_mm256_movemask_ps(high)) << 8;
}
[[gnu::always_inline]] inline unsigned greater(Lanes x, Lanes y) {
  return bits(_mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ));
}
[[gnu::always_inline]] inline unsigned equal(Lanes x, Lanes y) {
  return bits(_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ));
}
[[gnu::always_inline]] inline __m256 spread(unsigned mask) {
  const __m256i one = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(mask)), one), one));
}
[[gnu::always_inline]] inline Lanes choose(unsigned mask, Lanes yes, Lanes no) {
  return {_mm256_blendv_ps(no.a, yes.a, spread(mask)), _mm256_blendv_ps(no.b, yes.b, spread(mask >> 8))};
}
[[gnu::always_inline]] inline Lanes exp_(Lanes x) { return {gemloupe::exp_(x.a), gemloupe::exp_(x.b)}; }
[[gnu::always_inline]] inline Lanes tanh_(Lanes x) { return {gemloupe::tanh_(x.a), gemloupe::tanh_(x.b)}; }
[[gnu::always_inline]] inline Lanes gelu_(Lanes x) { return {gemloupe::gelu_(x.a), gemloupe::gelu_(x.b)}; }
[[gnu::always_inline]] inline void sincos_(__m256 x, __m256& sine, __m256& cosine) {
  __m128 s0, c0, s1, c1;
  gemloupe::sincos_(_mm256_castps256_ps128(x), s0, c0);
  gemloupe::sincos_(_mm256_extractf128_ps(x, 1), s1, c1);
  sine = _mm256_insertf128_ps(_mm256_castps128_ps256(s0), s1, 1);
  cosine = _mm256_insertf128_ps(_mm256_castps128_ps256(c0), c1, 1);
}
[[gnu::always_inline]] inline void sincos_(Lanes x, Lanes& sine, Lanes& cosine) {
  sincos_(x.a, sine.a, cosine.a);
  sincos_(x.b, sine.b, cosine.b);
}

[[gnu::always_inline]] inline float fold(Lanes x) {
  const __m256 h = _mm256_add_ps(x.a, x.b);
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
[[gnu::always_inline]] inline float largest(Lanes x) {
  const __m256 h = _mm256_max_ps(x.a, x.b);
  const __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}
[[gnu::always_inline]] inline __m128 fold(Lanes a, Lanes b, Lanes c, Lanes d) {
  const __m256 a8 = _mm256_add_ps(a.a, a.b), b8 = _mm256_add_ps(b.a, b.b), c8 = _mm256_add_ps(c.a, c.b),
               d8 = _mm256_add_ps(d.a, d.b);
  const __m256 ab = _mm256_add_ps(_mm256_permute2f128_ps(a8, b8, 0x20), _mm256_permute2f128_ps(a8, b8, 0x31));
  const __m256 cd = _mm256_add_ps(_mm256_permute2f128_ps(c8, d8, 0x20), _mm256_permute2f128_ps(c8, d8, 0x31));
  const __m256 acbd = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
  const __m256 sums = _mm256_hadd_ps(acbd, acbd);
  return _mm_unpacklo_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
}

constexpr int kQueries = 2, kWide = 2;
template <int Q>
constexpr int kKeys = Q == 1 ? 4 : 2;

template <int Q>
[[gnu::always_inline]] inline void store_folds(const Lanes (&s)[Q][kKeys<Q>], float factor, float* const* out, int64_t at) {
  if constexpr (Q == 1) {
    _mm_storeu_ps(out[0] + at, _mm_mul_ps(_mm_set1_ps(factor), fold(s[0][0], s[0][1], s[0][2], s[0][3])));
  } else {
    const __m128 all = _mm_mul_ps(_mm_set1_ps(factor), fold(s[0][0], s[0][1], s[1][0], s[1][1]));
    _mm_storel_pi(reinterpret_cast<__m64*>(out[0] + at), all);
    _mm_storeh_pi(reinterpret_cast<__m64*>(out[1] + at), all);
  }
}

struct WideLanes {
  __m256d v[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
};
[[gnu::always_inline]] inline void accumulate(WideLanes& sum, Lanes x) {
  sum.v[0] = _mm256_add_pd(sum.v[0], _mm256_cvtps_pd(_mm256_castps256_ps128(x.a)));
  sum.v[1] = _mm256_add_pd(sum.v[1], _mm256_cvtps_pd(_mm256_extractf128_ps(x.a, 1)));
  sum.v[2] = _mm256_add_pd(sum.v[2], _mm256_cvtps_pd(_mm256_castps256_ps128(x.b)));
  sum.v[3] = _mm256_add_pd(sum.v[3], _mm256_cvtps_pd(_mm256_extractf128_ps(x.b, 1)));
}
[[gnu::always_inline]] inline void store(double* p, const WideLanes& sum) {
  for (int i = 0; i < 4; ++i) _mm256_storeu_pd(p + 4 * i, sum.v[i]);
}

}  // namespace
}  // namespace gemloupe
