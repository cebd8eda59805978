#if defined(__AVX2__)

#include <immintrin.h>

#include "kernels/bf16/flush.h"
#include "kernels/bf16/tiles.h"

namespace gemloupe::tiles {
namespace {

constexpr int kHalf = 8;  // weight rows in a register

[[gnu::always_inline]] inline __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
[[gnu::always_inline]] inline void store(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
[[gnu::always_inline]] inline __m256i mask_of(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// The bfloat16 is the upper half of the lane; the lower one is not zero.
[[gnu::always_inline]] inline __m256i round_upper(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v), exponent = _mm256_set1_epi32(0x7f800000);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  // Denormal numbers and zeros keep their sign only; a NaN keeps its upper half and becomes quiet.
  const __m256i small = _mm256_cmpeq_epi32(_mm256_and_si256(bits, exponent), _mm256_setzero_si256());
  const __m256i sign = _mm256_and_si256(bits, _mm256_set1_epi32(static_cast<int>(0x80000000)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256 nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
  return _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(_mm256_blendv_epi8(up, sign, small)), _mm256_castsi256_ps(quiet), nan));
}

// Lane by lane the bfloat16 of `even`, then that of `odd`.
[[gnu::always_inline]] inline __m256i round_line(__m256 even, __m256 odd) {
  return _mm256_blend_epi16(_mm256_srli_epi32(round_upper(even), 16), round_upper(odd), 0xaa);
}

[[gnu::always_inline]] inline __m256 f16_lanes(const uint8_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
[[gnu::always_inline]] inline __m256 bf16_lanes(const uint8_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
}
[[gnu::always_inline]] inline __m256i byte_lanes(const uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
[[gnu::always_inline]] inline __m256 signed_lanes(const uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
[[gnu::always_inline]] inline __m256 negative(__m256 v) { return _mm256_xor_ps(v, _mm256_set1_ps(-0.0f)); }

[[gnu::always_inline]] inline __m256 e8m0_lanes(const uint8_t* p) {  // half of 2^(e - 127)
  const __m256i e = byte_lanes(p), one = _mm256_set1_epi32(1);
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
  const __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
  return _mm256_castsi256_ps(_mm256_blendv_epi8(small, normal, _mm256_cmpgt_epi32(e, one)));
}
[[gnu::always_inline]] inline __m256 ue4m3_lanes(const uint8_t* p) {  // half of it; 0x7f is 0, bit 7 of others is ignored
  const __m256i e = byte_lanes(p), magnitude = _mm256_and_si256(e, _mm256_set1_epi32(0x7f));
  const __m256i normal = _mm256_add_epi32(_mm256_slli_epi32(magnitude, 20), _mm256_set1_epi32((127 - 8) << 23));
  const __m256 small = _mm256_mul_ps(_mm256_cvtepi32_ps(magnitude), _mm256_set1_ps(0x1p-10f));
  const __m256i v = _mm256_blendv_epi8(normal, _mm256_castps_si256(small), _mm256_cmpgt_epi32(_mm256_set1_epi32(8), magnitude));
  return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpeq_epi32(e, _mm256_set1_epi32(0x7f)), v));
}

struct Factors {
  __m256 scale, min;
};

// Of group g of a unit, rows [row, row + 8).
[[gnu::always_inline]] inline Factors factors(const StripLayout& layout, const uint8_t* unit, int g, int row) {
  const int groups = layout.unit / layout.group;
  Factors f{_mm256_setzero_ps(), _mm256_setzero_ps()};
  switch (layout.scale) {
    case StripScale::f16:
      f.scale = f16_lanes(unit + 32 * g + 2 * row);
      if (layout.has_min) f.min = f16_lanes(unit + 32 * (groups + g) + 2 * row);
      break;
    case StripScale::bf16:
      f.scale = bf16_lanes(unit + 32 * g + 2 * row);
      if (layout.has_min) f.min = bf16_lanes(unit + 32 * (groups + g) + 2 * row);
      break;
    case StripScale::f32:
      f.scale = _mm256_castsi256_ps(load(unit + 64 * g + 4 * row));
      if (layout.has_min) f.min = _mm256_castsi256_ps(load(unit + 64 * (groups + g) + 4 * row));
      break;
    case StripScale::super: {
      const uint8_t* s = unit + (layout.has_min ? 64 : 32) + row;
      f.scale = _mm256_mul_ps(f16_lanes(unit + 2 * row), signed_lanes(s + 16 * g));
      if (layout.has_min)
        f.min = negative(_mm256_mul_ps(f16_lanes(unit + 32 + 2 * row), _mm256_cvtepi32_ps(byte_lanes(s + 16 * (groups + g)))));
      break;
    }
    case StripScale::super4: {
      const __m256i both = byte_lanes(unit + 64 + 16 * g + row);
      f.scale = _mm256_mul_ps(f16_lanes(unit + 2 * row), _mm256_cvtepi32_ps(_mm256_and_si256(both, _mm256_set1_epi32(15))));
      f.min = negative(_mm256_mul_ps(f16_lanes(unit + 32 + 2 * row), _mm256_cvtepi32_ps(_mm256_srli_epi32(both, 4))));
      break;
    }
    case StripScale::e8m0: f.scale = e8m0_lanes(unit + 16 * g + row); break;
    default: f.scale = ue4m3_lanes(unit + 16 * g + row); break;
  }
  return f;
}

// The index bytes of a quad: register q of a plane of 8 bits, or put together from planes of 4, 2 and 1.
[[gnu::always_inline]] inline __m256i quad_bytes(const StripLayout& layout, const uint8_t* planes, int q, int row) {
  const auto plane = [&](int i) { return load(planes + 64 * i + 4 * row); };
  const auto part = [](__m256i v, int shift, int mask) {
    return _mm256_and_si256(_mm256_srl_epi32(v, _mm_cvtsi32_si128(shift)), _mm256_set1_epi8(static_cast<char>(mask)));
  };
  const int bits = layout.bits;
  if (bits == 8) return plane(q);
  const int twos = bits & 4, ones = twos + (bits & 2);
  __m256i v = _mm256_setzero_si256();
  if (bits & 4) v = part(plane(q / 2), 4 * (q & 1), 15);
  if (bits & 2) v = _mm256_or_si256(v, _mm256_sll_epi32(part(plane(twos + q / 4), 2 * (q & 3), 3), _mm_cvtsi32_si128(bits & 4)));
  if (bits & 1) v = _mm256_or_si256(v, _mm256_sll_epi32(part(plane(ones), q, 1), _mm_cvtsi32_si128(bits & 6)));
  return v;
}

void expand_strip(const Source& source, int64_t block, uint16_t* lines) {
  const StripLayout& layout = *source.layout;
  const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.code_of)));
  const __m256i offset = _mm256_set1_epi32(layout.offset), byte = _mm256_set1_epi32(255);
  const int in_unit = static_cast<int>(block) & ((1 << source.unit_shift) - 1);
  const uint8_t* unit = static_cast<const uint8_t*>(source.data) + (block >> source.unit_shift) * layout.unit_bytes;
  const uint8_t* planes = unit + layout.header + in_unit * 64 * layout.bits;
  for (int row = 0; row < kTile; row += kHalf) {
    Factors f{};
    for (int q = 0; q < 8; ++q) {
      const int column = in_unit * kTileBlock + 4 * q;
      if (column % kTile == 0) f = factors(layout, unit, column / layout.group, row);
      __m256i codes = quad_bytes(layout, planes, q, row);
      if (layout.table) codes = _mm256_shuffle_epi8(table, codes);
      __m256 w[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m256i code = _mm256_and_si256(_mm256_srli_epi32(codes, 8 * i), byte);
        w[i] = _mm256_mul_ps(f.scale, _mm256_cvtepi32_ps(_mm256_sub_epi32(code, offset)));
        if (layout.has_min) w[i] = _mm256_add_ps(w[i], f.min);
      }
      uint16_t* to = lines + 64 * q + 2 * row;
      store(to, round_line(w[0], w[1]));
      store(to + 32, round_line(w[2], w[3]));
    }
  }
}

// 8 columns of a plain row, of which `cols` are there, as floats.
struct Single {
  using Number = float;
  [[gnu::always_inline]] static __m256 load(const float* p, int64_t cols) {
    return cols >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, mask_of(cols));
  }
};
[[gnu::always_inline]] inline __m128i load_words(const uint16_t* p, int64_t cols) {
  if (cols >= 8) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  alignas(16) uint16_t words[8] = {};
  for (int i = 0; i < cols; ++i) words[i] = p[i];
  return _mm_load_si128(reinterpret_cast<const __m128i*>(words));
}
struct Half {
  using Number = uint16_t;
  [[gnu::always_inline]] static __m256 load(const uint16_t* p, int64_t cols) { return _mm256_cvtph_ps(load_words(p, cols)); }
};
struct Bf16 {
  using Number = uint16_t;
  [[gnu::always_inline]] static __m256 load(const uint16_t* p, int64_t cols) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_words(p, cols)), 16));
  }
};

