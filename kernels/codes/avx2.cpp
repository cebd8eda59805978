// The AVX2 variants: a block or a quarter of a super-block at a time, table look-ups by PSHUFB.
#include <immintrin.h>

#include "kernels/codes/scales.h"
#include "kernels/codes/variants.h"

namespace gemloupe::avx2 {

using namespace gemloupe::codes;

namespace {

__m128i load16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
__m256i load32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
void store32(uint8_t* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
float half_at(const uint8_t* p) { return _cvtsh_ss(u16_at(p)); }
float scale_at(const uint8_t* p, ScaleType type) { return type == ScaleType::f16 ? half_at(p) : float_at(p, type); }

__m256i low_bits(__m256i v, int mask) { return _mm256_and_si256(v, _mm256_set1_epi8(static_cast<char>(mask))); }
// (v >> shift) & mask in every byte; mask has at most 8 - shift bits.
__m256i field(__m256i v, int shift, int mask) { return low_bits(_mm256_srl_epi16(v, _mm_cvtsi32_si128(shift)), mask); }
__m256i up(__m256i v, int shift) { return _mm256_sll_epi16(v, _mm_cvtsi32_si128(shift)); }

// 16 bytes to 32 nibbles, the low ones first.
__m256i nibbles(const uint8_t* p) {
  const __m128i v = load16(p);
  return low_bits(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), 15);
}

// 32 bits to bytes that are 16 or 0.
__m256i sixteens(const uint8_t* p) {
  const __m256i each = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  const __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(u32_at(p))), each);
  return low_bits(_mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit), 16);
}

// A table of 16 codes in both halves.
__m256i codes_of(const int8_t* level, int offset) {
  return _mm256_broadcastsi128_si256(_mm_add_epi8(load16(reinterpret_cast<const uint8_t*>(level)), _mm_set1_epi8(static_cast<char>(offset))));
}

// Eight small numbers times a factor.
void put_unsigned(uint64_t bytes, float factor, float* to) {
  const __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(bytes))));
  _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_set1_ps(factor), v));
}
void put_signed(uint64_t bytes, float factor, float* to) {
  const __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(bytes))));
  _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_set1_ps(factor), v));
}
void put_negated(uint64_t bytes, float factor, float* to) {
  const __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(bytes))));
  _mm256_storeu_ps(to, _mm256_xor_ps(_mm256_mul_ps(_mm256_set1_ps(factor), v), _mm256_set1_ps(-0.0f)));
}

// Halves of four unsigned E4M3 numbers (ue4m3_half).
void put_ue4m3(uint32_t bytes, float* to) {
  const __m128i e = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(static_cast<int>(bytes))), seven = _mm_and_si128(e, _mm_set1_epi32(0x7f));
  const __m128 normal = _mm_castsi128_ps(_mm_add_epi32(_mm_slli_epi32(seven, 20), _mm_set1_epi32(119 << 23)));
  const __m128 small = _mm_mul_ps(_mm_cvtepi32_ps(seven), _mm_set1_ps(0x1p-10f));
  const __m128 is_small = _mm_castsi128_ps(_mm_cmplt_epi32(seven, _mm_set1_epi32(8)));
  const __m128 nothing = _mm_castsi128_ps(_mm_cmpeq_epi32(e, _mm_set1_epi32(0x7f)));
  _mm_storeu_ps(to, _mm_andnot_ps(nothing, _mm_blendv_ps(normal, small, is_small)));
}

constexpr uint64_t kNibbles = 0x0f0f0f0f0f0f0f0f, kAll = 0x0101010101010101;

}  // namespace

void q4_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 32, block += 18, code += 32) {
    *scale++ = half_at(block);
    store32(code, nibbles(block + 2));
  }
}

void q4_1(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 32, block += 20, code += 32) {
    *scale++ = half_at(block);
    *min++ = half_at(block + 2);
    store32(code, nibbles(block + 4));
  }
}

