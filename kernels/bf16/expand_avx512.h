// Weights to bfloat16 tiles with 512-bit registers. Everything is local to the file that includes it, which defines
//   __m512i round_pair(__m512 low, __m512 high)    the bfloat16 of low's lanes, then those of high's
//   __m512i line_of(__m512 even, __m512 odd)       the bfloat16 of even's lane 0, odd's lane 0, even's lane 1, ...
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
[[gnu::always_inline]] inline __m512 bf16_lanes(const uint8_t* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
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

// Of one group: a lane to a row.
struct Factors {
  __m512 scale, min;
};

// Those of group g of a unit that has `groups`.
[[gnu::always_inline]] inline Factors factors(const StripLayout& layout, int groups, const uint8_t* unit, int g) {
  Factors f{_mm512_setzero_ps(), _mm512_setzero_ps()};
  switch (layout.scale) {
    case StripScale::f16:
      f.scale = f16_lanes(unit + 32 * g);
      if (layout.has_min) f.min = f16_lanes(unit + 32 * (groups + g));
      break;
    case StripScale::bf16:
      f.scale = bf16_lanes(unit + 32 * g);
      if (layout.has_min) f.min = bf16_lanes(unit + 32 * (groups + g));
      break;
    case StripScale::f32:
      f.scale = _mm512_loadu_ps(unit + 64 * g);
      if (layout.has_min) f.min = _mm512_loadu_ps(unit + 64 * (groups + g));
      break;
    case StripScale::super: {
      const uint8_t* s = unit + (layout.has_min ? 64 : 32);
      f.scale = _mm512_mul_ps(f16_lanes(unit), signed_lanes(s + 16 * g));
      if (layout.has_min)
        f.min = negative(_mm512_mul_ps(f16_lanes(unit + 32), _mm512_cvtepi32_ps(byte_lanes(s + 16 * (groups + g)))));
      break;
    }
    case StripScale::super4: {
      const __m512i both = byte_lanes(unit + 64 + 16 * g);
      f.scale = _mm512_mul_ps(f16_lanes(unit), _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15))));
      f.min = negative(_mm512_mul_ps(f16_lanes(unit + 32), _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4))));
      break;
    }
    case StripScale::e8m0: f.scale = e8m0_lanes(unit + 16 * g); break;
    default: f.scale = ue4m3_lanes(unit + 16 * g); break;
  }
  return f;
}

[[gnu::always_inline]] inline __m512i masked(__m512i v, int shift, int mask) {
  return _mm512_and_si512(_mm512_srli_epi32(v, static_cast<unsigned>(shift)), _mm512_set1_epi8(static_cast<char>(mask)));
}

// A block of a strip, four lines at a time: a part is quads 2 i and 2 i + 1. A register of indices has a quad of each row in
// that row's lane, a byte to a column.
template <int kBits, bool kMin>
class StripBlock {
 public:
  static constexpr int kParts = 4;

  [[gnu::always_inline]] void open(const Source& source, int64_t block, uint16_t* lines) {
    const StripLayout& layout = *source.layout;
    const int in_unit = static_cast<int>(block) & ((1 << source.unit_shift) - 1), group = in_unit * kTileBlock >> source.group_shift;
    const uint8_t* unit = static_cast<const uint8_t*>(source.data) + (block >> source.unit_shift) * layout.unit_bytes;
    const int groups = kTileBlock << source.unit_shift >> source.group_shift;
    planes_ = unit + layout.header + in_unit * 64 * kBits;
    lines_ = lines;
    table_ = _mm512_load_ps(source.level);
    base_ = _mm512_set1_ps(static_cast<float>(0x800000 + layout.offset));
#pragma GCC unroll 8
    for (int i = 0; i < kBits; ++i) _mm_prefetch(reinterpret_cast<const char*>(planes_ + kAhead + 64 * i), _MM_HINT_T0);
    factors_[0] = factors(layout, groups, unit, group);
    factors_[1] = layout.group == kTile ? factors(layout, groups, unit, group + 1) : factors_[0];
  }

  [[gnu::always_inline]] void part(int i) const {
    const Factors f = factors_[i / 2];
#pragma GCC unroll 2
    for (int q = 0; q < 2; ++q) {
      const Quad quad = quad_of(i, q);
#pragma GCC unroll 2
      for (int pair = 0; pair < 2; ++pair)
        _mm512_storeu_si512(lines_ + 128 * i + 64 * q + 32 * pair, line_of(number(quad, 2 * pair, f), number(quad, 2 * pair + 1, f)));
    }
  }