// Rows of 8 floats become columns.
[[gnu::always_inline]] inline void transpose(__m256 v[8]) {
  __m256 a[8];
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    const __m256 p = _mm256_unpacklo_ps(v[i], v[i + 1]), q = _mm256_unpackhi_ps(v[i], v[i + 1]);
    const __m256 r = _mm256_unpacklo_ps(v[i + 2], v[i + 3]), s = _mm256_unpackhi_ps(v[i + 2], v[i + 3]);
    a[i] = _mm256_shuffle_ps(p, r, 0x44), a[i + 1] = _mm256_shuffle_ps(p, r, 0xee);
    a[i + 2] = _mm256_shuffle_ps(q, s, 0x44), a[i + 3] = _mm256_shuffle_ps(q, s, 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x20);
    v[i + 4] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x31);
  }
}

template <class Row>
void expand_rows(const Source& source, int64_t block, uint16_t* lines) {
  const auto* w = static_cast<const typename Row::Number*>(source.data) + block * kTileBlock;
  for (int row = 0; row < kTile; row += kHalf)
    for (int i = 0; i < kTileBlock; i += 8) {
      const int64_t left = source.cols - block * kTileBlock - i;
      __m256 v[8];
#pragma GCC unroll 8
      for (int r = 0; r < 8; ++r)
        v[r] = row + r < source.rows && left > 0 ? Row::load(w + (row + r) * source.stride + i, left) : _mm256_setzero_ps();
      transpose(v);
#pragma GCC unroll 4
      for (int p = 0; p < 4; ++p) store(lines + (i / 2 + p) * 32 + 2 * row, round_line(v[2 * p], v[2 * p + 1]));
    }
}

