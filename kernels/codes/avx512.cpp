// The AVX-512 variants: 64 codes at a time; indices of any width by VPMULTISHIFTQB, look-ups by VPERMB (both VBMI).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of its own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include "kernels/codes/scales.h"
#include "kernels/codes/variants.h"

namespace gemloupe::avx512 {

using namespace gemloupe::codes;

namespace {

__m512i load64(const uint8_t* p) { return _mm512_loadu_si512(p); }
void store64(uint8_t* p, __m512i v) { _mm512_storeu_si512(p, v); }
float half_at(const uint8_t* p) { return _cvtsh_ss(u16_at(p)); }
float scale_at(const uint8_t* p, ScaleType type) { return type == ScaleType::f16 ? half_at(p) : float_at(p, type); }
__m512i low_bits(__m512i v, int mask) { return _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(mask))); }

// The same 32 bytes in both halves.
__m512i twice(const uint8_t* p) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// (v >> shift) & mask in every byte, with a shift for each half.
__m512i fields(__m512i v, int low_shift, int high_shift, int mask) {
  const __m512i by = _mm512_inserti64x4(_mm512_set1_epi16(static_cast<short>(low_shift)),
                                        _mm256_set1_epi16(static_cast<short>(high_shift)), 1);
  return low_bits(_mm512_srlv_epi16(v, by), mask);
}

// Two times 16 bytes to 64 nibbles; of each 16 bytes the low nibbles first.
__m512i nibbles(__m128i first, __m128i second) {
  const __m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_broadcastsi128_si256(first)),
                                       _mm256_broadcastsi128_si256(second), 1);
  const __m512i by = _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0);
  return low_bits(_mm512_srlv_epi64(v, by), 15);
}
__m512i nibbles(const uint8_t* first, const uint8_t* second) {
  return nibbles(_mm_loadu_si128(reinterpret_cast<const __m128i*>(first)), _mm_loadu_si128(reinterpret_cast<const __m128i*>(second)));
}

__m512i codes_of(const int8_t* level, int offset) {
  const __m128i levels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(level));
  return _mm512_broadcast_i32x4(_mm_add_epi8(levels, _mm_set1_epi8(static_cast<char>(offset))));
}

// Eight or sixteen small numbers times a factor.
__m256 unsigned8(uint64_t bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(bytes))));
}
void put(float factor, __m256 v, float* to) { _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_set1_ps(factor), v)); }
void put(float factor, __m512 v, float* to) { _mm512_storeu_ps(to, _mm512_mul_ps(_mm512_set1_ps(factor), v)); }
void put_negated(float factor, __m256 v, float* to) {
  _mm256_storeu_ps(to, _mm256_xor_ps(_mm256_mul_ps(_mm256_set1_ps(factor), v), _mm256_set1_ps(-0.0f)));
}
void put_negated(float factor, __m512 v, float* to) {
  _mm512_storeu_ps(to, _mm512_xor_ps(_mm512_mul_ps(_mm512_set1_ps(factor), v), _mm512_set1_ps(-0.0f)));
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

}  // namespace

void q4_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols >= 64; cols -= 64, block += 36, code += 64, scale += 2) {
    scale[0] = half_at(block);
    scale[1] = half_at(block + 18);
    store64(code, nibbles(block + 2, block + 20));
  }
  reference::q4_0(nullptr, block, cols, code, scale, min);
}

void q4_1(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols >= 64; cols -= 64, block += 40, code += 64, scale += 2, min += 2) {
    scale[0] = half_at(block);
    scale[1] = half_at(block + 20);
    min[0] = half_at(block + 2);
    min[1] = half_at(block + 22);
    store64(code, nibbles(block + 4, block + 24));
  }
  reference::q4_1(nullptr, block, cols, code, scale, min);
}

void q5_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols >= 64; cols -= 64, block += 44, code += 64, scale += 2) {
    scale[0] = half_at(block);
    scale[1] = half_at(block + 22);
    const __mmask64 high = u32_at(block + 2) | static_cast<uint64_t>(u32_at(block + 24)) << 32;
    const __m512i low = nibbles(block + 6, block + 28);
    store64(code, _mm512_mask_add_epi8(low, high, low, _mm512_set1_epi8(16)));
  }
  reference::q5_0(nullptr, block, cols, code, scale, min);
}

