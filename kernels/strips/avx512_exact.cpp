#if defined(__AVX512VBMI2__)

#include "kernels/strips/vector.h"

namespace gemloupe::strips {
namespace {

[[gnu::always_inline]] inline __m512i quad_of(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

// A unit of one strip, and where the activations of its columns begin.
struct UnitOf {
  const uint8_t *codes, *end, *next;
  const float *scale, *min;
  int groups, blocks_a_group;
  bool has_min, ask;  // ask: for what is read later
  const uint8_t* planes;
  int64_t plane_stride;
  const int32_t* correction;
  const float* sums;
  int64_t run_stride;
};

// kCount activation rows. Where a group is 16 columns, two are in a block.
template <int kBits, bool kTable, bool kSixteen, int kCount>
[[gnu::always_inline]] inline void rows(const UnitOf& u, __m512i table, float* to) {
  __m512 acc[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) acc[i] = _mm512_load_ps(to + kStripRows * i);
  const uint8_t *codes = u.codes, *planes = u.planes;
  const auto close = [&](int g, const __m512i* hi, const __m512i* lo) __attribute__((always_inline)) {
    const __m512 scale = _mm512_load_ps(u.scale + kStripRows * g);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(hi[i], 8), lo[i]);
      acc[i] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum), acc[i]);
      if (u.has_min)
        acc[i] = _mm512_fmadd_ps(_mm512_load_ps(u.min + kStripRows * g), _mm512_set1_ps(u.sums[i * u.run_stride + g]), acc[i]);
    }
  };
  __m512i hi[kCount], lo[kCount];
  const auto open = [&](int g) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) hi[i] = _mm512_setzero_si512(), lo[i] = _mm512_set1_epi32(u.correction[i * u.run_stride + g]);
  };
  const auto quad = [&]<int kQuad>() __attribute__((always_inline)) {
    const __m512i v = code<kBits, kTable, kQuad>(codes, table);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      const uint8_t* q = planes + i * u.plane_stride + 8 * kQuad;
      hi[i] = _mm512_dpbusd_epi32(hi[i], v, quad_of(q));
      lo[i] = _mm512_dpbusd_epi32(lo[i], v, quad_of(q + 4));
    }
  };
  const auto half = [&]<int kFirst>() __attribute__((always_inline)) {
    quad.template operator()<kFirst>(), quad.template operator()<kFirst + 1>();
    quad.template operator()<kFirst + 2>(), quad.template operator()<kFirst + 3>();
  };
  for (int g = 0; g < u.groups;) {
    open(g);
    for (int b = 0; b < u.blocks_a_group; ++b) {
      if (u.ask) ask<kBits>(codes, u.end, u.next);
      half.template operator()<0>();
      if (kSixteen) {
        close(g++, hi, lo);
        if (g == u.groups) break;
        open(g);
      }
      half.template operator()<4>();
      codes += 64 * kBits, planes += 64;
    }
    if (!(kSixteen && g == u.groups)) close(g++, hi, lo);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) _mm512_store_ps(to + kStripRows * i, acc[i]);
}

template <int kBits, bool kTable, bool kSixteen>
void walk(const Lockstep& p) {
  alignas(64) float scale[kStreams][kMostGroups * kStripRows], min[kStreams][kMostGroups * kStripRows];
  const StripLayout& layout = p.layout;
  const __m512i table = table_of(layout);
  const int groups = layout.unit / layout.group, header = layout.header / 64;
  start(p, p.rows);
  for (int64_t u = 0; u < p.units; ++u) {
    const int64_t first = u * groups, left = p.groups - first;
    UnitOf unit;
    unit.groups = static_cast<int>(left < groups ? left : groups);
    unit.blocks_a_group = kSixteen ? 1 : layout.group / 32;
    unit.has_min = layout.has_min;
    unit.plane_stride = p.plane_stride, unit.run_stride = p.run_stride;
    for (int s = 0; s < p.streams; ++s) {
      const uint8_t* at = p.strip[s] + u * layout.unit_bytes;
      for (int i = 0; i < header; ++i) ask<1>(at + 64 * i, p.end[s], p.next[s]);
      scales(layout, at, unit.groups, scale[s], min[s]);
      unit.codes = at + layout.header, unit.end = p.end[s], unit.next = p.next[s];
      unit.scale = scale[s], unit.min = min[s];
      float* acc = p.acc + s * p.acc_rows * kStripRows;
      for (int64_t t = 0; t < p.rows;) {
        unit.planes = p.planes + t * p.plane_stride + u * layout.unit * 2;
        unit.correction = p.correction + t * p.run_stride + first, unit.sums = p.sums + t * p.run_stride + first;
        const int64_t rest = p.rows - t;
        float* to = acc + t * kStripRows;
        unit.ask = t == 0;
        if (rest >= 8) rows<kBits, kTable, kSixteen, 8>(unit, table, to), t += 8;
        else if (rest >= 4) rows<kBits, kTable, kSixteen, 4>(unit, table, to), t += 4;
        else if (rest >= 2) rows<kBits, kTable, kSixteen, 2>(unit, table, to), t += 2;
        else rows<kBits, kTable, kSixteen, 1>(unit, table, to), t += 1;
      }
    }
  }
  finish(p);
}

template <int kBits, bool kTable>
void pick(const Lockstep& p) {
  p.layout.group == 16 ? walk<kBits, kTable, true>(p) : walk<kBits, kTable, false>(p);
}

}  // namespace

void avx512_multiply(const Lockstep& p) {
  switch (p.layout.bits) {
    case 1: return p.layout.table ? pick<1, true>(p) : pick<1, false>(p);
    case 2: return p.layout.table ? pick<2, true>(p) : pick<2, false>(p);
    case 3: return p.layout.table ? pick<3, true>(p) : pick<3, false>(p);
    case 4: return p.layout.table ? pick<4, true>(p) : pick<4, false>(p);
    case 5: return pick<5, false>(p);
    case 6: return pick<6, false>(p);
    default: return pick<8, false>(p);
  }
}

const Steps avx512_steps = {matmul::avx512_quantize, avx512_multiply, nullptr, nullptr, nullptr, nullptr};

}  // namespace gemloupe::strips

#endif
