// Words on two 256-bit registers. The words are those of words_avx512.h.
#pragma once

#include "kernels/common/lanes_avx2.h"

namespace gemloupe {
namespace {

struct Words {
  __m256i a, b;
};

[[gnu::always_inline]] inline Words load_words(const uint32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
[[gnu::always_inline]] inline void store(uint32_t* p, Words w) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), w.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), w.b);
}
[[gnu::always_inline]] inline Words words(Lanes x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
[[gnu::always_inline]] inline Lanes lanes(Words w) { return {_mm256_castsi256_ps(w.a), _mm256_castsi256_ps(w.b)}; }

[[gnu::always_inline]] inline __m256i rounded(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  __m256i r = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  r = _mm256_blendv_epi8(r, _mm256_or_si256(bits, _mm256_set1_epi32(0x400000)), nan);
  const __m256i exponent = _mm256_and_si256(bits, _mm256_set1_epi32(0x7f800000));
  const __m256i small = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
  r = _mm256_blendv_epi8(r, _mm256_and_si256(bits, _mm256_set1_epi32(static_cast<int>(0x80000000))), small);
  return _mm256_and_si256(r, _mm256_set1_epi32(static_cast<int>(0xffff0000)));
}
[[gnu::always_inline]] inline Words rounded(Lanes x) { return {rounded(x.a), rounded(x.b)}; }

[[gnu::always_inline]] inline Lanes low(Words w) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(w.a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(w.b, 16))};
}
[[gnu::always_inline]] inline Lanes high(Words w) {
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  return {_mm256_castsi256_ps(_mm256_and_si256(w.a, mask)), _mm256_castsi256_ps(_mm256_and_si256(w.b, mask))};
}
[[gnu::always_inline]] inline Words pair(Words low, Words high) {
  return {_mm256_or_si256(_mm256_srli_epi32(low.a, 16), high.a), _mm256_or_si256(_mm256_srli_epi32(low.b, 16), high.b)};
}
[[gnu::always_inline]] inline __m256i pack(__m256i a, __m256i b) {
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(_mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16)), 0xd8);
}
[[gnu::always_inline]] inline Words pack(Words a, Words b) { return {pack(a.a, a.b), pack(b.a, b.b)}; }

[[gnu::always_inline]] inline void transpose(__m256i (&w)[8]) {
  __m256i a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_epi32(w[i], w[i + 1]);
    a[i + 1] = _mm256_unpackhi_epi32(w[i], w[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    w[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
    w[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
  }
}
[[gnu::always_inline]] inline void transpose(Words (&w)[16]) {
  __m256i quarter[4][8];
  for (int i = 0; i < 8; ++i) {
    quarter[0][i] = w[i].a;
    quarter[1][i] = w[i + 8].a;
    quarter[2][i] = w[i].b;
    quarter[3][i] = w[i + 8].b;
  }
  for (auto& q : quarter) transpose(q);
  for (int i = 0; i < 8; ++i) {
    w[i] = {quarter[0][i], quarter[1][i]};
    w[i + 8] = {quarter[2][i], quarter[3][i]};
  }
}

// Tiles know no denormal numbers. Which zero comes out is not seen in what attention makes of it.
[[gnu::always_inline]] inline Lanes flushed(Lanes x) {
  return choose(greater(fill(0x1p-126f), larger(x, -x)), fill(0.0f), x);
}

}  // namespace
}  // namespace gemloupe
