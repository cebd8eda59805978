#if defined(__AVX2__)

#include <immintrin.h>

#include "kernels/strips/exact.h"

// Few activation rows meet the codes as they come from memory; for more a unit becomes two tiles of eight rows, for the products of
// kernels/matmul.
namespace gemloupe::strips {
namespace {

constexpr int kRows = 8, kMostGroups = 16;

template <auto kValue>
struct Constant {
  static constexpr auto value = kValue;
};

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

// Bits `from` .. of the bytes at p, as many as `mask` has, moved to bit `to`, in the bytes that `where` names.
[[gnu::always_inline]] inline __m256i bits_of(const uint8_t* p, int from, int mask, int to, int where = -1) {
  __m256i v = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  if (from != to) v = from > to ? _mm256_srli_epi32(v, from - to) : _mm256_slli_epi32(v, to - from);
  return _mm256_and_si256(v, _mm256_and_si256(_mm256_set1_epi32(where), _mm256_set1_epi8(static_cast<char>(mask << to))));
}

[[gnu::always_inline]] inline __m256i pair(const uint8_t* p) {
  int32_t two;
  __builtin_memcpy(&two, p, 4);
  return _mm256_set1_epi32(two);
}

// The code of quad q of the 32 columns whose planes begin at p, of eight rows.
template <int kBits, bool kTable>
[[gnu::always_inline]] inline __m256i code(const uint8_t* p, int q, __m256i table) {
  constexpr int kFour = kBits & 4, kTwo = kBits & 2, kOne = kBits & 1;
  if (kBits == 8) return _mm256_load_si256(reinterpret_cast<const __m256i*>(p + 64 * q));
  __m256i v = _mm256_setzero_si256();
  if (kFour) v = bits_of(p + 64 * (q / 2), q % 2 * 4, 15, 0);
  if (kTwo) v = _mm256_or_si256(v, bits_of(p + 64 * (kFour + q / 4), q % 4 * 2, 3, kFour));
  if (kOne) v = _mm256_or_si256(v, bits_of(p + 64 * (kFour + kTwo), q, 1, kFour + kTwo));
  return kTable ? _mm256_shuffle_epi8(table, v) : v;
}

__m256i table_of(const StripLayout& layout) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.code_of)));
}

// Codes of `blocks` times 32 columns of eight rows, [column / 4][8][4]. p: the first of these rows.
template <int kBits, bool kTable>
void codes(const uint8_t* p, int blocks, __m256i table, uint8_t* to) {
  for (int b = 0; b < blocks; ++b, p += 64 * kBits)
#pragma GCC unroll 8
    for (int q = 0; q < 8; ++q, to += 32) _mm256_store_si256(reinterpret_cast<__m256i*>(to), code<kBits, kTable>(p, q, table));
}

// Calls run with the number of bits, and with whether there is a table, as constants.
template <class Run>
void with_kind(const StripLayout& layout, Run&& run) {
  const auto bits = [&](auto table) {
    switch (layout.bits) {
      case 1: return run(Constant<1>{}, table);
      case 2: return run(Constant<2>{}, table);
      case 3: return run(Constant<3>{}, table);
      default: return run(Constant<4>{}, table);
    }
  };
  switch (layout.bits) {
    case 5: return run(Constant<5>{}, Constant<false>{});
    case 6: return run(Constant<6>{}, Constant<false>{});
    case 8: return run(Constant<8>{}, Constant<false>{});
    default: layout.table ? bits(Constant<true>{}) : bits(Constant<false>{});
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
      with_kind(layout, [&](auto bits, auto table) {
        codes<bits.value, table.value>(unit + layout.header + 32 * half, (cols + 31) / 32, table_of(layout), code);
      });
    }
    product.cols = cols;
    product.first = u == 0, product.last = u + 1 >= p.units;
    product.planes = p.planes + 2 * u * layout.unit;
    product.correction = p.correction + u * a_unit, product.sums = p.sums + u * a_unit;
    matmul::avx2_steps.multiply(product);
  }
}

// The integer sums of a group of one strip, rows 0 to 7 and 8 to 15, for kCount activation rows.
template <int kCount>
struct Sums {
  __m256i of[2][kCount];

  [[gnu::always_inline]] void open(const int32_t* correction, int64_t stride) {
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) of[0][i] = of[1][i] = _mm256_set1_epi32(correction[i * stride]);
  }
  // Quads kFirst to kEnd of the block at p. Its lines are asked for one by one.
  template <int kBits, bool kTable, int kFirst, int kEnd>
  [[gnu::always_inline]] void add(const uint8_t* p, int64_t far, __m256i table, const uint8_t* planes, int64_t stride) {
    if constexpr (kFirst < kEnd) {
      constexpr int kLine = (kFirst * kBits + 7) / 8;
      if constexpr (kLine < ((kFirst + 1) * kBits + 7) / 8) prefetch(p + 64 * kLine, far);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        __m256i c02, c13;
        if constexpr (kBits == 4 && !kTable) {
          c02 = bits_of(p + 32 * half + 64 * (kFirst / 2), kFirst % 2 * 4, 15, 0, 0x00ff00ff);
          c13 = bits_of(p + 32 * half + 64 * (kFirst / 2), 8 + kFirst % 2 * 4, 15, 0, 0x00ff00ff);
        } else {
          const __m256i v = code<kBits, kTable>(p + 32 * half, kFirst, table);
          c02 = _mm256_and_si256(v, _mm256_set1_epi32(0x00ff00ff)), c13 = _mm256_srli_epi16(v, 8);
        }
#pragma GCC unroll 4
        for (int i = 0; i < kCount; ++i) {
          const uint8_t* q = planes + i * stride + 8 * kFirst;
          of[half][i] = _mm256_add_epi32(of[half][i], _mm256_madd_epi16(c02, pair(q)));
          of[half][i] = _mm256_add_epi32(of[half][i], _mm256_madd_epi16(c13, pair(q + 4)));
        }
      }
      add<kBits, kTable, kFirst + 1, kEnd>(p, far, table, planes, stride);
    }
  }
};