void q5_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 32, block += 22, code += 32) {
    *scale++ = half_at(block);
    store32(code, _mm256_or_si256(nibbles(block + 6), sixteens(block + 2)));
  }
}

void q5_1(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 32, block += 24, code += 32) {
    *scale++ = half_at(block);
    *min++ = half_at(block + 2);
    store32(code, _mm256_or_si256(nibbles(block + 8), sixteens(block + 4)));
  }
}

void q8_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 32, block += 34, code += 32) {
    *scale++ = half_at(block);
    store32(code, _mm256_xor_si256(load32(block + 2), _mm256_set1_epi8(-128)));
  }
}

void q2_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 256, block += 84) {
    const float d = half_at(block + 80), dmin = half_at(block + 82);
    for (int part = 0; part < 16; part += 8, scale += 8, min += 8) {
      const uint64_t both = u64_at(block + part);
      put_unsigned(both & kNibbles, d, scale);
      put_negated(both >> 4 & kNibbles, dmin, min);
    }
    for (int half = 0; half < 2; ++half) {
      const __m256i v = load32(block + 16 + 32 * half);
      for (int shift = 0; shift < 8; shift += 2, code += 32) store32(code, field(v, shift, 3));
    }
  }
}

void q3_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 110, scale += 16) {
    const float d = half_at(block + 108);
    uint64_t first, second;
    q3_k_scales(block + 96, first, second);
    // Six bits less 32, byte by byte: the bias keeps each byte from borrowing.
    put_signed(((first | 0x80 * kAll) - 32 * kAll) ^ 0x80 * kAll, d, scale);
    put_signed(((second | 0x80 * kAll) - 32 * kAll) ^ 0x80 * kAll, d, scale + 8);
    const __m256i high = load32(block);
    for (int j = 0; j < 8; ++j, code += 32) {
      const __m256i low = field(load32(block + 32 + 32 * (j / 4)), 2 * (j % 4), 3);
      store32(code, _mm256_or_si256(low, up(field(high, j, 1), 2)));
    }
  }
}

void q4_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 256, block += 144, scale += 8, min += 8) {
    uint64_t scales, minima;
    k_scales(block + 4, scales, minima);
    put_unsigned(scales, half_at(block), scale);
    put_negated(minima, half_at(block + 2), min);
    for (int c = 0; c < 4; ++c, code += 64) {
      const __m256i v = load32(block + 16 + 32 * c);
      store32(code, low_bits(v, 15));
      store32(code + 32, field(v, 4, 15));
    }
  }
}

void q5_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 256, block += 176, scale += 8, min += 8) {
    uint64_t scales, minima;
    k_scales(block + 4, scales, minima);
    put_unsigned(scales, half_at(block), scale);
    put_negated(minima, half_at(block + 2), min);
    const __m256i high = load32(block + 16);
    for (int c = 0; c < 4; ++c, code += 64) {
      const __m256i v = load32(block + 48 + 32 * c);
      store32(code, _mm256_or_si256(low_bits(v, 15), up(field(high, 2 * c, 1), 4)));
      store32(code + 32, _mm256_or_si256(field(v, 4, 15), up(field(high, 2 * c + 1, 1), 4)));
    }
  }
}

void q6_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 210, scale += 16) {
    const float d = half_at(block + 208);
    put_signed(u64_at(block + 192), d, scale);
    put_signed(u64_at(block + 200), d, scale + 8);
    for (int half = 0; half < 2; ++half, code += 128) {
      const __m256i a = load32(block + 64 * half), b = load32(block + 64 * half + 32), high = load32(block + 128 + 32 * half);
      store32(code, _mm256_or_si256(low_bits(a, 15), up(low_bits(high, 3), 4)));
      store32(code + 32, _mm256_or_si256(low_bits(b, 15), up(field(high, 2, 3), 4)));
      store32(code + 64, _mm256_or_si256(field(a, 4, 15), up(field(high, 4, 3), 4)));
      store32(code + 96, _mm256_or_si256(field(b, 4, 15), up(field(high, 6, 3), 4)));
    }
  }
}