constexpr int64_t kBytes = kLines * 4;  // activations stay floats: a product takes them from memory

void pack(const float* const* x, int rows, int64_t cols, uint8_t* to) {
  const int64_t blocks = (cols + kTileBlock - 1) / kTileBlock;
  for (int r = 0; r < kTile; ++r)
    for (int64_t c = 0; c < blocks * kTileBlock; c += 8) {
      const __m256 v = r < rows && c < cols ? Single::load(x[r] + c, cols - c) : _mm256_setzero_ps();
      store(to + c / kTileBlock * kBytes + 128 * r + c % kTileBlock * 4,
            _mm256_and_si256(round_upper(v), _mm256_set1_epi32(static_cast<int>(0xffff0000))));
    }
}

// kRows activation rows times half a strip, one block: sums of 8 weight rows, a lane each.
template <int kRows>
[[gnu::always_inline]] inline void block(const float* x, const uint16_t* w, bool first, float* sums) {
  __m256 even[kRows], odd[kRows];
#pragma GCC unroll 4
  for (int t = 0; t < kRows; ++t) even[t] = odd[t] = _mm256_setzero_ps();
#pragma GCC unroll 2
  for (int i = 0; i < kTileBlock; i += 2) {
    const __m256i line = load(w + i * kTile);
    const __m256 w_even = _mm256_castsi256_ps(_mm256_slli_epi32(line, 16));
    const __m256 w_odd = _mm256_castsi256_ps(_mm256_and_si256(line, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
#pragma GCC unroll 4
    for (int t = 0; t < kRows; ++t) {
      even[t] = _mm256_fmadd_ps(_mm256_broadcast_ss(x + t * kTileBlock + i), w_even, even[t]);
      odd[t] = _mm256_fmadd_ps(_mm256_broadcast_ss(x + t * kTileBlock + i + 1), w_odd, odd[t]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kRows; ++t) {
    const __m256 before = first ? _mm256_setzero_ps() : _mm256_load_ps(sums + t * kTile);
    _mm256_store_ps(sums + t * kTile, _mm256_add_ps(before, _mm256_add_ps(even[t], odd[t])));
  }
}

template <int kRows>
[[gnu::always_inline]] inline void blocks(const Product& p, const float* x, const uint16_t* w, float* sums) {
  for (int64_t b = 0; b < p.blocks; ++b)
    for (int row = 0; row < kTile; row += kHalf)
      block<kRows>(x + b * kLines, w + b * kLines + 2 * row, p.first && b == 0, sums + row);
}

void multiply(const Product& p) {
  const Flush flush;
  for (int64_t t = 0; t < p.rows;) {
    const int64_t tile = t / kTile, left = p.rows - t;
    const float* x = reinterpret_cast<const float*>(p.x + tile * p.x_stride) + t % kTile * kTileBlock;
    const int rows = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    for (int s = 0; s < p.strips; ++s) {
      float* sums = p.sums + ((tile * p.strips + s) * kTile + t % kTile) * kTile;
      const uint16_t* w = p.panel + s * p.blocks * kLines;
      if (rows == 4)
        blocks<4>(p, x, w, sums);
      else if (rows == 2)
        blocks<2>(p, x, w, sums);
      else
        blocks<1>(p, x, w, sums);
    }
    t += rows;
  }
}

void nothing() {}

}  // namespace

#define GEMLOUPE_SAME {{expand_strip, multiply}, {expand_strip, multiply}}
const Steps avx2_steps = {kBytes,
                          pack,
                          {GEMLOUPE_SAME, GEMLOUPE_SAME, GEMLOUPE_SAME, GEMLOUPE_SAME, GEMLOUPE_SAME, GEMLOUPE_SAME, GEMLOUPE_SAME,
                           GEMLOUPE_SAME, GEMLOUPE_SAME},
                          {expand_rows<Half>, multiply},
                          {expand_rows<Bf16>, multiply},
                          {expand_rows<Single>, multiply},
                          false,
                          nothing,
                          nothing};

}  // namespace gemloupe::tiles

#endif
