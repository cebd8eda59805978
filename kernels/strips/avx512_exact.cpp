#if defined(__AVX512VBMI2__)

#include "kernels/strips/vector.h"

namespace gemloupe::strips {
namespace {

[[gnu::always_inline]] inline __m512i quad_of(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

// A unit of every stream, times the activation rows from row t on.
struct Units {
  const Lockstep& p;
  __m512i table;
  const uint8_t* codes[kStreams];
  const float *scale, *min;  // [stream][group][16]; min: or null
  int groups, blocks_a_group;
  int64_t u, t;
  bool ask;  // for what is read later

  const uint8_t* planes() const { return p.planes + t * p.plane_stride + u * p.layout.unit * 2; }
  int64_t run() const { return t * p.run_stride + u * (p.layout.unit / p.layout.group); }
  float* acc(int s) const { return p.acc + (s * p.acc_rows + t) * kStripRows; }
};

// The integer sums of a group of one strip for kCount activation rows.
template <int kCount>
struct Sums {
  __m512i hi[kCount], lo[kCount];

  [[gnu::always_inline]] void open(const int32_t* correction, int64_t stride) {
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) hi[i] = _mm512_setzero_si512(), lo[i] = _mm512_set1_epi32(correction[i * stride]);
  }
  // Four quads, from quad kFirst of the block at p on.
  template <int kBits, bool kTable, int kFirst, int kEnd = kFirst + 4>
  [[gnu::always_inline]] void add(const uint8_t* p, __m512i table, const uint8_t* planes, int64_t stride) {
    const __m512i v = code<kBits, kTable, kFirst>(p, table);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      const uint8_t* q = planes + i * stride + 8 * kFirst;
      hi[i] = _mm512_dpbusd_epi32(hi[i], v, quad_of(q));
      lo[i] = _mm512_dpbusd_epi32(lo[i], v, quad_of(q + 4));
    }
    if constexpr (kFirst + 1 < kEnd) add<kBits, kTable, kFirst + 1, kEnd>(p, table, planes, stride);
  }
  [[gnu::always_inline]] void close(const float* scale, const float* min, const float* sums, int64_t stride, float* acc) const {
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(hi[i], 8), lo[i]);
      __m512 to = _mm512_fmadd_ps(_mm512_load_ps(scale), _mm512_cvtepi32_ps(sum), _mm512_load_ps(acc + kStripRows * i));
      if (min) to = _mm512_fmadd_ps(_mm512_load_ps(min), _mm512_set1_ps(sums[i * stride]), to);
      _mm512_store_ps(acc + kStripRows * i, to);
    }
  }
};

// Group after group, and in each strip after strip: so memory sees all streams move on together. Where a group is 16 columns,
// two go together.
template <int kBits, bool kTable, bool kSixteen, int kCount>
[[gnu::always_inline]] inline void rows(const Units& u) {
  const Lockstep& p = u.p;
  const int64_t stride = p.plane_stride, run_stride = p.run_stride;
  const uint8_t* planes = u.planes();
  const int32_t* correction = p.correction + u.run();
  const float* sums = p.sums + u.run();
  const int64_t code_bytes = int64_t{64} * kBits * u.blocks_a_group;
  int64_t at = 0;
  for (int g = 0; g < u.groups; g += kSixteen ? 2 : 1, at += code_bytes, planes += 64 * u.blocks_a_group)
    for (int s = 0; s < p.streams; ++s) {
      const uint8_t* codes = u.codes[s] + at;
      const int unit_at = (s * kMostGroups + g) * kStripRows;
      const float *scale = u.scale + unit_at, *min = u.min ? u.min + unit_at : nullptr;
      Sums<kCount> sum;
      sum.open(correction + g, run_stride);
      if (kSixteen) {
        if (u.ask) ask<kBits>(codes, p.end[s], p.next[s]);
        sum.template add<kBits, kTable, 0>(codes, u.table, planes, stride);
        sum.close(scale, min, sums + g, run_stride, u.acc(s));
        if (g + 1 == u.groups) continue;
        sum.open(correction + g + 1, run_stride);
        sum.template add<kBits, kTable, 4>(codes, u.table, planes, stride);
        sum.close(scale + kStripRows, min ? min + kStripRows : nullptr, sums + g + 1, run_stride, u.acc(s));
      } else {
        for (int b = 0; b < u.blocks_a_group; ++b, codes += 64 * kBits) {
          if (u.ask) ask<kBits>(codes, p.end[s], p.next[s]);
          sum.template add<kBits, kTable, 0>(codes, u.table, planes + 64 * b, stride);
          sum.template add<kBits, kTable, 4>(codes, u.table, planes + 64 * b, stride);
        }
        sum.close(scale, min, sums + g, run_stride, u.acc(s));
      }
    }
}

template <int kBits, bool kTable, bool kSixteen>
void walk(const Lockstep& p) {
  alignas(64) float scale[kStreams][kMostGroups * kStripRows], min[kStreams][kMostGroups * kStripRows];
  const StripLayout& layout = p.layout;
  const int a_unit = layout.unit / layout.group;
  Units units{p, table_of(layout), {}, scale[0], layout.has_min ? min[0] : nullptr, a_unit, kSixteen ? 1 : layout.group / 32, 0, 0, true};
  start(p, p.rows);
  for (int64_t& u = units.u; u < p.units; ++u) {
    if (p.groups - u * a_unit < a_unit) units.groups = static_cast<int>(p.groups - u * a_unit);
    for (int s = 0; s < p.streams; ++s) {
      const uint8_t* unit = p.strip[s] + u * layout.unit_bytes;
      for (int i = 0; i < layout.header; i += 64) ask<1>(unit + i, p.end[s], p.next[s]);
      scales(layout, unit, units.groups, scale[s], min[s]);
      units.codes[s] = unit + layout.header;
    }
    for (int64_t& t = units.t = 0; t < p.rows;) {
      units.ask = t == 0;
      const int64_t left = p.rows - t;
      if (left >= 8) rows<kBits, kTable, kSixteen, 8>(units), t += 8;
      else if (left >= 4) rows<kBits, kTable, kSixteen, 4>(units), t += 4;
      else if (left == 3) rows<kBits, kTable, kSixteen, 3>(units), t += 3;
      else if (left == 2) rows<kBits, kTable, kSixteen, 2>(units), t += 2;
      else rows<kBits, kTable, kSixteen, 1>(units), t += 1;
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
