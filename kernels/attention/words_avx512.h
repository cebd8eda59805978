// Words: 16 words of 32 bits beside Lanes, for bfloat16. One bfloat16 stands in the high half of a word, two in a pair: the first
// in the low half. words_avx2.h has the same.
#pragma once

#include "kernels/common/lanes_avx512.h"

namespace gemloupe {
namespace {

struct Words {
  __m512i v;
};

[[gnu::always_inline]] inline Words load_words(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
[[gnu::always_inline]] inline void store(uint32_t* p, Words w) { _mm512_storeu_si512(p, w.v); }
[[gnu::always_inline]] inline Words words(Lanes x) { return {_mm512_castps_si512(x.v)}; }
[[gnu::always_inline]] inline Lanes lanes(Words w) { return {_mm512_castsi512_ps(w.v)}; }

// tile_bf16, in the high halves; the low ones are 0.
[[gnu::always_inline]] inline Words rounded(Lanes x) {
  const __m512i bits = _mm512_castps_si512(x.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i r = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
  r = _mm512_mask_or_epi32(r, nan, bits, _mm512_set1_epi32(0x400000));
  const __mmask16 small = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
  r = _mm512_mask_and_epi32(r, small, bits, _mm512_set1_epi32(static_cast<int>(0x80000000)));
  return {_mm512_and_si512(r, _mm512_set1_epi32(static_cast<int>(0xffff0000)))};
}

// The two of each pair as floats.
[[gnu::always_inline]] inline Lanes low(Words w) { return {_mm512_castsi512_ps(_mm512_slli_epi32(w.v, 16))}; }
[[gnu::always_inline]] inline Lanes high(Words w) {
  return {_mm512_castsi512_ps(_mm512_and_si512(w.v, _mm512_set1_epi32(static_cast<int>(0xffff0000))))};
}
// Pairs of two rounded Words, lane by lane.
[[gnu::always_inline]] inline Words pair(Words low, Words high) {
  return {_mm512_or_si512(_mm512_srli_epi32(low.v, 16), high.v)};
}
// 32 bfloat16 in a row, those of a before those of b.
[[gnu::always_inline]] inline Words pack(Words a, Words b) {
  const __m512i low = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(_mm512_srli_epi32(a.v, 16))),
                                         _mm512_cvtepi32_epi16(_mm512_srli_epi32(b.v, 16)), 1);
  return {low};
}

// Word i of Words j becomes word j of Words i.
[[gnu::always_inline]] inline void transpose(Words (&w)[16]) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(w[i].v, w[i + 1].v);
    a[i + 1] = _mm512_unpackhi_epi32(w[i].v, w[i + 1].v);
  }
  for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512i x = _mm512_shuffle_i32x4(b[i], b[i + 4], 0x88), y = _mm512_shuffle_i32x4(b[i], b[i + 4], 0xdd);
    const __m512i z = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0x88), u = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0xdd);
    w[i].v = _mm512_shuffle_i32x4(x, z, 0x88);
    w[i + 8].v = _mm512_shuffle_i32x4(x, z, 0xdd);
    w[i + 4].v = _mm512_shuffle_i32x4(y, u, 0x88);
    w[i + 12].v = _mm512_shuffle_i32x4(y, u, 0xdd);
  }
}

// Tiles know no denormal numbers. Which zero comes out is not seen in what attention makes of it.
[[gnu::always_inline]] inline Lanes flushed(Lanes x) {
  return choose(greater(fill(0x1p-126f), larger(x, -x)), fill(0.0f), x);
}

}  // namespace
}  // namespace gemloupe
