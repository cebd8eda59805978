#if defined(__AVX2__)

#include <immintrin.h>

#include "kernels/strips/exact.h"

// A unit becomes two tiles of eight rows for the products of kernels/matmul.
namespace gemloupe::strips {
namespace {

constexpr int kRows = 8, kMostGroups = 16;

[[gnu::always_inline]] inline __m128i eight_bytes(const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }
[[gnu::always_inline]] inline __m128i eight_halves(const uint8_t* p) { return _mm_load_si128(reinterpret_cast<const __m128i*>(p)); }

[[gnu::always_inline]] inline __m256 f16_at(const uint8_t* p) { return _mm256_cvtph_ps(eight_halves(p)); }
[[gnu::always_inline]] inline __m256 bf16_at(const uint8_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight_halves(p)), 16));
}
[[gnu::always_inline]] inline __m256 f32_at(const uint8_t* p) { return _mm256_load_ps(reinterpret_cast<const float*>(p)); }
[[gnu::always_inline]] inline __m256 i8_at(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight_bytes(p))); }
[[gnu::always_inline]] inline __m256 u8_at(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight_bytes(p))); }

// 2^(e - 128): half of what E8M0 says, as the levels are doubled.
[[gnu::always_inline]] inline __m256 e8m0_at(const uint8_t* p) {
  const __m256i e = _mm256_cvtepu8_epi32(eight_bytes(p)), one = _mm256_set1_epi32(1);
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23), tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
  return _mm256_castsi256_ps(_mm256_blendv_epi8(tiny, normal, _mm256_cmpgt_epi32(e, one)));
}
// Half of an E4M3 number without a sign; 0x7f is no number and gives 0.
[[gnu::always_inline]] inline __m256 ue4m3_at(const uint8_t* p) {
  const __m256i byte = _mm256_cvtepu8_epi32(eight_bytes(p)), none = _mm256_set1_epi32(0x7f), e = _mm256_and_si256(byte, none);
  const __m256i normal = _mm256_add_epi32(_mm256_slli_epi32(e, 20), _mm256_set1_epi32((127 - 8) << 23));
  const __m256i tiny = _mm256_castps_si256(_mm256_mul_ps(_mm256_cvtepi32_ps(e), _mm256_set1_ps(0x1p-10f)));
  const __m256i value = _mm256_blendv_epi8(tiny, normal, _mm256_cmpgt_epi32(e, _mm256_set1_epi32(7)));
  return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpeq_epi32(byte, none), value));
}

template <int kBytes, class At>
[[gnu::always_inline]] inline void plain_scales(const uint8_t* p, int count, At at, float* to) {
  for (int g = 0; g < count; ++g) _mm256_store_ps(to + kRows * g, at(p + kStripRows * kBytes * g));
}
template <int kBytes, class At>
[[gnu::always_inline]] inline void plain_scales(const StripLayout& layout, const uint8_t* p, int groups, At at, float* scale, float* min) {
  plain_scales<kBytes>(p, groups, at, scale);
  if (layout.has_min) plain_scales<kBytes>(p + kBytes * kStripRows * (layout.unit / layout.group), groups, at, min);
}

// Scales and minima of the eight rows from row 8 * half on, [group][8].
void scales(const StripLayout& layout, const uint8_t* unit, int half, int groups, float* scale, float* min) {
  switch (layout.scale) {
    case StripScale::f16: return plain_scales<2>(layout, unit + 2 * kRows * half, groups, f16_at, scale, min);
    case StripScale::bf16: return plain_scales<2>(layout, unit + 2 * kRows * half, groups, bf16_at, scale, min);
    case StripScale::f32: return plain_scales<4>(layout, unit + 4 * kRows * half, groups, f32_at, scale, min);
    case StripScale::e8m0: return plain_scales<1>(unit + kRows * half, groups, e8m0_at, scale);
    case StripScale::ue4m3: return plain_scales<1>(unit + kRows * half, groups, ue4m3_at, scale);
    default: break;
  }
  const __m256 d = f16_at(unit + 2 * kRows * half);
  const uint8_t* s = unit + (layout.has_min ? 4 : 2) * kStripRows + kRows * half;
  if (!layout.has_min)
    return plain_scales<1>(s, groups, [&](const uint8_t* p) __attribute__((always_inline)) { return _mm256_mul_ps(d, i8_at(p)); }, scale);
  const __m256 minus_dmin = _mm256_xor_ps(f16_at(unit + 2 * kStripRows + 2 * kRows * half), _mm256_set1_ps(-0.0f));
  const uint8_t* m = s + kStripRows * (layout.unit / layout.group);
  for (int g = 0; g < groups; ++g, s += kStripRows, m += kStripRows) {
    __m256 of_scale, of_min;
    if (layout.scale == StripScale::super4) {
      const __m256i both = _mm256_cvtepu8_epi32(eight_bytes(s));
      of_scale = _mm256_cvtepi32_ps(_mm256_and_si256(both, _mm256_set1_epi32(15)));
      of_min = _mm256_cvtepi32_ps(_mm256_srli_epi32(both, 4));
    } else {
      of_scale = i8_at(s), of_min = u8_at(m);
    }
    _mm256_store_ps(scale + kRows * g, _mm256_mul_ps(d, of_scale));
    _mm256_store_ps(min + kRows * g, _mm256_mul_ps(minus_dmin, of_min));
  }
}

