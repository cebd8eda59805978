#if defined(__AVX512VBMI2__)

#include "kernels/int8/steps.h"
#include "kernels/strips/vector.h"

namespace gemloupe::int8 {
namespace {

template <int kBits, bool kTable>
void decode(const StripLayout& layout, const uint8_t* unit, uint8_t* to) {
  const __m512i table = strips::table_of(layout);
  const uint8_t* p = unit + layout.header;
  for (int c = 0; c < layout.unit; c += 32, p += 64 * kBits, to += 512) {
    _mm512_storeu_si512(to, strips::code<kBits, kTable, 0>(p, table));
    _mm512_storeu_si512(to + 64, strips::code<kBits, kTable, 1>(p, table));
    _mm512_storeu_si512(to + 128, strips::code<kBits, kTable, 2>(p, table));
    _mm512_storeu_si512(to + 192, strips::code<kBits, kTable, 3>(p, table));
    _mm512_storeu_si512(to + 256, strips::code<kBits, kTable, 4>(p, table));
    _mm512_storeu_si512(to + 320, strips::code<kBits, kTable, 5>(p, table));
    _mm512_storeu_si512(to + 384, strips::code<kBits, kTable, 6>(p, table));
    _mm512_storeu_si512(to + 448, strips::code<kBits, kTable, 7>(p, table));
  }
}

void codes(const StripLayout& layout, const uint8_t* unit, uint8_t* to) {
  switch (layout.bits) {
    case 1: return layout.table ? decode<1, true>(layout, unit, to) : decode<1, false>(layout, unit, to);
    case 2: return layout.table ? decode<2, true>(layout, unit, to) : decode<2, false>(layout, unit, to);
    case 3: return layout.table ? decode<3, true>(layout, unit, to) : decode<3, false>(layout, unit, to);
    case 4: return layout.table ? decode<4, true>(layout, unit, to) : decode<4, false>(layout, unit, to);
    case 5: return decode<5, false>(layout, unit, to);
    case 6: return decode<6, false>(layout, unit, to);
    default: return decode<8, false>(layout, unit, to);
  }
}

[[gnu::always_inline]] inline __m512i quad(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

// kCount activation rows from row t on.
template <int kCount>
[[gnu::always_inline]] inline void some_rows(const Product& p, int64_t t) {
  const int8_t* q = p.q + t * p.padded;
  const int32_t* sums = p.sums + t * p.padded / kPart;
  const float* s = p.s + t * p.padded / kBlock;
  __m512 acc[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) acc[i] = _mm512_loadu_ps(p.acc + (t + i) * kStripRows);
  for (int64_t c = 0, end; c < p.cols; c = end) {
    const int64_t g = c / p.group, block_end = (c / kBlock + 1) * kBlock;
    end = (g + 1) * p.group < block_end ? (g + 1) * p.group : block_end;
    __m512i sum[kCount];
    __m512 plain[kCount];
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      const int32_t* x = sums + i * (p.padded / kPart) + c / kPart;
      const int32_t both = end - c == kBlock ? x[0] + x[1] : x[0];
      plain[i] = _mm512_set1_ps(static_cast<float>(both));
      sum[i] = _mm512_set1_epi32(-p.offset * both);
    }
    for (int64_t k = c; k < end; k += 4) {
      const __m512i code = _mm512_loadu_si512(p.codes + k * kStripRows);
#pragma GCC unroll 8
      for (int i = 0; i < kCount; ++i) sum[i] = _mm512_dpbusd_epi32(sum[i], code, quad(q + i * p.padded + k));
    }
    const __m512 scale = _mm512_loadu_ps(p.scale + g * kStripRows);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      __m512 piece = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sum[i]));
      if (p.min) piece = _mm512_fmadd_ps(_mm512_loadu_ps(p.min + g * kStripRows), plain[i], piece);
      acc[i] = _mm512_fmadd_ps(_mm512_set1_ps(s[i * (p.padded / kBlock) + c / kBlock]), piece, acc[i]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) _mm512_storeu_ps(p.acc + (t + i) * kStripRows, acc[i]);
}

void multiply(const Product& p) {
  int64_t t = 0;
  for (; t + 8 <= p.rows; t += 8) some_rows<8>(p, t);
  for (; t + 2 <= p.rows; t += 2) some_rows<2>(p, t);
  if (t < p.rows) some_rows<1>(p, t);
}

// strips::scales stores whole aligned registers.
void unit_scales(const StripLayout& layout, const uint8_t* unit, float* scale, float* min) {
  alignas(64) float s[strips::kMostGroups * kStripRows], m[strips::kMostGroups * kStripRows];
  const int groups = layout.unit / layout.group;
  strips::scales(layout, unit, groups, s, m);
  __builtin_memcpy(scale, s, sizeof(float) * kStripRows * static_cast<size_t>(groups));
  if (layout.has_min) __builtin_memcpy(min, m, sizeof(float) * kStripRows * static_cast<size_t>(groups));
}

}  // namespace

const Steps avx512_steps = {codes, unit_scales, multiply};

}  // namespace gemloupe::int8

#endif