void q5_1(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols >= 64; cols -= 64, block += 48, code += 64, scale += 2, min += 2) {
    scale[0] = half_at(block);
    scale[1] = half_at(block + 24);
    min[0] = half_at(block + 2);
    min[1] = half_at(block + 26);
    const __mmask64 high = u32_at(block + 4) | static_cast<uint64_t>(u32_at(block + 28)) << 32;
    const __m512i low = nibbles(block + 8, block + 32);
    store64(code, _mm512_mask_add_epi8(low, high, low, _mm512_set1_epi8(16)));
  }
  reference::q5_1(nullptr, block, cols, code, scale, min);
}

void q8_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 32, block += 34, code += 32) {
    *scale++ = half_at(block);
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 2));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(code), _mm256_xor_si256(v, _mm256_set1_epi8(-128)));
  }
}

void q2_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 256, block += 84, code += 256, scale += 16, min += 16) {
    const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block)), low = _mm_set1_epi8(15);
    put(half_at(block + 80), _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(both, low))), scale);
    put_negated(half_at(block + 82), _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(both, 4), low))), min);
    for (int half = 0; half < 2; ++half) {
      const __m512i v = twice(block + 16 + 32 * half);
      store64(code + 128 * half, fields(v, 0, 2, 3));
      store64(code + 128 * half + 64, fields(v, 4, 6, 3));
    }
  }
}

void q3_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 110, code += 256, scale += 16) {
    uint64_t first, second;
    q3_k_scales(block + 96, first, second);
    const __m128i less = _mm_sub_epi8(_mm_set_epi64x(static_cast<int64_t>(second), static_cast<int64_t>(first)), _mm_set1_epi8(32));
    put(half_at(block + 108), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(less)), scale);
    const __m512i high = twice(block);
    for (int j = 0; j < 8; j += 2) {
      const __m512i low = fields(twice(block + 32 + 32 * (j / 4)), 2 * (j % 4), 2 * (j % 4) + 2, 3);
      store64(code + 32 * j, _mm512_or_si512(low, _mm512_slli_epi16(fields(high, j, j + 1, 1), 2)));
    }
  }
}

void q4_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 256, block += 144, code += 256, scale += 8, min += 8) {
    uint64_t scales, minima;
    k_scales(block + 4, scales, minima);
    put(half_at(block), unsigned8(scales), scale);
    put_negated(half_at(block + 2), unsigned8(minima), min);
    for (int c = 0; c < 4; ++c) store64(code + 64 * c, fields(twice(block + 16 + 32 * c), 0, 4, 15));
  }
}

void q5_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 256, block += 176, code += 256, scale += 8, min += 8) {
    uint64_t scales, minima;
    k_scales(block + 4, scales, minima);
    put(half_at(block), unsigned8(scales), scale);
    put_negated(half_at(block + 2), unsigned8(minima), min);
    const __m512i high = twice(block + 16);
    for (int c = 0; c < 4; ++c) {
      const __m512i low = fields(twice(block + 48 + 32 * c), 0, 4, 15);
      store64(code + 64 * c, _mm512_or_si512(low, _mm512_slli_epi16(fields(high, 2 * c, 2 * c + 1, 1), 4)));
    }
  }
}

void q6_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 210, code += 256, scale += 16) {
    const __m128i scales = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 192));
    put(half_at(block + 208), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(scales)), scale);
    for (int half = 0; half < 2; ++half) {
      const __m512i low = load64(block + 64 * half), high = twice(block + 128 + 32 * half);
      store64(code + 128 * half, _mm512_or_si512(low_bits(low, 15), _mm512_slli_epi16(fields(high, 0, 2, 3), 4)));
      store64(code + 128 * half + 64,
              _mm512_or_si512(low_bits(_mm512_srli_epi16(low, 4), 15), _mm512_slli_epi16(fields(high, 4, 6, 3), 4)));
    }
  }
}

void iq4_nl(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  const __m512i table = codes_of(kNonLinear, kNonLinearOffset);
  for (; cols >= 64; cols -= 64, block += 36, code += 64, scale += 2) {
    scale[0] = half_at(block);
    scale[1] = half_at(block + 18);
    store64(code, _mm512_shuffle_epi8(table, nibbles(block + 2, block + 20)));
  }
  reference::iq4_nl(nullptr, block, cols, code, scale, min);
}