// All columns of stream s, times the activation rows from row t on. Codes go from memory to the products without a stop.
template <int kBits, bool kTable, int kCount>
void few(const Lockstep& p, int s, int64_t t) {
  const StripLayout& layout = p.layout;
  alignas(32) float scale[2][kRows * kMostGroups], min[2][kRows * kMostGroups];
  const int a_unit = layout.unit / layout.group, blocks_a_group = layout.group / 32;
  const bool plain = layout.scale == StripScale::f16 && !layout.has_min;
  const __m256i table = table_of(layout);
  const int64_t stride = p.plane_stride, run_stride = p.run_stride;
  const uint8_t *planes = p.planes + t * stride, *unit = p.strip[s];
  const int32_t* correction = p.correction + t * run_stride;
  const float* sums = p.sums + t * run_stride;
  __m256 acc[2][kCount] = {};
  for (int64_t u = 0; u < p.units; ++u, unit += layout.unit_bytes) {
    const int64_t left = p.groups - u * a_unit;
    const int groups = static_cast<int>(left < a_unit ? left : a_unit);
    const int64_t far = t != 0 ? kFar : far_of(unit, p.end[s], p.next[s]) - unit;
    for (int i = 0; i < layout.header; i += 64) prefetch(unit + i, far);
    if (!plain)
      for (int half = 0; half < 2; ++half) scales(layout, unit, half, groups, scale[half], min[half]);
    const uint8_t* codes = unit + layout.header;
    const auto close = [&](const Sums<kCount>& sum, int g) __attribute__((always_inline)) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const __m256 of_group = plain ? f16_at(unit + 2 * kStripRows * g + 2 * kRows * half) : _mm256_load_ps(scale[half] + kRows * g);
#pragma GCC unroll 4
        for (int i = 0; i < kCount; ++i) {
          acc[half][i] = _mm256_fmadd_ps(of_group, _mm256_cvtepi32_ps(sum.of[half][i]), acc[half][i]);
          if (layout.has_min)
            acc[half][i] = _mm256_fmadd_ps(_mm256_load_ps(min[half] + kRows * g), _mm256_set1_ps(sums[i * run_stride + g]), acc[half][i]);
        }
      }
    };
    for (int g = 0; g < groups; ++g) {
      Sums<kCount> sum;
      sum.open(correction + g, run_stride);
      if (layout.group == 16) {  // two groups go together
        sum.template add<kBits, kTable, 0, 4>(codes, far, table, planes, stride);
        close(sum, g);
        if (++g < groups) {
          sum.open(correction + g, run_stride);
          sum.template add<kBits, kTable, 4, 8>(codes, far, table, planes, stride);
          close(sum, g);
        }
        codes += 64 * kBits, planes += 64;
      } else {
        for (int b = 0; b < blocks_a_group; ++b, codes += 64 * kBits, planes += 64)
          sum.template add<kBits, kTable, 0, 8>(codes, far, table, planes, stride);
        close(sum, g);
      }
    }
    correction += a_unit, sums += a_unit;
  }
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m256i used = _mm256_cmpgt_epi32(_mm256_set1_epi32(p.used[s] - kRows * half), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
      _mm256_maskstore_ps(p.y[t + i] + p.y_first[s] + kRows * half, used, _mm256_mul_ps(acc[half][i], _mm256_set1_ps(p.row_scale[t + i])));
    }
}

// With more rows it pays to unpack the codes once, into memory.
constexpr int64_t kFew = 4;

void few(const Lockstep& p, int s) {
  with_kind(p.layout, [&](auto bits, auto table) {
    for (int64_t t = 0; t < p.rows;) {
      if (t + 2 <= p.rows) few<bits.value, table.value, 2>(p, s, t), t += 2;
      else few<bits.value, table.value, 1>(p, s, t), t += 1;
    }
  });
}

void multiply(const Lockstep& p) {
  for (int s = 0; s < p.streams; ++s) {
    if (p.rows <= kFew && p.units > 0) {
      few(p, s);
      continue;
    }
    for (int half = 0; half < 2 && p.used[s] > kRows * half; ++half) multiply(p, s, half);
  }
}

}  // namespace

const Steps avx2_steps = {matmul::avx2_quantize, multiply, nullptr, nullptr, nullptr, nullptr};

}  // namespace gemloupe::strips

#endif
