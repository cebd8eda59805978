// Weights to bfloat16 tiles with 512-bit registers. Everything is local to the file that includes it, which defines
//   __m512i round_pair(__m512 low, __m512 high)    the bfloat16 of low's lanes, then those of high's
#pragma once

#include <immintrin.h>

#include "kernels/bf16/tiles.h"

namespace gemloupe::tiles {
namespace {

constexpr int kAhead = 4096;  // bytes from what is read to what is fetched

[[gnu::always_inline]] inline __mmask16 first16(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }

// Scales and minima of one group: 16 rows, a lane each.
[[gnu::always_inline]] inline __m512 f16_lanes(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
[[gnu::always_inline]] inline __m512i byte_lanes(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
[[gnu::always_inline]] inline __m512 signed_lanes(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
[[gnu::always_inline]] inline __m512 negative(__m512 v) { return _mm512_xor_ps(v, _mm512_set1_ps(-0.0f)); }

[[gnu::always_inline]] inline __m512 e8m0_lanes(const uint8_t* p) {  // half of 2^(e - 127)
  const __m512i e = byte_lanes(p), one = _mm512_set1_epi32(1);
  const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
  const __m512i small = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
  return _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, _mm512_cmple_epu32_mask(e, one), small));
}
[[gnu::always_inline]] inline __m512 ue4m3_lanes(const uint8_t* p) {  // half of it; 0x7f is 0, bit 7 of others is ignored
  const __m512i e = byte_lanes(p), magnitude = _mm512_and_si512(e, _mm512_set1_epi32(0x7f));
  const __m512i normal = _mm512_add_epi32(_mm512_slli_epi32(magnitude, 20), _mm512_set1_epi32((127 - 8) << 23));
  const __m512 small = _mm512_mul_ps(_mm512_cvtepi32_ps(magnitude), _mm512_set1_ps(0x1p-10f));
  const __m512 v =
      _mm512_mask_mov_ps(_mm512_castsi512_ps(normal), _mm512_cmplt_epu32_mask(magnitude, _mm512_set1_epi32(8)), small);
  return _mm512_maskz_mov_ps(_mm512_cmpneq_epu32_mask(e, _mm512_set1_epi32(0x7f)), v);
}

// A column pair of rows 0..7 and of rows 8..15, as the lines of a tile have them: lanes 2 r and 2 r + 1 are row r.
struct Two {
  __m512 low, high;
};
[[gnu::always_inline]] inline Two spread(__m512 v) {
  return {_mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), v),
          _mm512_permutexvar_ps(_mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15), v)};
}

struct Factors {
  Two scale, min;
};

// Those of group g of a unit.
[[gnu::always_inline]] inline Factors factors(const StripLayout& layout, const uint8_t* unit, int g) {
  const int groups = layout.unit / layout.group;
  __m512 scale, min = _mm512_setzero_ps();
  switch (layout.scale) {
    case StripScale::f16:
      scale = f16_lanes(unit + 32 * g);
      if (layout.has_min) min = f16_lanes(unit + 32 * (groups + g));
      break;
    case StripScale::bf16: {
      const auto lanes = [](const uint8_t* p) {
        const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
      };
      scale = lanes(unit + 32 * g);
      if (layout.has_min) min = lanes(unit + 32 * (groups + g));
      break;
    }
    case StripScale::f32:
      scale = _mm512_loadu_ps(unit + 64 * g);
      if (layout.has_min) min = _mm512_loadu_ps(unit + 64 * (groups + g));
      break;
    case StripScale::super: {
      const uint8_t* s = unit + (layout.has_min ? 64 : 32);
      scale = _mm512_mul_ps(f16_lanes(unit), signed_lanes(s + 16 * g));
      if (layout.has_min)
        min = negative(_mm512_mul_ps(f16_lanes(unit + 32), _mm512_cvtepi32_ps(byte_lanes(s + 16 * (groups + g)))));
      break;
    }
    case StripScale::super4: {
      const __m512i both = byte_lanes(unit + 64 + 16 * g);
      scale = _mm512_mul_ps(f16_lanes(unit), _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15))));
      min = negative(_mm512_mul_ps(f16_lanes(unit + 32), _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4))));
      break;
    }
    case StripScale::e8m0: scale = e8m0_lanes(unit + 16 * g); break;
    default: scale = ue4m3_lanes(unit + 16 * g); break;
  }
  return {spread(scale), spread(min)};
}

template <bool kMin>
[[gnu::always_inline]] inline void store_line(__m512 low, __m512 high, const Factors& f, uint16_t* line) {
  low = _mm512_mul_ps(f.scale.low, low);
  high = _mm512_mul_ps(f.scale.high, high);
  if (kMin) low = _mm512_add_ps(low, f.min.low), high = _mm512_add_ps(high, f.min.high);
  _mm512_storeu_si512(line, round_pair(low, high));
}