[[gnu::always_inline]] inline __m256i bits_of(const uint8_t* p, int from, int mask, int to) {
  __m256i v = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  v = from > to ? _mm256_srli_epi32(v, from - to) : _mm256_slli_epi32(v, to - from);
  return _mm256_and_si256(v, _mm256_set1_epi8(static_cast<char>(mask << to)));
}

// Codes of `blocks` times 32 columns of eight rows, [column / 4][8][4]. p: the first of these rows.
template <int kBits>
void codes(const StripLayout& layout, const uint8_t* p, int blocks, uint8_t* to) {
  constexpr int kFour = kBits & 4, kTwo = kBits & 2, kOne = kBits & 1;
  const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.code_of)));
  for (int b = 0; b < blocks; ++b, p += 64 * kBits)
#pragma GCC unroll 8
    for (int q = 0; q < 8; ++q, to += 32) {
      __m256i v = _mm256_setzero_si256();
      if (kBits == 8) v = _mm256_load_si256(reinterpret_cast<const __m256i*>(p + 64 * q));
      if (kFour) v = bits_of(p + 64 * (q / 2), q % 2 * 4, 15, 0);
      if (kTwo) v = _mm256_or_si256(v, bits_of(p + 64 * (kFour + q / 4), q % 4 * 2, 3, kFour));
      if (kOne) v = _mm256_or_si256(v, bits_of(p + 64 * (kFour + kTwo), q, 1, kFour + kTwo));
      if (kBits <= 4 && layout.table) v = _mm256_shuffle_epi8(table, v);
      _mm256_store_si256(reinterpret_cast<__m256i*>(to), v);
    }
}

void codes(const StripLayout& layout, const uint8_t* p, int blocks, uint8_t* to) {
  switch (layout.bits) {
    case 1: return codes<1>(layout, p, blocks, to);
    case 2: return codes<2>(layout, p, blocks, to);
    case 3: return codes<3>(layout, p, blocks, to);
    case 4: return codes<4>(layout, p, blocks, to);
    case 5: return codes<5>(layout, p, blocks, to);
    case 6: return codes<6>(layout, p, blocks, to);
    default: return codes<8>(layout, p, blocks, to);
  }
}

// Half of a strip's rows.
void multiply(const Lockstep& p, int s, int half) {
  alignas(32) uint8_t code[kRows * 256];
  alignas(32) float scale[kRows * kMostGroups], min[kRows * kMostGroups];
  const StripLayout& layout = p.layout;
  const int a_unit = layout.unit / layout.group;
  matmul::Product product;
  product.codes = code, product.scale = scale, product.min = min;
  product.group = layout.group, product.has_min = layout.has_min;
  product.used = p.used[s] < kRows * (half + 1) ? p.used[s] - kRows * half : kRows;
  product.rows = p.rows, product.plane_stride = p.plane_stride, product.run_stride = p.run_stride;
  product.row_scale = p.row_scale, product.y = p.y, product.y_first = p.y_first[s] + kRows * half;
  for (int64_t u = 0; u == 0 || u < p.units; ++u) {
    const int64_t left = p.groups - u * a_unit;
    const int groups = static_cast<int>(left < a_unit ? left : a_unit), cols = groups * layout.group;
    const uint8_t* unit = p.strip[s] + u * layout.unit_bytes;
    if (groups > 0) {
      const uint8_t* ahead = unit + layout.unit_bytes + layout.unit_bytes / 2 * half;
      for (int i = 0; i < layout.unit_bytes / 2; i += 64) __builtin_prefetch(ahead + i, 0, 2);
      scales(layout, unit, half, groups, scale, min);
      codes(layout, unit + layout.header + 32 * half, (cols + 31) / 32, code);
    }
    product.cols = cols;
    product.first = u == 0, product.last = u + 1 >= p.units;
    product.planes = p.planes + 2 * u * layout.unit;
    product.correction = p.correction + u * a_unit, product.sums = p.sums + u * a_unit;
    matmul::avx2_steps.multiply(product);
  }
}

void multiply(const Lockstep& p) {
  for (int s = 0; s < p.streams; ++s)
    for (int half = 0; half < 2 && p.used[s] > kRows * half; ++half) multiply(p, s, half);
}

}  // namespace

const Steps avx2_steps = {matmul::avx2_quantize, multiply, nullptr, nullptr, nullptr, nullptr};

}  // namespace gemloupe::strips

#endif
