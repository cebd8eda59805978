#if defined(__AVX512VNNI__)

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of its own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include "kernels/common/half.h"
#include "kernels/matmul/tiles.h"

// Planes: for every four columns the four high bytes, then the four low bytes, so both are dwords to broadcast.
namespace gemloupe::matmul {
namespace {

constexpr int kRows = 16;  // weight rows a tile, a lane each

[[gnu::always_inline]] inline __mmask16 tail(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }

}  // namespace

float avx512_quantize(const float* x, int64_t cols, int64_t padded, int group, uint8_t* planes, int32_t* sums) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i largest = _mm512_setzero_si512();  // floats without a sign order as integers do, NaN above infinity
  for (int64_t i = 0; i < cols; i += 16) {
    const __mmask16 mask = cols - i < 16 ? tail(cols - i) : 0xffff;
    largest = _mm512_max_epi32(largest, _mm512_and_si512(magnitude, _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, x + i))));
  }
  const uint32_t m_bits = static_cast<uint32_t>(_mm512_reduce_max_epi32(largest));
  const float m = bits_to_float(m_bits);
  const bool finite = m_bits < 0x7f800000;
  const bool zero = !finite || m < 0x1p-100f;
  const __m512 factor = _mm512_set1_ps(zero ? 0.0f : 32639.0f / m);
  const __m512i high = _mm512_set1_epi32(32639), low = _mm512_set1_epi32(-32639), half = _mm512_set1_epi32(128);
  __m512i sum = _mm512_setzero_si512();
  int64_t begin = 0, end = group < kRun ? group : kRun, group_end = group;  // of the run
  for (int64_t i = 0; i < padded; i += 16) {
    __m512i q = _mm512_setzero_si512();
    if (i < cols && !zero) {
      const __mmask16 mask = cols - i < 16 ? tail(cols - i) : 0xffff;
      q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), factor));
      q = _mm512_max_epi32(low, _mm512_min_epi32(high, q));
    }
    const __m128i hi = _mm512_cvtepi32_epi8(_mm512_srai_epi32(_mm512_add_epi32(q, half), 8)), lo = _mm512_cvtepi32_epi8(q);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(planes + 2 * i), _mm_unpacklo_epi32(hi, lo));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(planes + 2 * i + 16), _mm_unpackhi_epi32(hi, lo));
    sum = _mm512_add_epi32(sum, q);
    if (i + 16 == end) {
      if (begin < cols) *sums++ = _mm512_reduce_add_epi32(sum);
      sum = _mm512_setzero_si512();
      if (end == group_end) group_end += group;
      begin = end;
      end = group_end - begin < kRun ? group_end : begin + kRun;
    }
  }
  return !finite ? bits_to_float(0x7fc00000) : zero ? 0.0f : m / 32639.0f;
}

namespace {

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
  // a[4 i + j] holds column 4 c + j of rows 4 i .. 4 i + 3 in its quarter c.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i p = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x88), q = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xdd);
    const __m512i r = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x88), s = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xdd);
    v[j] = _mm512_shuffle_i32x4(p, r, 0x88), v[8 + j] = _mm512_shuffle_i32x4(p, r, 0xdd);
    v[4 + j] = _mm512_shuffle_i32x4(q, s, 0x88), v[12 + j] = _mm512_shuffle_i32x4(q, s, 0xdd);
  }
}

[[gnu::always_inline]] inline void transpose(const void* from, int64_t stride_bytes, void* to) {
  __m512i v[16];
#pragma GCC unroll 16
  for (int l = 0; l < 16; ++l) v[l] = _mm512_loadu_si512(static_cast<const char*>(from) + l * stride_bytes);
  transpose(v);
#pragma GCC unroll 16
  for (int l = 0; l < 16; ++l) _mm512_store_si512(static_cast<char*>(to) + 64 * l, v[l]);
}

void interleave(const uint8_t* staged, int64_t stride, int64_t cols, uint8_t* codes) {
  for (int64_t c = 0; c < cols; c += 64) transpose(staged + c, stride, codes + kRows * c);
}

void turn(const float* staged, int64_t stride, int64_t groups, float* turned) {
  for (int64_t g = 0; g < groups; g += 16) transpose(staged + g, 4 * stride, turned + kRows * g);
}

[[gnu::always_inline]] inline __m512i quad(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

// kCount activation rows from row t on. kGroup 0: the group is p.group.
template <int kCount, int kGroup, bool kMin>
[[gnu::always_inline]] inline void rows(const Product& p, int64_t t) {
  const __mmask16 used = tail(p.used);
  const int group = kGroup ? kGroup : p.group;
  const uint8_t* codes = p.codes;
  const uint8_t* planes = p.planes + t * p.plane_stride;
  const int32_t* correction = p.correction + t * p.run_stride;
  const float* sums = p.sums + t * p.run_stride;
  __m512 acc[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i)
    acc[i] = p.first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(used, p.y[t + i] + p.y_first);
  int64_t run = 0;
  for (int64_t begin = 0; begin < p.cols; ++run) {
    // A run is a group, or 256 columns of a long one.
    const int64_t g = begin / group, left = (g + 1) * group - begin;
    const int length = kGroup ? kGroup : static_cast<int>(left < kRun ? left : kRun);
    begin += length;
    __m512i hi[kCount], lo[kCount];
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      hi[i] = _mm512_setzero_si512();
      lo[i] = _mm512_set1_epi32(correction[i * p.run_stride + run]);
    }
#pragma GCC unroll 8
    for (int k = 0; k < length; k += 4) {
      const __m512i code = _mm512_load_si512(codes);
      codes += 64;
#pragma GCC unroll 8
      for (int i = 0; i < kCount; ++i) {
        hi[i] = _mm512_dpbusd_epi32(hi[i], code, quad(planes + i * p.plane_stride + 2 * k));
        lo[i] = _mm512_dpbusd_epi32(lo[i], code, quad(planes + i * p.plane_stride + 2 * k + 4));
      }
    }
    planes += 2 * length;
    const __m512 scale = _mm512_load_ps(p.scale + kRows * g);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(hi[i], 8), lo[i]);
      acc[i] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum), acc[i]);
      if (kMin)
        acc[i] = _mm512_fmadd_ps(_mm512_load_ps(p.min + kRows * g), _mm512_set1_ps(sums[i * p.run_stride + run]), acc[i]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    if (p.last) acc[i] = _mm512_mul_ps(acc[i], _mm512_set1_ps(p.row_scale[t + i]));
    _mm512_mask_storeu_ps(p.y[t + i] + p.y_first, used, acc[i]);
  }
}

template <int kGroup, bool kMin>
void all_rows(const Product& p) {
  int64_t t = 0;
  for (; t + 8 <= p.rows; t += 8) rows<8, kGroup, kMin>(p, t);
  if (t + 4 <= p.rows) rows<4, kGroup, kMin>(p, t), t += 4;
  if (t + 2 <= p.rows) rows<2, kGroup, kMin>(p, t), t += 2;
  if (t < p.rows) rows<1, kGroup, kMin>(p, t);
}

void multiply(const Product& p) {
  if (p.has_min) return p.group == 32 ? all_rows<32, true>(p) : p.group == 16 ? all_rows<16, true>(p) : all_rows<0, true>(p);
  p.group == 32 ? all_rows<32, false>(p) : p.group == 16 ? all_rows<16, false>(p) : all_rows<0, false>(p);
}

}  // namespace

const Steps avx512_steps = {kRows, avx512_quantize, interleave, turn, multiply, avx512_direct};

}  // namespace gemloupe::matmul

#endif
