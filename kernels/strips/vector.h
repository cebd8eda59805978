// Units of a strip in AVX-512 registers, a lane to a row: scales as float32, indices as codes. Included by avx512*.cpp and
// amx*.cpp only.
#pragma once

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of its own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include "kernels/strips/exact.h"

namespace gemloupe::strips {
namespace {

inline constexpr int kMostGroups = 16;  // of a unit

[[gnu::always_inline]] inline __m512i zmm(const void* p) { return _mm512_load_si512(p); }
[[gnu::always_inline]] inline __m128i bytes_at(const uint8_t* p) { return _mm_load_si128(reinterpret_cast<const __m128i*>(p)); }

[[gnu::always_inline]] inline __m512 f16_at(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
}
[[gnu::always_inline]] inline __m512 bf16_at(const uint8_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
[[gnu::always_inline]] inline __m512 f32_at(const uint8_t* p) { return _mm512_load_ps(p); }

// 2^(e - 128): half of what E8M0 says, as the levels are doubled.
[[gnu::always_inline]] inline __m512 e8m0_at(const uint8_t* p) {
  const __m512i e = _mm512_cvtepu8_epi32(bytes_at(p)), one = _mm512_set1_epi32(1);
  const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
  const __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
  return _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, _mm512_cmple_epi32_mask(e, one), tiny));
}
// Half of an E4M3 number without a sign; 0x7f is no number and gives 0.
[[gnu::always_inline]] inline __m512 ue4m3_at(const uint8_t* p) {
  const __m512i byte = _mm512_cvtepu8_epi32(bytes_at(p)), e = _mm512_and_si512(byte, _mm512_set1_epi32(0x7f));
  const __m512i normal = _mm512_add_epi32(_mm512_slli_epi32(e, 20), _mm512_set1_epi32((127 - 8) << 23));
  const __m512 tiny = _mm512_mul_ps(_mm512_cvtepi32_ps(e), _mm512_set1_ps(0x1p-10f));
  const __mmask16 number = _mm512_cmpneq_epi32_mask(byte, _mm512_set1_epi32(0x7f));
  const __m512 value = _mm512_mask_mov_ps(_mm512_castsi512_ps(normal), _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(8)), tiny);
  return _mm512_maskz_mov_ps(number, value);
}

template <int kBytes, class At>
[[gnu::always_inline]] inline void plain_scales(const uint8_t* p, int count, At at, float* to) {
  for (int g = 0; g < count; ++g) _mm512_store_ps(to + kStripRows * g, at(p + kStripRows * kBytes * g));
}

// strip_scales() of `groups` groups.
[[gnu::always_inline]] inline void scales(const StripLayout& layout, const uint8_t* unit, int groups, float* scale, float* min) {
  const int all = layout.unit / layout.group;
  const __m512 sign = _mm512_set1_ps(-0.0f);
  switch (layout.scale) {
    case StripScale::f16:
      plain_scales<2>(unit, groups, f16_at, scale);
      if (layout.has_min) plain_scales<2>(unit + 2 * kStripRows * all, groups, f16_at, min);
      break;
    case StripScale::bf16:
      plain_scales<2>(unit, groups, bf16_at, scale);
      if (layout.has_min) plain_scales<2>(unit + 2 * kStripRows * all, groups, bf16_at, min);
      break;
    case StripScale::f32:
      plain_scales<4>(unit, groups, f32_at, scale);
      if (layout.has_min) plain_scales<4>(unit + 4 * kStripRows * all, groups, f32_at, min);
      break;
    case StripScale::super: {
      const __m512 d = f16_at(unit);
      const uint8_t* s = unit + (layout.has_min ? 4 : 2) * kStripRows;
      for (int g = 0; g < groups; ++g)
        _mm512_store_ps(scale + kStripRows * g,
                        _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes_at(s + kStripRows * g)))));
      if (!layout.has_min) break;
      const __m512 minus_dmin = _mm512_xor_ps(f16_at(unit + 2 * kStripRows), sign);
      const uint8_t* m = s + kStripRows * all;
      for (int g = 0; g < groups; ++g)
        _mm512_store_ps(min + kStripRows * g,
                        _mm512_mul_ps(minus_dmin, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes_at(m + kStripRows * g)))));
      break;
    }
    case StripScale::super4: {
      const __m512 d = f16_at(unit), minus_dmin = _mm512_xor_ps(f16_at(unit + 2 * kStripRows), sign);
      const __m512i low = _mm512_set1_epi32(15);
      for (int g = 0; g < groups; ++g) {
        const __m512i both = _mm512_cvtepu8_epi32(bytes_at(unit + kStripRows * (4 + g)));
        _mm512_store_ps(scale + kStripRows * g, _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_and_si512(both, low))));
        _mm512_store_ps(min + kStripRows * g, _mm512_mul_ps(minus_dmin, _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4))));
      }
      break;
    }
    case StripScale::e8m0: plain_scales<1>(unit, groups, e8m0_at, scale); break;
    case StripScale::ue4m3: plain_scales<1>(unit, groups, ue4m3_at, scale); break;
  }
}