void iq4_nl(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  const __m256i table = codes_of(kNonLinear, kNonLinearOffset);
  for (; cols > 0; cols -= 32, block += 18, code += 32) {
    *scale++ = half_at(block);
    store32(code, _mm256_shuffle_epi8(table, nibbles(block + 2)));
  }
}

void iq4_xs(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  const __m256i table = codes_of(kNonLinear, kNonLinearOffset);
  for (; cols > 0; cols -= 256, block += 136, scale += 8) {
    uint64_t scales = 0;
    for (int s = 0; s < 8; ++s) {
      const int low = block[4 + s / 2] >> 4 * (s % 2) & 15, high = u16_at(block + 2) >> 2 * s & 3;
      scales |= static_cast<uint64_t>(static_cast<uint8_t>((low | high << 4) - 32)) << 8 * s;
    }
    put_signed(scales, half_at(block), scale);
    for (int s = 0; s < 8; ++s, code += 32) store32(code, _mm256_shuffle_epi8(table, nibbles(block + 8 + 16 * s)));
  }
}

void mxfp4(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  const __m256i table = codes_of(kE2m1Doubled, kE2m1Offset);
  for (; cols > 0; cols -= 32, block += 17, code += 32) {
    *scale++ = e8m0_half(block[0]);
    store32(code, _mm256_shuffle_epi8(table, nibbles(block + 1)));
  }
}

void nvfp4(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  const __m256i table = codes_of(kE2m1Doubled, kE2m1Offset);
  for (; cols > 0; cols -= 64, block += 36, code += 64, scale += 4) {
    put_ue4m3(u32_at(block), scale);
    for (int pair = 0; pair < 2; ++pair) {
      const __m128i v = load16(block + 4 + 16 * pair), high = _mm_srli_epi16(v, 4);
      const __m256i q = low_bits(_mm256_set_m128i(_mm_unpackhi_epi64(v, high), _mm_unpacklo_epi64(v, high)), 15);
      store32(code + 32 * pair, _mm256_shuffle_epi8(table, q));
    }
  }
}

void tq2_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 66) {
    *scale++ = half_at(block + 64);
    for (int half = 0; half < 2; ++half) {
      const __m256i v = load32(block + 32 * half);
      for (int shift = 0; shift < 8; shift += 2, code += 32) store32(code, field(v, shift, 3));
    }
  }
}

namespace {

// 16 indices of `bits` bits at a time: each 16-bit lane gets the two bytes that hold its index, a multiplication moves it to the
// top, a shift back to the bottom.
template <int bits>
struct GridSteps {
  __m256i spread, multiplier, table[bits > 4 ? 1 << (bits - 4) : 1];

  explicit GridSteps(const GridRow& g) {
    alignas(32) uint8_t from[32];
    alignas(32) uint16_t by[16];
    for (int j = 0; j < 16; ++j) {
      const int byte = j * bits / 8, bit = j * bits % 8;
      from[2 * j] = static_cast<uint8_t>(byte);
      from[2 * j + 1] = static_cast<uint8_t>(byte < 15 ? byte + 1 : 0x80);
      by[j] = static_cast<uint16_t>(1u << (16 - bits - bit));
    }
    spread = _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
    multiplier = _mm256_load_si256(reinterpret_cast<const __m256i*>(by));
    for (int k = 0; k < static_cast<int>(sizeof table / sizeof *table); ++k)
      table[k] = _mm256_broadcastsi128_si256(load16(g.code + 16 * k));
  }