void iq4_xs(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  const __m512i table = codes_of(kNonLinear, kNonLinearOffset);
  const __m256i by_low = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28), by_high = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
  for (; cols > 0; cols -= 256, block += 136, code += 256, scale += 8) {
    const __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(u32_at(block + 4))), by_low);
    const __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(u16_at(block + 2)), by_high);
    const __m256i six = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                                        _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4));
    put(half_at(block), _mm256_cvtepi32_ps(_mm256_sub_epi32(six, _mm256_set1_epi32(32))), scale);
    for (int s = 0; s < 4; ++s) {
      const uint8_t* pair = block + 8 + 32 * s;
      store64(code + 64 * s, _mm512_shuffle_epi8(table, nibbles(pair, pair + 16)));
    }
  }
}

void mxfp4(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  const __m512i table = codes_of(kE2m1Doubled, kE2m1Offset);
  for (; cols >= 64; cols -= 64, block += 34, code += 64, scale += 2) {
    scale[0] = e8m0_half(block[0]);
    scale[1] = e8m0_half(block[17]);
    store64(code, _mm512_shuffle_epi8(table, nibbles(block + 1, block + 18)));
  }
  reference::mxfp4(nullptr, block, cols, code, scale, min);
}

void nvfp4(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  const __m512i table = codes_of(kE2m1Doubled, kE2m1Offset);
  const __m512i each = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0), by = _mm512_set_epi64(4, 0, 4, 0, 4, 0, 4, 0);
  for (; cols > 0; cols -= 64, block += 36, code += 64, scale += 4) {
    put_ue4m3(u32_at(block), scale);
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 4));
    const __m512i q = low_bits(_mm512_srlv_epi64(_mm512_permutexvar_epi64(each, _mm512_castsi256_si512(v)), by), 15);
    store64(code, _mm512_shuffle_epi8(table, q));
  }
}

void tq2_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 66, code += 256) {
    *scale++ = half_at(block + 64);
    for (int half = 0; half < 2; ++half) {
      const __m512i v = twice(block + 32 * half);
      store64(code + 128 * half, fields(v, 0, 2, 3));
      store64(code + 128 * half + 64, fields(v, 4, 6, 3));
    }
  }
}

void grid(const void* context, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  const GridRow& g = *static_cast<const GridRow*>(context);
  const int bits = g.bits, number = g.scale == ScaleType::f32 ? 4 : 2, header = g.has_min ? 2 * number : number;
  const int64_t whole = grid_block(g, cols), part = grid_part(whole);

  // Eight bytes for each eight indices, then each byte the eight bits from where its index begins.
  alignas(64) uint8_t from[64];
  for (int i = 0; i < 64; ++i) from[i] = static_cast<uint8_t>(bits * (i / 8) + i % 8);
  const __m512i spread = _mm512_load_si512(from);
  const __m512i begin = _mm512_set1_epi64(static_cast<int64_t>(bits * 0x0706050403020100ull));
  const __m512i mask = _mm512_set1_epi8(static_cast<char>((1 << bits) - 1));
  const __m512i table[4] = {load64(g.code), load64(g.code + 64), load64(g.code + 128), load64(g.code + 192)};

  const uint8_t* end = block + (cols + whole - 1) / whole * (header + whole * bits / 8);
  for (int64_t n; cols > 0; cols -= n, code += n) {
    n = whole < cols ? whole : cols;
    const float s = scale_at(block, g.scale), m = g.has_min ? scale_at(block + number, g.scale) : 0;
    for (int64_t first = 0; first < n; first += part) {
      *scale++ = s;
      if (g.has_min) *min++ = m;
    }
    const uint8_t* at = block + header;
    for (int64_t i = 0; i < n; i += 64, at += 8 * bits) {
      const int64_t count = n - i < 64 ? n - i : 64, bytes = (count * bits + 7) / 8;
      const __m512i packed = end - at >= 64 ? load64(at) : _mm512_maskz_loadu_epi8(~0ull >> (64 - bytes), at);
      const __m512i index = _mm512_and_si512(_mm512_multishift_epi64_epi8(begin, _mm512_permutexvar_epi8(spread, packed)), mask);
      __m512i found;
      if (bits <= 6) {
        found = _mm512_permutexvar_epi8(index, table[0]);
      } else {
        found = _mm512_permutex2var_epi8(table[0], index, table[1]);
        if (bits == 8)
          found = _mm512_mask_mov_epi8(found, _mm512_movepi8_mask(index), _mm512_permutex2var_epi8(table[2], index, table[3]));
      }
      if (count == 64) store64(code + i, found);  // masked stores are slow on Zen 4
      else _mm512_mask_storeu_epi8(code + i, ~0ull >> (64 - count), found);
    }
    block += header + whole * bits / 8;
  }
}

}  // namespace gemloupe::avx512
