#if defined(__AVX512VBMI2__)

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of its own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include "kernels/matmul/tiles.h"

// Sixteen rows of the commonest types, read where they lie: the packed bytes are transposed, and unpacked afterwards, lane
// by lane. The formulas are those of kernels/codes; codes, scales and minima have the same bits.
namespace gemloupe::matmul {
namespace {

constexpr int kRows = 16;

struct Four {
  __m512i v[4];
};

// Dword d of the 16 bytes that each row has at p, row r in lane r.
[[gnu::always_inline]] inline Four sixteen_bytes(const uint8_t* p, int64_t stride) {
  __m512i a[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const auto at = [&](int r) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + r * stride)); };
    a[k] = _mm512_castsi128_si512(at(k));
    a[k] = _mm512_mask_broadcast_i32x4(a[k], 0x00f0, at(4 + k));
    a[k] = _mm512_mask_broadcast_i32x4(a[k], 0x0f00, at(8 + k));
    a[k] = _mm512_mask_broadcast_i32x4(a[k], 0xf000, at(12 + k));
  }
  const __m512i p0 = _mm512_unpacklo_epi32(a[0], a[1]), p1 = _mm512_unpackhi_epi32(a[0], a[1]);
  const __m512i q0 = _mm512_unpacklo_epi32(a[2], a[3]), q1 = _mm512_unpackhi_epi32(a[2], a[3]);
  return {{_mm512_unpacklo_epi64(p0, q0), _mm512_unpackhi_epi64(p0, q0), _mm512_unpacklo_epi64(p1, q1),
           _mm512_unpackhi_epi64(p1, q1)}};
}

// The half at p of every row.
[[gnu::always_inline]] inline __m512 halves(const uint8_t* p, int64_t stride) {
  const auto at = [&](int r) {
    int16_t half;
    __builtin_memcpy(&half, p + r * stride, 2);
    return half;
  };
  const __m128i low = _mm_setr_epi16(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7));
  const __m128i high = _mm_setr_epi16(at(8), at(9), at(10), at(11), at(12), at(13), at(14), at(15));
  return _mm512_cvtph_ps(_mm256_set_m128i(high, low));
}
// The half in the lower part of every lane.
[[gnu::always_inline]] inline __m512 halves(__m512i v) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); }

[[gnu::always_inline]] inline __m512i low(__m512i v, int mask) {
  return _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(mask)));
}

// The next sixteen rows are wanted next: kBytes more of them at every step, since a burst of prefetches stalls. Into the
// second cache; into the first halves the speed of Q4_K (Zen 4).
template <int kBytes>
[[gnu::always_inline]] inline void ask(const uint8_t* next, int step) {
#pragma GCC unroll 16
  for (int i = 0; i < kBytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(next + step * kBytes + i), _MM_HINT_T1);
}

// The next block of one row, from the second cache into the first: half as fast again for Q6_K, whose blocks are read all
// over.
template <int kBytes>
[[gnu::always_inline]] inline void fetch(const uint8_t* block) {
#pragma GCC unroll 16
  for (int i = 0; i < kBytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(block + kBytes + i), _MM_HINT_T0);
}

// Where a block's codes go: into a tile ...
struct Store {
  uint8_t* codes;
  float *scales, *minima;
  [[gnu::always_inline]] void open(int) {}
  [[gnu::always_inline]] void code(int quad, int, __m512i v) { _mm512_store_si512(codes + 64 * quad, v); }
  [[gnu::always_inline]] void merge(int) {}
  [[gnu::always_inline]] void close(int group, __m512 scale) { _mm512_store_ps(scales + kRows * group, scale); }
  [[gnu::always_inline]] void close(int group, __m512 scale, __m512 min) {
    close(group, scale);
    _mm512_store_ps(minima + kRows * group, min);
  }
};

// ... or times one activation row at once. Groups are closed in ascending order.
struct Dot {
  const uint8_t* planes;
  const int32_t* correction;
  const float* sums;
  __m512 acc;
  __m512i hi[16], lo[16];
  [[gnu::always_inline]] static __m512i quad_of(const uint8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
  }
  [[gnu::always_inline]] void open(int group) {
    hi[group] = _mm512_setzero_si512();
    lo[group] = _mm512_set1_epi32(correction[group]);
  }
  [[gnu::always_inline]] void code(int quad, int group, __m512i v) {
    hi[group] = _mm512_dpbusd_epi32(hi[group], v, quad_of(planes + 8 * quad));
    lo[group] = _mm512_dpbusd_epi32(lo[group], v, quad_of(planes + 8 * quad + 4));
  }
  [[gnu::always_inline]] void merge(int group) { lo[group] = _mm512_add_epi32(_mm512_slli_epi32(hi[group], 8), lo[group]); }
  [[gnu::always_inline]] void close(int group, __m512 scale) {
    acc = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(lo[group]), acc);
  }
  [[gnu::always_inline]] void close(int group, __m512 scale, __m512 min) {
    close(group, scale);
    acc = _mm512_fmadd_ps(min, _mm512_set1_ps(sums[group]), acc);
  }
};