// A register of index bytes for one quad or more of 16 rows, each row twice.
struct Indices {
  __m512i low, high;
};
[[gnu::always_inline]] inline Indices spread(__m512i v) {
  const Two two = spread(_mm512_castsi512_ps(v));
  return {_mm512_castps_si512(two.low), _mm512_castps_si512(two.high)};
}

// The quad whose indices, of up to 4 bits, begin at bit `at` of each byte: two lines. A look-up takes the low 4 bits of a lane and
// ignores the rest.
template <bool kMin>
[[gnu::always_inline]] inline void look_up(__m512 table, const Indices& v, int at, const Factors& f, uint16_t* lines) {
#pragma GCC unroll 2
  for (int pair = 0; pair < 2; ++pair) {
    const __m512i shift = _mm512_add_epi32(_mm512_set1_epi64(int64_t{8} << 32), _mm512_set1_epi32(16 * pair + at));
    store_line<kMin>(_mm512_permutexvar_ps(_mm512_srlv_epi32(v.low, shift), table),
                     _mm512_permutexvar_ps(_mm512_srlv_epi32(v.high, shift), table), f, lines + 32 * pair);
  }
}

// A quad's bytes as whole indices. 2^23 + index is a float that has the index in its low byte.
template <bool kMin>
[[gnu::always_inline]] inline void convert(__m512i quad, __m512 base, const Factors& f, uint16_t* lines) {
  alignas(64) static constexpr uint8_t kRow[64] = {0,  0, 0, 0, 1,  0, 0, 0, 4,  0, 0, 0, 5,  0, 0, 0, 8,  0, 0, 0, 9,  0,
                                                   0,  0, 12, 0, 0, 0, 13, 0, 0, 0, 16, 0, 0, 0, 17, 0, 0, 0, 20, 0, 0, 0,
                                                   21, 0, 0, 0, 24, 0, 0, 0, 25, 0, 0, 0, 28, 0, 0, 0, 29, 0, 0, 0};
  const __m512i magic = _mm512_set1_epi32(0x4b000000), row = _mm512_load_si512(kRow);
#pragma GCC unroll 2
  for (int pair = 0; pair < 2; ++pair) {
    const __m512i from = _mm512_add_epi8(row, _mm512_set1_epi8(static_cast<char>(2 * pair)));
    const __m512i upper = _mm512_add_epi8(from, _mm512_set1_epi8(32));
    const __m512i low = _mm512_mask_permutexvar_epi8(magic, 0x1111111111111111, from, quad);
    const __m512i high = _mm512_mask_permutexvar_epi8(magic, 0x1111111111111111, upper, quad);
    store_line<kMin>(_mm512_sub_ps(_mm512_castsi512_ps(low), base), _mm512_sub_ps(_mm512_castsi512_ps(high), base), f,
                     lines + 32 * pair);
  }
}

[[gnu::always_inline]] inline __m512i masked(__m512i v, int shift, int mask) {
  return _mm512_and_si512(_mm512_srli_epi32(v, static_cast<unsigned>(shift)), _mm512_set1_epi8(static_cast<char>(mask)));
}

// One block of a strip. f[0] and f[1] belong to its two halves.
template <int kBits, bool kMin>
[[gnu::always_inline]] inline void expand_block(const uint8_t* planes, __m512 table, __m512 base, const Factors* f,
                                                uint16_t* lines) {
  const auto load = [&](int i) { return _mm512_loadu_si512(planes + 64 * i); };
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int q = 0; q < 8; ++q) convert<kMin>(load(q), base, f[q / 4], lines + 64 * q);
  } else if constexpr (kBits == 4) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Indices v = spread(load(j));
      look_up<kMin>(table, v, 0, f[j / 2], lines + 128 * j);
      look_up<kMin>(table, v, 4, f[j / 2], lines + 128 * j + 64);
    }
  } else if constexpr (kBits == 2) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const Indices v = spread(load(h));
#pragma GCC unroll 4
      for (int m = 0; m < 4; ++m) look_up<kMin>(table, v, 2 * m, f[h], lines + 64 * (4 * h + m));
    }
  } else if constexpr (kBits == 1) {
    const Indices v = spread(load(0));
#pragma GCC unroll 8
    for (int q = 0; q < 8; ++q) look_up<kMin>(table, v, q, f[q / 4], lines + 64 * q);
  } else {
    constexpr int kTwos = kBits & 4 ? 4 : 0, kOnes = kTwos + (kBits & 2 ? 2 : 0);
#pragma GCC unroll 8
    for (int q = 0; q < 8; ++q) {
      __m512i index = _mm512_setzero_si512();
      if constexpr ((kBits & 4) != 0) index = masked(load(q / 2), 4 * (q & 1), 15);
      if constexpr ((kBits & 2) != 0)
        index = _mm512_or_si512(index, _mm512_slli_epi32(masked(load(kTwos + q / 4), 2 * (q & 3), 3), kBits & 4));
      if constexpr ((kBits & 1) != 0)
        index = _mm512_or_si512(index, _mm512_slli_epi32(masked(load(kOnes), q, 1), kBits & 6));
      if constexpr (kBits < 4)
        look_up<kMin>(table, spread(index), 0, f[q / 4], lines + 64 * q);
      else
        convert<kMin>(index, base, f[q / 4], lines + 64 * q);
    }
  }
}