 private:
  // The indices of columns 0 .. 3 begin at bits `at`, at + 8, at + 16 and at + 24 of a lane.
  struct Quad {
    __m512i indices;
    int at;
  };
  [[gnu::always_inline]] Quad quad_of(int i, int q) const {
    if constexpr (kBits == 8) return {load(2 * i + q), 0};
    else if constexpr (kBits == 4) return {load(i), 4 * q};
    else if constexpr (kBits == 2) return {load(i / 2), 4 * (i % 2) + 2 * q};
    else if constexpr (kBits == 1) return {load(0), 2 * i + q};
    else return {gathered(2 * i + q), 0};
  }
  [[gnu::always_inline]] __m512 number(const Quad& quad, int column, const Factors& f) const {
    const __m512i index = _mm512_srli_epi32(quad.indices, static_cast<unsigned>(quad.at + 8 * column));
    __m512 level;
    if constexpr (kBits <= 4)  // a look-up takes the low 4 bits of a lane and ignores the rest
      level = _mm512_permutexvar_ps(index, table_);
    else  // 2^23 + index is a float that has the index in its low byte
      level = _mm512_sub_ps(_mm512_castsi512_ps(_mm512_ternarylogic_epi32(index, _mm512_set1_epi32(255), _mm512_set1_epi32(0x4b000000), 0xea)), base_);
    const __m512 v = _mm512_mul_ps(f.scale, level);
    return kMin ? _mm512_add_ps(v, f.min) : v;
  }

  [[gnu::always_inline]] __m512i load(int i) const { return _mm512_loadu_si512(planes_ + 64 * i); }
  // Quad q from planes of 4, 2 and 1 bits.
  [[gnu::always_inline]] __m512i gathered(int q) const {
    constexpr int kTwos = kBits & 4 ? 4 : 0, kOnes = kTwos + (kBits & 2 ? 2 : 0);
    __m512i index = _mm512_setzero_si512();
    if constexpr ((kBits & 4) != 0) index = masked(load(q / 2), 4 * (q & 1), 15);
    if constexpr ((kBits & 2) != 0)
      index = _mm512_or_si512(index, _mm512_slli_epi32(masked(load(kTwos + q / 4), 2 * (q & 3), 3), kBits & 4));
    if constexpr ((kBits & 1) != 0)
      index = _mm512_or_si512(index, _mm512_slli_epi32(masked(load(kOnes), q, 1), kBits & 6));
    return index;
  }

  const uint8_t* planes_;
  uint16_t* lines_;
  __m512 table_, base_;
  Factors factors_[2];
};

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

// 32 columns of up to 16 plain rows.
template <class Row>
class RowsBlock {
 public:
  static constexpr int kParts = 1;

  [[gnu::always_inline]] void open(const Source& source, int64_t block, uint16_t* lines) {
    source_ = &source, block_ = block, lines_ = lines;
  }
  [[gnu::always_inline]] void part(int) const {
    const auto* w = static_cast<const typename Row::Number*>(source_->data) + block_ * kTileBlock;
    const int64_t cols = source_->cols - block_ * kTileBlock;
    __m512i v[kTile];
    if (source_->rows == kTile && cols >= kTileBlock) {
#pragma GCC unroll 16
      for (int r = 0; r < kTile; ++r) v[r] = Row::load(w + r * source_->stride, kTileBlock);
    } else {
#pragma GCC unroll 16
      for (int r = 0; r < kTile; ++r) v[r] = r < source_->rows ? Row::load(w + r * source_->stride, cols) : _mm512_setzero_si512();
    }
    transpose(v);
#pragma GCC unroll 16
    for (int p = 0; p < kTile; ++p) _mm512_storeu_si512(lines_ + 32 * p, v[p]);
  }

 private:
  const Source* source_;
  int64_t block_;
  uint16_t* lines_;
};

template <class Block>
void expand(const Source& source, int64_t block, uint16_t* lines) {
  Block b;
  b.open(source, block, lines);
#pragma GCC unroll 4
  for (int i = 0; i < Block::kParts; ++i) b.part(i);
}

// A variant's steps. With<Block>::expansion is that of its kind of weight.
template <template <class> class With>
constexpr Steps steps(int64_t x_tile, decltype(Steps::pack) pack, bool stores_rows, void (*begin)(), void (*end)()) {
  return {x_tile,
          pack,
          {{},
           {With<StripBlock<1, false>>::expansion, With<StripBlock<1, true>>::expansion},
           {With<StripBlock<2, false>>::expansion, With<StripBlock<2, true>>::expansion},
           {With<StripBlock<3, false>>::expansion, With<StripBlock<3, true>>::expansion},
           {With<StripBlock<4, false>>::expansion, With<StripBlock<4, true>>::expansion},
           {With<StripBlock<5, false>>::expansion, With<StripBlock<5, true>>::expansion},
           {With<StripBlock<6, false>>::expansion, With<StripBlock<6, true>>::expansion},
           {},
           {With<StripBlock<8, false>>::expansion, With<StripBlock<8, true>>::expansion}},
          With<RowsBlock<Half>>::expansion,
          With<RowsBlock<Bf16>>::expansion,
          With<RowsBlock<Single>>::expansion,
          stores_rows,
          begin,
          end};
}

}  // namespace
}  // namespace gemloupe::tiles