  __m128i operator()(const uint8_t* p, bool room) const {
    __m128i bytes;
    if (room) {
      bytes = load16(p);
    } else {
      uint8_t last[16] = {};
      std::memcpy(last, p, 2 * bits);
      bytes = load16(last);
    }
    const __m256i windows = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), spread);
    const __m256i wide = _mm256_srli_epi16(_mm256_mullo_epi16(windows, multiplier), 16 - bits);
    const __m128i index = _mm_packus_epi16(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    if constexpr (bits <= 4) return _mm_shuffle_epi8(_mm256_castsi256_si128(table[0]), index);
    __m128i found = _mm_setzero_si128();
    for (int k = 0; k < static_cast<int>(sizeof table / sizeof *table); ++k) {
      // What is not in this table's 16 entries gets its top bit, and with it a zero.
      const __m128i local = _mm_adds_epu8(_mm_sub_epi8(index, _mm_set1_epi8(static_cast<char>(16 * k))), _mm_set1_epi8(0x70));
      found = _mm_or_si128(found, _mm_shuffle_epi8(_mm256_castsi256_si128(table[k]), local));
    }
    return found;
  }
};

template <int bits>
void grid_codes(const GridRow& g, const uint8_t* block, int64_t cols, int64_t whole, int header, uint8_t* code) {
  const GridSteps<bits> step(g);
  // Sixteen bytes may be read at once wherever that stays inside the blocks.
  const uint8_t* end = block + (cols + whole - 1) / whole * (header + whole * bits / 8);
  for (int64_t n; cols > 0; cols -= n, code += n, block += header + whole * bits / 8) {
    n = whole < cols ? whole : cols;
    const uint8_t* at = block + header;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16, at += 2 * bits)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(code + i), step(at, end - at >= 16));
    if (i < n) {
      alignas(16) uint8_t last[16];
      _mm_store_si128(reinterpret_cast<__m128i*>(last), step(at, end - at >= 16));
      std::memcpy(code + i, last, static_cast<size_t>(n - i));
    }
  }
}

// 8 bits: a copy where the levels are the integers, else a look-up without vectors.
template <>
void grid_codes<8>(const GridRow& g, const uint8_t* block, int64_t cols, int64_t whole, int header, uint8_t* code) {
  bool plain = true;
  for (int i = 0; i < 256; ++i) plain = plain & (g.code[i] == i);
  for (int64_t n; cols > 0; cols -= n, code += n, block += header + whole) {
    n = whole < cols ? whole : cols;
    if (plain)
      std::memcpy(code, block + header, static_cast<size_t>(n));
    else
      for (int64_t i = 0; i < n; ++i) code[i] = g.code[block[header + i]];
  }
}

}  // namespace

void grid(const void* context, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  const GridRow& g = *static_cast<const GridRow*>(context);
  const int number = g.scale == ScaleType::f32 ? 4 : 2, header = g.has_min ? 2 * number : number;
  const int64_t whole = grid_block(g, cols), part = grid_part(whole), bytes = header + whole * g.bits / 8;
  const uint8_t* at = block;
  for (int64_t left = cols; left > 0; left -= whole, at += bytes) {
    const float s = scale_at(at, g.scale), m = g.has_min ? scale_at(at + number, g.scale) : 0;
    for (int64_t first = 0; first < whole && first < left; first += part) {
      *scale++ = s;
      if (g.has_min) *min++ = m;
    }
  }
  switch (g.bits) {
    case 1: return grid_codes<1>(g, block, cols, whole, header, code);
    case 2: return grid_codes<2>(g, block, cols, whole, header, code);
    case 3: return grid_codes<3>(g, block, cols, whole, header, code);
    case 4: return grid_codes<4>(g, block, cols, whole, header, code);
    case 5: return grid_codes<5>(g, block, cols, whole, header, code);
    case 6: return grid_codes<6>(g, block, cols, whole, header, code);
    case 7: return grid_codes<7>(g, block, cols, whole, header, code);
    default: return grid_codes<8>(g, block, cols, whole, header, code);
  }
}

}  // namespace gemloupe::avx2