template <int kBits, bool kMin>
void expand_strip(const Source& source, int64_t block, uint16_t* lines) {
  const StripLayout& layout = *source.layout;
  const int in_unit = static_cast<int>(block) & (source.unit_blocks - 1), column = in_unit * kTileBlock;
  const uint8_t* unit = static_cast<const uint8_t*>(source.data) + block / source.unit_blocks * layout.unit_bytes;
  const uint8_t* planes = unit + layout.header + in_unit * 64 * kBits;
#pragma GCC unroll 8
  for (int i = 0; i < kBits; ++i) _mm_prefetch(reinterpret_cast<const char*>(planes + kAhead + 64 * i), _MM_HINT_T0);
  Factors f[2];
  if (layout.group == kTile) {
    f[0] = factors(layout, unit, column / kTile);
    f[1] = factors(layout, unit, column / kTile + 1);
  } else {
    f[0] = f[1] = factors(layout, unit, column / layout.group);
  }
  expand_block<kBits, kMin>(planes, _mm512_load_ps(source.level), _mm512_set1_ps(static_cast<float>(0x800000 + layout.offset)), f, lines);
}

// 32 columns of a plain row, of which `cols` are there.
struct Single {
  using Number = float;
  [[gnu::always_inline]] static __m512i load(const float* p, int64_t cols) {
    if (cols >= kTileBlock) return round_pair(_mm512_loadu_ps(p), _mm512_loadu_ps(p + 16));
    const __m512 low = _mm512_maskz_loadu_ps(cols < 16 ? first16(cols) : 0xffff, p);
    return round_pair(low, cols > 16 ? _mm512_maskz_loadu_ps(first16(cols - 16), p + 16) : _mm512_setzero_ps());
  }
};
[[gnu::always_inline]] inline __m512i load_words(const uint16_t* p, int64_t cols) {
  return cols >= kTileBlock ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16((1u << cols) - 1, p);
}
struct Half {
  using Number = uint16_t;
  [[gnu::always_inline]] static __m512i load(const uint16_t* p, int64_t cols) {
    const __m512i v = load_words(p, cols);
    return round_pair(_mm512_cvtph_ps(_mm512_castsi512_si256(v)), _mm512_cvtph_ps(_mm512_extracti64x4_epi64(v, 1)));
  }
};
struct Bf16 {
  using Number = uint16_t;
  [[gnu::always_inline]] static __m512i load(const uint16_t* p, int64_t cols) { return load_words(p, cols); }
};

// Rows of 16 dwords become columns.
[[gnu::always_inline]] inline void transpose(__m512i v[16]) {
  __m512i a[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4) {
    const __m512i p = _mm512_unpacklo_epi32(v[i], v[i + 1]), q = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    const __m512i r = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]), s = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
    a[i] = _mm512_unpacklo_epi64(p, r), a[i + 1] = _mm512_unpackhi_epi64(p, r);
    a[i + 2] = _mm512_unpacklo_epi64(q, s), a[i + 3] = _mm512_unpackhi_epi64(q, s);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i p = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88), q = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd);
    const __m512i r = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88), s = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xdd);
    v[i] = _mm512_shuffle_i32x4(p, r, 0x88), v[i + 8] = _mm512_shuffle_i32x4(p, r, 0xdd);
    v[i + 4] = _mm512_shuffle_i32x4(q, s, 0x88), v[i + 12] = _mm512_shuffle_i32x4(q, s, 0xdd);
  }
}

template <class Row>
void expand_rows(const Source& source, int64_t block, uint16_t* lines) {
  const auto* w = static_cast<const typename Row::Number*>(source.data) + block * kTileBlock;
  const int64_t cols = source.cols - block * kTileBlock;
  __m512i v[kTile];
  if (source.rows == kTile && cols >= kTileBlock) {
#pragma GCC unroll 16
    for (int r = 0; r < kTile; ++r) v[r] = Row::load(w + r * source.stride, kTileBlock);
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < kTile; ++r) v[r] = r < source.rows ? Row::load(w + r * source.stride, cols) : _mm512_setzero_si512();
  }
  transpose(v);
#pragma GCC unroll 16
  for (int p = 0; p < kTile; ++p) _mm512_storeu_si512(lines + 32 * p, v[p]);
}

}  // namespace
}  // namespace gemloupe::tiles