struct Q4_0 {
  static constexpr int kBlock = 32, kBytes = 18, kGroup = 32;
  template <class Sink>
  [[gnu::always_inline]] static void block(const uint8_t* p, int64_t stride, const uint8_t* next, Sink& to) {
    ask<kRows * kBytes>(next, 0);
    const Four q = sixteen_bytes(p + 2, stride);
    to.open(0);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      to.code(k, 0, low(q.v[k], 15));
      to.code(4 + k, 0, low(_mm512_srli_epi32(q.v[k], 4), 15));
    }
    to.merge(0);
    to.close(0, halves(p, stride));
  }
};

struct Q5_0 {
  static constexpr int kBlock = 32, kBytes = 22, kGroup = 32;
  template <class Sink>
  [[gnu::always_inline]] static void block(const uint8_t* p, int64_t stride, const uint8_t* next, Sink& to) {
    ask<kRows * kBytes>(next, 0);
    const Four q = sixteen_bytes(p + 6, stride), head = sixteen_bytes(p, stride);
    const __m512i high = _mm512_shrdi_epi32(head.v[0], head.v[1], 16);
    // Byte j of a lane takes eight bits of its own dword so that bit 4 k + j lies at 4; in the upper dword of a pair it is
    // 32 further.
    const __m512i first = _mm512_set1_epi64(0x1f1e1d1c3f3e3d3c), step = _mm512_set1_epi8(4), bit = _mm512_set1_epi8(16);
    to.open(0);
    __m512i shift = first, upper[8];
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      upper[k] = _mm512_and_si512(_mm512_multishift_epi64_epi8(shift, high), bit);
      shift = _mm512_add_epi8(shift, step);
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      to.code(k, 0, _mm512_or_si512(low(q.v[k], 15), upper[k]));
      to.code(4 + k, 0, _mm512_or_si512(low(_mm512_srli_epi32(q.v[k], 4), 15), upper[4 + k]));
    }
    to.merge(0);
    to.close(0, halves(head.v[0]));
  }
};

struct Q8_0 {
  static constexpr int kBlock = 32, kBytes = 34, kGroup = 32;
  template <class Sink>
  [[gnu::always_inline]] static void block(const uint8_t* p, int64_t stride, const uint8_t* next, Sink& to) {
    const __m512i offset = _mm512_set1_epi8(-128);
    to.open(0);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      ask<kRows * kBytes / 2>(next, h);
      const Four q = sixteen_bytes(p + 2 + 16 * h, stride);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) to.code(4 * h + k, 0, _mm512_xor_si512(q.v[k], offset));
    }
    to.merge(0);
    to.close(0, halves(p, stride));
  }
};

struct Q4_K {
  static constexpr int kBlock = 256, kBytes = 144, kGroup = 32;
  template <class Sink>
  [[gnu::always_inline]] static void block(const uint8_t* p, int64_t stride, const uint8_t* next, Sink& to) {
    const Four head = sixteen_bytes(p, stride);
    const __m512 d = halves(head.v[0]);
    const __m512 minus_dmin = _mm512_xor_ps(halves(_mm512_srli_epi32(head.v[0], 16)), _mm512_set1_ps(-0.0f));
    const __m512i a = head.v[1], b = head.v[2], c = head.v[3];
    const __m512i scales[2] = {low(a, 0x3f), _mm512_or_si512(low(c, 0x0f), low(_mm512_srli_epi32(a, 2), 0x30))};
    const __m512i minima[2] = {low(b, 0x3f),
                               _mm512_or_si512(low(_mm512_srli_epi32(c, 4), 0x0f), low(_mm512_srli_epi32(b, 2), 0x30))};
    const __m512i byte = _mm512_set1_epi32(255);
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) {
      const int g = 2 * n;
      to.open(g), to.open(g + 1);
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        ask<kRows * kBytes / 8>(next, 2 * n + h);
        fetch<kBytes>(p + (4 * n + 2 * h) * stride);
        fetch<kBytes>(p + (4 * n + 2 * h + 1) * stride);
        const Four q = sixteen_bytes(p + 16 + 32 * n + 16 * h, stride);
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
          to.code(16 * n + 4 * h + k, g, low(q.v[k], 15));
          to.code(16 * n + 8 + 4 * h + k, g + 1, low(_mm512_srli_epi32(q.v[k], 4), 15));
        }
      }
