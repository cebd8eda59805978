#if defined(__AVX512VBMI2__)

#include "kernels/strips/vector.h"

namespace gemloupe::strips {
namespace {

constexpr int kAtOnce = 8;  // activation rows

[[gnu::always_inline]] inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

[[gnu::always_inline]] inline __m512i quad_of(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

// Units [from, to) of every stream, times the activation rows from row t on.
struct Units {
  const Lockstep& p;
  __m512i table;
  int a_unit, blocks_a_group;
  bool plain;  // scales are f16 and nothing else
  bool pair;   // and the layout is the common one, all groups whole
  int64_t from, to, t;

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
  // Quads kFirst to kEnd of the block at p. The block's lines are asked for one by one, as they are read: a burst would stall.
  template <int kBits, bool kTable, int kFirst, int kEnd, class Ask>
  [[gnu::always_inline]] void add(const uint8_t* p, __m512i table, const uint8_t* planes, int64_t stride, const Ask& ask) {
    if constexpr (kFirst < kEnd) {
      constexpr int kLine = (kFirst * kBits + 7) / 8;
      if constexpr (kLine < ((kFirst + 1) * kBits + 7) / 8) ask(64 * kLine);
      const __m512i v = code<kBits, kTable, kFirst>(p, table);
#pragma GCC unroll 8
      for (int i = 0; i < kCount; ++i) {
        const uint8_t* q = planes + i * stride + 8 * kFirst;
        hi[i] = _mm512_dpbusd_epi32(hi[i], v, quad_of(q));
        lo[i] = _mm512_dpbusd_epi32(lo[i], v, quad_of(q + 4));
      }
      add<kBits, kTable, kFirst + 1, kEnd>(p, table, planes, stride, ask);
    }
  }
  [[gnu::always_inline]] void close(__m512 scale, __m512* acc) const {
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(hi[i], 8), lo[i]);
      acc[i] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum), acc[i]);
    }
  }
};

// kWide streams from stream `first` on. kGroup: columns, 0 if more than 32; of 16 two go together. kPair: as
// Units::pair.
template <int kBits, bool kTable, int kGroup, bool kPair, int kCount, int kWide>
[[gnu::always_inline]] inline void rows(const Units& u, int first) {
  constexpr bool kSixteen = kGroup == 16;
  constexpr int kTogether = kSixteen ? 2 : 1;
  const Lockstep& p = u.p;
  const StripLayout& layout = p.layout;
  const int a_unit = kPair ? 2 : u.a_unit, blocks_a_group = kGroup ? 1 : u.blocks_a_group;
  const int columns = kPair ? 64 : layout.unit, header = kPair ? 64 : layout.header;
  const int unit_bytes = kPair ? 64 + 128 * kBits : layout.unit_bytes;
  const bool plain = kPair || u.plain, has_min = !kPair && layout.has_min;
  alignas(64) float scale[kWide][kMostGroups * kStripRows], min[kWide][kMostGroups * kStripRows];
  const int64_t stride = p.plane_stride, run_stride = p.run_stride;
  const uint8_t* planes = p.planes + u.t * stride + u.from * columns * 2;
  const int32_t* correction = p.correction + u.t * run_stride + u.from * a_unit;
  const float* sums = p.sums + u.t * run_stride + u.from * a_unit;
  __m512 acc[kWide][kCount];
#pragma GCC unroll 2
  for (int w = 0; w < kWide; ++w)
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) acc[w][i] = _mm512_load_ps(u.acc(first + w) + kStripRows * i);

  for (int64_t k = u.from; k < u.to; ++k, correction += a_unit, sums += a_unit) {
    const int groups = kPair ? 2 : static_cast<int>(least(a_unit, p.groups - k * a_unit));
    const uint8_t *unit[kWide], *codes[kWide];
    int64_t far[kWide];
#pragma GCC unroll 2
    for (int w = 0; w < kWide; ++w) {
      const int s = first + w;
      unit[w] = p.strip[s] + k * unit_bytes, codes[w] = unit[w] + header;
      far[w] = u.t == 0 ? far_of(unit[w], p.end[s], p.next[s]) - unit[w] : kFar;
      for (int i = 0; i < header; i += 64) prefetch(unit[w] + i, far[w]);
      if (!plain) scales(layout, unit[w], groups, scale[w], min[w]);
    }
    for (int g = 0; g < groups; g += kTogether, planes += 64 * blocks_a_group)
#pragma GCC unroll 2
      for (int w = 0; w < kWide; ++w) {
        const auto ask = [&](int line) __attribute__((always_inline)) { prefetch(codes[w] + line, far[w]); };
        const auto close = [&](const Sums<kCount>& sum, int g) __attribute__((always_inline)) {
          sum.close(plain ? f16_at(unit[w] + 2 * kStripRows * g) : _mm512_load_ps(scale[w] + kStripRows * g), acc[w]);
          if (!has_min) return;
          const __m512 low = plain ? f16_at(unit[w] + 2 * kStripRows * (a_unit + g)) : _mm512_load_ps(min[w] + kStripRows * g);
#pragma GCC unroll 8
          for (int i = 0; i < kCount; ++i) acc[w][i] = _mm512_fmadd_ps(low, _mm512_set1_ps(sums[i * run_stride + g]), acc[w][i]);
        };
        Sums<kCount> sum;
        sum.open(correction + g, run_stride);
        if (kSixteen) {
          sum.template add<kBits, kTable, 0, 4>(codes[w], u.table, planes, stride, ask);
          close(sum, g);
          if (g + 1 < groups) {
            sum.open(correction + g + 1, run_stride);
            sum.template add<kBits, kTable, 4, 8>(codes[w], u.table, planes, stride, ask);
            close(sum, g + 1);
          }
          codes[w] += 64 * kBits;
        } else {
          for (int b = 0; b < blocks_a_group; ++b, codes[w] += 64 * kBits)
            sum.template add<kBits, kTable, 0, 8>(codes[w], u.table, planes + 64 * b, stride, ask);
          close(sum, g);
        }
      }
  }
