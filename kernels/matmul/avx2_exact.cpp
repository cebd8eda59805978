#if defined(__AVX2__)

#include <immintrin.h>

#include "kernels/common/half.h"
#include "kernels/matmul/tiles.h"

// Planes: for every four columns the 16-bit integers q0 q2 q1 q3, since the even and the odd bytes of four codes become
// pairs of 16-bit integers by a mask and a shift. vpmaddwd is exact; vpmaddubsw would saturate.
namespace gemloupe::matmul {
namespace {

constexpr int kRows = 8;  // weight rows a tile, a lane each

// Eight floats from column i on, zeros from cols on.
[[gnu::always_inline]] inline __m256 eight(const float* x, int64_t i, int64_t cols) {
  if (cols - i >= 8) return _mm256_loadu_ps(x + i);
  float part[8] = {};
  for (int64_t j = i; j < cols; ++j) part[j - i] = x[j];
  return _mm256_loadu_ps(part);
}

[[gnu::always_inline]] inline int32_t total(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

}  // namespace

float avx2_quantize(const float* x, int64_t cols, int64_t padded, int group, uint8_t* planes, int32_t* sums) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i largest = _mm256_setzero_si256();  // floats without a sign order as integers do, NaN above infinity
  for (int64_t i = 0; i < cols; i += 8)
    largest = _mm256_max_epi32(largest, _mm256_and_si256(magnitude, _mm256_castps_si256(eight(x, i, cols))));
  uint32_t each[8], m_bits = 0;
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(each), largest);
  for (const uint32_t e : each) m_bits = e > m_bits ? e : m_bits;
  const float m = bits_to_float(m_bits);
  const bool finite = m_bits < 0x7f800000;
  const bool zero = !finite || m < 0x1p-100f;
  const __m256 factor = _mm256_set1_ps(zero ? 0.0f : 32639.0f / m);
  const __m256i high = _mm256_set1_epi32(32639), low = _mm256_set1_epi32(-32639);
  const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  __m256i sum = _mm256_setzero_si256();
  int64_t begin = 0, end = group < kRun ? group : kRun, group_end = group;  // of the run
  for (int64_t i = 0; i < padded; i += 8) {
    __m256i q = _mm256_setzero_si256();
    if (i < cols && !zero) {
      q = _mm256_cvtps_epi32(_mm256_mul_ps(eight(x, i, cols), factor));
      q = _mm256_max_epi32(low, _mm256_min_epi32(high, q));
    }
    const __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(planes + 2 * i), _mm_shuffle_epi8(packed, order));
    sum = _mm256_add_epi32(sum, q);
    if (i + 8 == end) {
      if (begin < cols) *sums++ = total(sum);
      sum = _mm256_setzero_si256();
      if (end == group_end) group_end += group;
      begin = end;
      end = group_end - begin < kRun ? group_end : begin + kRun;
    }
  }
  return !finite ? bits_to_float(0x7fc00000) : zero ? 0.0f : m / 32639.0f;
}

namespace {

// Eight rows of eight dwords become columns.
[[gnu::always_inline]] inline void transpose(const void* from, int64_t stride_bytes, void* to) {
  __m256i v[8], a[8];
#pragma GCC unroll 8
  for (int l = 0; l < 8; ++l)
    v[l] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(static_cast<const char*>(from) + l * stride_bytes));
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    const __m256i p = _mm256_unpacklo_epi32(v[i], v[i + 1]), q = _mm256_unpackhi_epi32(v[i], v[i + 1]);
    const __m256i r = _mm256_unpacklo_epi32(v[i + 2], v[i + 3]), s = _mm256_unpackhi_epi32(v[i + 2], v[i + 3]);
    a[i] = _mm256_unpacklo_epi64(p, r), a[i + 1] = _mm256_unpackhi_epi64(p, r);
    a[i + 2] = _mm256_unpacklo_epi64(q, s), a[i + 3] = _mm256_unpackhi_epi64(q, s);
  }
  __m256i* out = static_cast<__m256i*>(to);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    _mm256_store_si256(out + j, _mm256_permute2x128_si256(a[j], a[4 + j], 0x20));
    _mm256_store_si256(out + 4 + j, _mm256_permute2x128_si256(a[j], a[4 + j], 0x31));
  }
}

void interleave(const uint8_t* staged, int64_t stride, int64_t cols, uint8_t* codes) {
  for (int64_t c = 0; c < cols; c += 32) transpose(staged + c, stride, codes + kRows * c);
}

void turn(const float* staged, int64_t stride, int64_t groups, float* turned) {
  for (int64_t g = 0; g < groups; g += 8) transpose(staged + g, 4 * stride, turned + kRows * g);
}

[[gnu::always_inline]] inline __m256i pair(const uint8_t* p) {
  int32_t two;
  __builtin_memcpy(&two, p, 4);
  return _mm256_set1_epi32(two);
}

// kCount activation rows from row t on.
template <int kCount>
[[gnu::always_inline]] inline void rows(const Product& p, int64_t t) {
  const uint8_t* codes = p.codes;
  const uint8_t* planes = p.planes + t * p.plane_stride;
  const int32_t* correction = p.correction + t * p.run_stride;
  const float* sums = p.sums + t * p.run_stride;
  const __m256i even = _mm256_set1_epi32(0x00ff00ff);
  const __m256i used = _mm256_cmpgt_epi32(_mm256_set1_epi32(p.used), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  __m256 acc[kCount];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) acc[i] = p.first ? _mm256_setzero_ps() : _mm256_maskload_ps(p.y[t + i] + p.y_first, used);
  int64_t run = 0;
  for (int64_t begin = 0; begin < p.cols; ++run) {
    // A run is a group, or 256 columns of a long one.
    const int64_t g = begin / p.group, left = (g + 1) * p.group - begin;
    const int length = static_cast<int>(left < kRun ? left : kRun);
    begin += length;
    __m256i sum[kCount];
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) sum[i] = _mm256_set1_epi32(correction[i * p.run_stride + run]);
#pragma GCC unroll 4
    for (int k = 0; k < length; k += 4) {
      const __m256i code = _mm256_load_si256(reinterpret_cast<const __m256i*>(codes));
      const __m256i c02 = _mm256_and_si256(code, even), c13 = _mm256_srli_epi16(code, 8);
      codes += 32;
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i) {
        const uint8_t* q = planes + i * p.plane_stride + 2 * k;
        sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(c02, pair(q)));
        sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(c13, pair(q + 4)));
      }
    }
    planes += 2 * length;
    const __m256 scale = _mm256_load_ps(p.scale + kRows * g);
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      acc[i] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(sum[i]), acc[i]);
      if (p.has_min)
        acc[i] = _mm256_fmadd_ps(_mm256_load_ps(p.min + kRows * g), _mm256_set1_ps(sums[i * p.run_stride + run]), acc[i]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    if (p.last) acc[i] = _mm256_mul_ps(acc[i], _mm256_set1_ps(p.row_scale[t + i]));
    _mm256_maskstore_ps(p.y[t + i] + p.y_first, used, acc[i]);
  }
}

void multiply(const Product& p) {
  int64_t t = 0;
  for (; t + 4 <= p.rows; t += 4) rows<4>(p, t);
  for (; t < p.rows; ++t) rows<1>(p, t);
}

}  // namespace

const Steps avx2_steps = {kRows, avx2_quantize, interleave, turn, multiply, nullptr};

}  // namespace gemloupe::matmul

#endif
