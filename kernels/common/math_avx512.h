// math.h on 16 floats: the same operations in the same order, so the same bits. Only avx512*.cpp and amx*.cpp include it.
#pragma once

// The undefined registers in GCC 12's own header trip this warning (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include "kernels/common/math.h"

namespace gemloupe {

[[gnu::always_inline]] inline __m512 exp_(__m512 x) {
  using namespace math;
  const __m512 round = _mm512_set1_ps(kRound);
  const __m512 n = _mm512_sub_ps(_mm512_fmadd_ps(x, _mm512_set1_ps(kLog2e), round), round);
  __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2High), x);
  r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2Low), r);
  __m512 p = _mm512_set1_ps(kExp[0]);
  for (int i = 1; i < 6; ++i) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExp[i]));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  p = _mm512_scalef_ps(p, n);  // one rounding, like the two exact factors of the scalar version
  p = _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, _mm512_set1_ps(kExpLow), _CMP_LT_OQ), _mm512_setzero_ps());
  return _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, _mm512_set1_ps(kExpHigh), _CMP_GT_OQ), _mm512_set1_ps(__builtin_inff()));
}

[[gnu::always_inline]] inline __m512 tanh_(__m512 x) {
  using namespace math;
  const __m512 sign = _mm512_set1_ps(-0.0f), one = _mm512_set1_ps(1.0f);
  const __m512 a = _mm512_andnot_ps(sign, x), s = _mm512_mul_ps(a, a);
  __m512 p = _mm512_set1_ps(kTanh[0]);
  for (int i = 1; i < 5; ++i) p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(kTanh[i]));
  const __m512 small = _mm512_fmadd_ps(_mm512_mul_ps(p, s), a, a);
  const __m512 e = exp_(_mm512_add_ps(a, a));
  const __m512 large = _mm512_sub_ps(one, _mm512_div_ps(_mm512_set1_ps(2.0f), _mm512_add_ps(e, one)));
  const __m512 t = _mm512_mask_mov_ps(large, _mm512_cmp_ps_mask(a, _mm512_set1_ps(kTanhSmall), _CMP_LT_OQ), small);
  return _mm512_or_ps(_mm512_andnot_ps(sign, t), _mm512_and_ps(sign, x));
}

[[gnu::always_inline]] inline __m512 gelu_(__m512 z) {
  using namespace math;
  const __m512 cube = _mm512_mul_ps(_mm512_mul_ps(z, z), z);
  const __m512 inner =
      _mm512_mul_ps(_mm512_set1_ps(kGeluInner), _mm512_add_ps(z, _mm512_mul_ps(_mm512_set1_ps(kGeluCube), cube)));
  return _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(0.5f), z), _mm512_add_ps(_mm512_set1_ps(1.0f), tanh_(inner)));
}

[[gnu::always_inline]] inline void sincos_(__m256 x, __m256& sine, __m256& cosine) {
  using namespace math;
  const __m512d round = _mm512_set1_pd(kRoundDouble), a = _mm512_cvtps_pd(x);
  const __m512d shifted = _mm512_fmadd_pd(a, _mm512_set1_pd(kTwoOverPi), round), n = _mm512_sub_pd(shifted, round);
  __m512d r = _mm512_fmadd_pd(n, _mm512_set1_pd(-kHalfPiHigh), a);
  r = _mm512_fmadd_pd(n, _mm512_set1_pd(-kHalfPiLow), r);
  const __m512d s = _mm512_mul_pd(r, r);
  __m512d u = _mm512_set1_pd(kSin[0]), v = _mm512_set1_pd(kCos[0]);
  for (int i = 1; i < 7; ++i) u = _mm512_fmadd_pd(u, s, _mm512_set1_pd(kSin[i]));
  for (int i = 1; i < 8; ++i) v = _mm512_fmadd_pd(v, s, _mm512_set1_pd(kCos[i]));
  u = _mm512_mul_pd(u, r);
  const __m512i quadrant = _mm512_castpd_si512(shifted), one = _mm512_set1_epi64(1), two = _mm512_set1_epi64(2);
  const __mmask8 odd = _mm512_test_epi64_mask(quadrant, one);
  const __m512i p = _mm512_castpd_si512(_mm512_mask_mov_pd(u, odd, v)), q = _mm512_castpd_si512(_mm512_mask_mov_pd(v, odd, u));
  const __m512i p_sign = _mm512_slli_epi64(_mm512_and_si512(quadrant, two), 62);
  const __m512i q_sign = _mm512_slli_epi64(_mm512_and_si512(_mm512_add_epi64(quadrant, one), two), 62);
  sine = _mm512_cvtpd_ps(_mm512_castsi512_pd(_mm512_xor_si512(p, p_sign)));
  cosine = _mm512_cvtpd_ps(_mm512_castsi512_pd(_mm512_xor_si512(q, q_sign)));
}

}  // namespace gemloupe
