// math.h on 8 floats: the same operations in the same order, so the same bits. Only avx2*.cpp and wider ones include it.
#pragma once

#include <immintrin.h>

#include "kernels/common/math.h"

namespace gemloupe {

[[gnu::always_inline]] inline __m256 exp_(__m256 x) {
  using namespace math;
  const __m256 round = _mm256_set1_ps(kRound);
  const __m256 n = _mm256_sub_ps(_mm256_fmadd_ps(x, _mm256_set1_ps(kLog2e), round), round);
  __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2High), x);
  r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2Low), r);
  __m256 p = _mm256_set1_ps(kExp[0]);
  for (int i = 1; i < 6; ++i) p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExp[i]));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  // Where n does not fit, x is out of range or NaN, and what comes of the factors is replaced or NaN.
  const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), bias = _mm256_set1_epi32(127);
  p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
  p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23)));
  p = _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(kExpLow), _CMP_LT_OQ), p);
  return _mm256_blendv_ps(p, _mm256_set1_ps(__builtin_inff()), _mm256_cmp_ps(x, _mm256_set1_ps(kExpHigh), _CMP_GT_OQ));
}

[[gnu::always_inline]] inline __m256 tanh_(__m256 x) {
  using namespace math;
  const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1.0f);
  const __m256 a = _mm256_andnot_ps(sign, x), s = _mm256_mul_ps(a, a);
  __m256 p = _mm256_set1_ps(kTanh[0]);
  for (int i = 1; i < 5; ++i) p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(kTanh[i]));
  const __m256 small = _mm256_fmadd_ps(_mm256_mul_ps(p, s), a, a);
  const __m256 e = exp_(_mm256_add_ps(a, a));
  const __m256 large = _mm256_sub_ps(one, _mm256_div_ps(_mm256_set1_ps(2.0f), _mm256_add_ps(e, one)));
  const __m256 t = _mm256_blendv_ps(large, small, _mm256_cmp_ps(a, _mm256_set1_ps(kTanhSmall), _CMP_LT_OQ));
  return _mm256_or_ps(_mm256_andnot_ps(sign, t), _mm256_and_ps(sign, x));
}

[[gnu::always_inline]] inline __m256 gelu_(__m256 z) {
  using namespace math;
  const __m256 cube = _mm256_mul_ps(_mm256_mul_ps(z, z), z);
  const __m256 inner =
      _mm256_mul_ps(_mm256_set1_ps(kGeluInner), _mm256_add_ps(z, _mm256_mul_ps(_mm256_set1_ps(kGeluCube), cube)));
  return _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(0.5f), z), _mm256_add_ps(_mm256_set1_ps(1.0f), tanh_(inner)));
}

[[gnu::always_inline]] inline void sincos_(__m128 x, __m128& sine, __m128& cosine) {
  using namespace math;
  const __m256d round = _mm256_set1_pd(kRoundDouble), a = _mm256_cvtps_pd(x);
  const __m256d shifted = _mm256_fmadd_pd(a, _mm256_set1_pd(kTwoOverPi), round), n = _mm256_sub_pd(shifted, round);
  __m256d r = _mm256_fmadd_pd(n, _mm256_set1_pd(-kHalfPiHigh), a);
  r = _mm256_fmadd_pd(n, _mm256_set1_pd(-kHalfPiLow), r);
  const __m256d s = _mm256_mul_pd(r, r);
  __m256d u = _mm256_set1_pd(kSin[0]), v = _mm256_set1_pd(kCos[0]);
  for (int i = 1; i < 7; ++i) u = _mm256_fmadd_pd(u, s, _mm256_set1_pd(kSin[i]));
  for (int i = 1; i < 8; ++i) v = _mm256_fmadd_pd(v, s, _mm256_set1_pd(kCos[i]));
  u = _mm256_mul_pd(u, r);
  const __m256i quadrant = _mm256_castpd_si256(shifted), one = _mm256_set1_epi64x(1), two = _mm256_set1_epi64x(2);
  const __m256d odd = _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(quadrant, one), one));
  const __m256d p_sign = _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_and_si256(quadrant, two), 62));
  const __m256d q_sign = _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_and_si256(_mm256_add_epi64(quadrant, one), two), 62));
  sine = _mm256_cvtpd_ps(_mm256_xor_pd(_mm256_blendv_pd(u, v, odd), p_sign));
  cosine = _mm256_cvtpd_ps(_mm256_xor_pd(_mm256_blendv_pd(v, u, odd), q_sign));
}

}  // namespace gemloupe