#pragma GCC unroll 2
      for (int i = g; i < g + 2; ++i) {
        const __m512i s = _mm512_and_si512(_mm512_srli_epi32(scales[i / 4], 8 * (i % 4)), byte);
        const __m512i m = _mm512_and_si512(_mm512_srli_epi32(minima[i / 4], 8 * (i % 4)), byte);
        to.merge(i);
        to.close(i, _mm512_mul_ps(d, _mm512_cvtepi32_ps(s)), _mm512_mul_ps(minus_dmin, _mm512_cvtepi32_ps(m)));
      }
    }
  }
};

struct Q6_K {
  static constexpr int kBlock = 256, kBytes = 210, kGroup = 16;
  template <class Sink>
  [[gnu::always_inline]] static void block(const uint8_t* p, int64_t stride, const uint8_t* next, Sink& to) {
    const Four scales = sixteen_bytes(p + 192, stride);
    const __m512 d = halves(p + 208, stride);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
#pragma GCC unroll 2
      for (int n = 0; n < 2; ++n) {
        const Four a = sixteen_bytes(p + 64 * h + 16 * n, stride), b = sixteen_bytes(p + 64 * h + 32 + 16 * n, stride);
        const Four high = sixteen_bytes(p + 128 + 32 * h + 16 * n, stride);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          ask<kRows * kBytes / 16>(next, 8 * h + 4 * n + j);
          fetch<kBytes>(p + (8 * h + 4 * n + j) * stride);
          const int g = 8 * h + 2 * j + n;
          to.open(g);
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k) {
            const __m512i from = j % 2 ? b.v[k] : a.v[k];
            const __m512i nibble = low(j < 2 ? from : _mm512_srli_epi32(from, 4), 15);
            const __m512i two = j < 2 ? _mm512_slli_epi32(high.v[k], 4 - 2 * j) : _mm512_srli_epi32(high.v[k], 2 * j - 4);
            to.code(4 * g + k, g, _mm512_or_si512(nibble, low(two, 0x30)));
          }
          to.merge(g);
        }
      }
#pragma GCC unroll 8
      for (int g = 8 * h; g < 8 * h + 8; ++g) {
        const __m512i s = _mm512_srai_epi32(_mm512_slli_epi32(scales.v[g / 4], 24 - 8 * (g % 4)), 24);
        to.close(g, _mm512_mul_ps(d, _mm512_cvtepi32_ps(s)));
      }
    }
  }
};

template <class Type>
void fill(const uint8_t* rows, int64_t row_bytes, int64_t blocks, const uint8_t* next, uint8_t* codes, float* scale,
          float* min) {
  Store to{codes, scale, min};
  for (int64_t b = 0; b < blocks; ++b) {
    Type::block(rows + b * Type::kBytes, row_bytes, next + kRows * b * Type::kBytes, to);
    to.codes += kRows * Type::kBlock;
    to.scales += kRows * (Type::kBlock / Type::kGroup), to.minima += kRows * (Type::kBlock / Type::kGroup);
  }
}

template <class Type>
void dot(const uint8_t* rows, int64_t row_bytes, int64_t blocks, const Product& p) {
  const uint8_t* next = rows + kRows * row_bytes;
  Dot to;
  to.planes = p.planes, to.correction = p.correction, to.sums = p.sums, to.acc = _mm512_setzero_ps();
  for (int64_t b = 0; b < blocks; ++b) {
    Type::block(rows + b * Type::kBytes, row_bytes, next + kRows * b * Type::kBytes, to);
    to.planes += 2 * Type::kBlock;
    to.correction += Type::kBlock / Type::kGroup, to.sums += Type::kBlock / Type::kGroup;
  }
  _mm512_storeu_ps(p.y[0] + p.y_first, _mm512_mul_ps(to.acc, _mm512_set1_ps(p.row_scale[0])));
}

}  // namespace

const Direct avx512_direct[kKnown] = {{nullptr, nullptr},          {fill<Q4_0>, dot<Q4_0>}, {fill<Q5_0>, dot<Q5_0>},
                                      {fill<Q8_0>, dot<Q8_0>}, {fill<Q4_K>, dot<Q4_K>}, {fill<Q6_K>, dot<Q6_K>}};

}  // namespace gemloupe::matmul

#endif