#pragma GCC unroll 2
  for (int w = 0; w < kWide; ++w)
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) _mm512_store_ps(u.acc(first + w) + kStripRows * i, acc[w][i]);
}

// With one or two activation rows two streams go together; with more one after the other.
template <int kBits, bool kTable, int kGroup, int kCount>
[[gnu::always_inline]] inline void rows(Units& u) {
  int s = 0;
  if constexpr (kCount <= 2)
    for (; s + 2 <= u.p.streams; s += 2) {
      if constexpr (kBits >= 4 && kGroup == 32) {
        if (u.pair) {
          rows<kBits, kTable, kGroup, true, kCount, 2>(u, s);
          continue;
        }
      }
      rows<kBits, kTable, kGroup, false, kCount, 2>(u, s);
    }
  for (; s < u.p.streams; ++s) rows<kBits, kTable, kGroup, false, kCount, 1>(u, s);
  u.t += kCount;
}

template <int kBits, bool kTable, int kGroup>
void walk(const Lockstep& p) {
  const StripLayout& layout = p.layout;
  const bool plain = layout.scale == StripScale::f16;
  const bool pair = is_common(layout) && p.groups == 2 * p.units;
  Units u{p, table_of(layout), layout.unit / layout.group, layout.group / 32, plain, pair, 0, 0, 0};
  start(p, p.rows);
  // What is read again for more activation rows has to stay in the first cache.
  const int64_t step = p.rows <= kAtOnce ? p.units : 256 / layout.unit;
  for (; u.from < p.units; u.from = u.to) {
    u.to = least(u.from + step, p.units);
    for (u.t = 0; u.t < p.rows;) {
      const int64_t left = p.rows - u.t;
      if (left >= 8) rows<kBits, kTable, kGroup, 8>(u);
      else if (left >= 4) rows<kBits, kTable, kGroup, 4>(u);
      else if (left == 3) rows<kBits, kTable, kGroup, 3>(u);
      else if (left == 2) rows<kBits, kTable, kGroup, 2>(u);
      else rows<kBits, kTable, kGroup, 1>(u);
    }
  }
  finish(p);
}

template <int kBits, bool kTable>
void pick(const Lockstep& p) {
  const int group = p.layout.group;
  group == 16 ? walk<kBits, kTable, 16>(p) : group == 32 ? walk<kBits, kTable, 32>(p) : walk<kBits, kTable, 0>(p);
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