[[gnu::always_inline]] inline __m512i byte_set(int v) { return _mm512_set1_epi8(static_cast<char>(v)); }
// a | (b & c)
[[gnu::always_inline]] inline __m512i or_and(__m512i a, __m512i b, __m512i c) { return _mm512_ternarylogic_epi32(a, b, c, 0xf8); }

// v moved so that bit `from` comes to bit `to`.
template <int kFrom, int kTo>
[[gnu::always_inline]] inline __m512i moved(__m512i v) {
  if constexpr (kFrom > kTo) return _mm512_srli_epi32(v, kFrom - kTo);
  else if constexpr (kFrom < kTo) return _mm512_slli_epi32(v, kTo - kFrom);
  else return v;
}

// The code of quad kQuad of the 32 columns whose planes begin at p.
template <int kBits, bool kTable, int kQuad>
[[gnu::always_inline]] inline __m512i code(const uint8_t* p, __m512i table) {
  if constexpr (kBits == 8) {
    return zmm(p + 64 * kQuad);
  } else {
    constexpr int kFour = kBits & 4, kTwo = kBits & 2, kOne = kBits & 1;
    __m512i v = _mm512_setzero_si512();
    if constexpr (kFour != 0) v = _mm512_and_si512(moved<kQuad % 2 * 4, 0>(zmm(p + 64 * (kQuad / 2))), byte_set(15));
    if constexpr (kTwo != 0) {
      const __m512i two = moved<kQuad % 4 * 2, kFour>(zmm(p + 64 * (kFour + kQuad / 4)));
      v = kFour ? or_and(v, two, byte_set(3 << kFour)) : _mm512_and_si512(two, byte_set(3));
    }
    if constexpr (kOne != 0) {
      const __m512i one = moved<kQuad, kFour + kTwo>(zmm(p + 64 * (kFour + kTwo)));
      v = kFour + kTwo ? or_and(v, one, byte_set(1 << (kFour + kTwo))) : _mm512_and_si512(one, byte_set(1));
    }
    return kTable ? _mm512_shuffle_epi8(table, v) : v;
  }
}

[[gnu::always_inline]] inline __m512i table_of(const StripLayout& layout) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.code_of)));
}

// The sums of `rows` activation rows begin ...
[[gnu::always_inline]] inline void start(const Lockstep& p, int64_t rows) {
  for (int s = 0; s < p.streams; ++s)
    for (int64_t t = 0; t < rows; ++t) _mm512_store_ps(p.acc + (s * p.acc_rows + t) * kStripRows, _mm512_setzero_ps());
}
// ... and become results.
[[gnu::always_inline]] inline void finish(const Lockstep& p) {
  for (int s = 0; s < p.streams; ++s) {
    const __mmask16 used = static_cast<__mmask16>((1u << p.used[s]) - 1);
    for (int64_t t = 0; t < p.rows; ++t) {
      const __m512 acc = _mm512_load_ps(p.acc + (s * p.acc_rows + t) * kStripRows);
      _mm512_mask_storeu_ps(p.y[t] + p.y_first[s], used, _mm512_mul_ps(acc, _mm512_set1_ps(p.row_scale[t])));
    }
  }
}

}  // namespace
}  // namespace gemloupe::strips
