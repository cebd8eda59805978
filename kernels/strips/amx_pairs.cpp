#if defined(__AMX_TILE__)

#include "kernels/strips/tiles.h"

// The layout that most weights have, with nothing left to run time: products in pairs, of two strips with one tile of
// activations or of one strip with two. While one product runs, the sums of the other are stored, those before them combined,
// and codes unpacked that are wanted three units later.
namespace gemloupe::strips {
namespace {

constexpr int kGroups = 2, kGroup = 32, kCodes = kGroup * kStripRows, kHeader = 64;  // of a unit
constexpr int kAhead = 3;  // units

struct Pair {
  const uint8_t *strip, *end[2], *next[2];
  int64_t other;  // bytes from the first strip to the second
  const uint8_t* a[2];
  float* to[2];
  int64_t units;
  bool again;  // the strips have been read before
};

// What goes through the tiles, and what came out last. The rings of codes lie in their pages as the panels do: where codes are
// stored, the loads have just passed.
struct Rings {
  alignas(kPage) uint8_t codes[2][kPage];
  alignas(64) uint8_t sums[2][1024];
};
constexpr int kRing = kPage - 1;

// Codes of quads [kQuad, kEnd). Before its first line is read, ask(line).
template <int kBits, int kQuad, int kEnd, class Ask>
[[gnu::always_inline]] inline void unpack(const uint8_t* from, uint8_t* to, const Ask& ask) {
  if constexpr (kQuad < kEnd) {
    constexpr int kLine = (kQuad * kBits + 7) / 8;
    if constexpr (kLine < ((kQuad + 1) * kBits + 7) / 8) ask(64 * kLine);
    _mm512_store_si512(to + 64 * kQuad, top_code<kBits, kQuad>(from));
    unpack<kBits, kQuad + 1, kEnd>(from, to, ask);
  }
}

template <int kCount>
[[gnu::always_inline]] inline void combine(__m512 scale, const uint8_t* sums, __m512* acc) {
#pragma GCC unroll 8
  for (int r = 0; r < kCount; ++r) {
    const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(zmm(sums + 64 * r), 8), zmm(sums + 64 * (kCount + r)));
    acc[r] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum), acc[r]);
  }
}

template <int kBits, int kCount, bool kStrips>
void multiply(const Pair& p) {
  constexpr int kUnpacked = kStrips ? 2 : 1, kBytes = kHeader + kGroups * kGroup * kBits * 2, kBlock = 2 * kGroup * kBits;
  alignas(kPage) Rings rings;
  const int64_t other = p.other;
  const auto nothing = [](int) __attribute__((always_inline)) {};
  for (int s = 0; s < kUnpacked; ++s)
    for (int64_t u = 0; u < kAhead && u < p.units; ++u)
      for (int h = 0; h < kGroups; ++h)
        unpack<kBits, 0, 8>(p.strip + s * other + u * kBytes + kHeader + kBlock * h, rings.codes[s] + kCodes * (kGroups * u + h), nothing);
  __m512 acc[2][kCount], scale[2];  // scales of the group before, and before the first sums and scales are zero
#pragma GCC unroll 2
  for (int s = 0; s < 2; ++s) {
    scale[s] = _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r) acc[s][r] = _mm512_setzero_ps();
    for (int r = 0; r < 2 * kCount; ++r) _mm512_store_si512(rings.sums[s] + 64 * r, _mm512_setzero_si512());
  }
  _tile_zero(3);

  const uint8_t *unit = p.strip, *a = p.a[0];
  const int64_t a2 = p.a[1] - a;
  int64_t at = 0;  // in the rings, of the unit
  for (int64_t u = 0; u < p.units; ++u) {
    const uint8_t* ahead = (u + kAhead < p.units ? unit + kAhead * kBytes : unit) + kHeader;
    uint8_t* ahead_to = rings.codes[0] + ((at + kAhead * kGroups * kCodes) & kRing);
    int64_t far[2];
#pragma GCC unroll 2
    for (int s = 0; s < kUnpacked; ++s) {
      const uint8_t* now = unit + s * other;
      far[s] = p.again ? kFar : far_of(now, p.end[s], p.next[s]) - now;
      prefetch(now, far[s]);
    }
#pragma GCC unroll 2
    for (int h = 0; h < kGroups; ++h) {
      asm volatile("" ::: "memory");  // tile loads do not say that they read memory
      const uint8_t* codes = rings.codes[0] + at + kCodes * h;
      const auto rest = [&]<int kS>() __attribute__((always_inline)) {
        constexpr int kOf = kStrips ? kS : 0;
        constexpr int kFirst = kStrips ? 0 : 4 * kS, kEnd = kStrips ? 8 : kFirst + 4;
        const int64_t block = kOf * other + kBlock * h;
        const auto ask = [&](int line) __attribute__((always_inline)) { prefetch(unit + kHeader + block + line, far[kOf]); };
        unpack<kBits, kFirst, kEnd>(ahead + block, ahead_to + kOf * kPage + kCodes * h, ask);
        combine<kCount>(scale[kS], rings.sums[kS], acc[kS]);
        scale[kS] = f16_at(unit + kOf * other + 2 * kStripRows * h);
      };
      _tile_loadd(1, a + kCodes * h, kGroup);
      _tile_loadd(2, codes, 64);
      _tile_zero(0);
      _tile_dpbssd(0, 1, 2);
      _tile_stored(3, rings.sums[1], 64);
      rest.template operator()<0>();
      if (kStrips) _tile_loadd(4, codes + kPage, 64);
      else _tile_loadd(5, a + a2 + kCodes * h, kGroup);
      _tile_zero(3);
      if (kStrips) _tile_dpbssd(3, 1, 4);
      else _tile_dpbssd(3, 5, 2);
      _tile_stored(0, rings.sums[0], 64);
      rest.template operator()<1>();
    }
    unit += kBytes, a += kGroups * kCodes, at = (at + kGroups * kCodes) & kRing;
  }
  _tile_stored(3, rings.sums[1], 64);
  // That of top_code. Exact, only here too: integers times f16 scales are far from the ends of float32.
  const __m512 factor = _mm512_set1_ps(1.0f / (1 << (8 - kBits)));
#pragma GCC unroll 2
  for (int s = 0; s < 2; ++s) {
    combine<kCount>(scale[s], rings.sums[s], acc[s]);
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r) _mm512_store_ps(p.to[s] + kStripRows * r, _mm512_mul_ps(acc[s][r], factor));
  }
}

template <int kBits, int kCount>
void blocks(const Lockstep& p, const Panels& shape) {
  const auto pair = [&](int s, int64_t block, int s2, int64_t block2) {
    Pair pair{p.strip[s], {p.end[s], p.end[s2]}, {p.next[s], p.next[s2]}, p.strip[s2] - p.strip[s], {}, {}, p.units, block != 0};
    pair.a[0] = p.panels + block * shape.bytes_a_block, pair.a[1] = p.panels + block2 * shape.bytes_a_block;
    pair.to[0] = p.acc + (s * p.acc_rows + block * kCount) * kStripRows;
    pair.to[1] = p.acc + ((s == s2 && block == block2 ? 1 : s2) * p.acc_rows + block2 * kCount) * kStripRows;
    return pair;
  };
  int64_t block = 0;
  for (; block + 2 <= shape.blocks; block += 2)
    for (int s = 0; s < p.streams; ++s) multiply<kBits, kCount, false>(pair(s, block, s, block + 1));
  if (block < shape.blocks) multiply<kBits, kCount, true>(pair(0, block, p.streams - 1, block));
  finish(p);
}

template <int kBits>
void counts(const Lockstep& p, const Panels& shape) {
  shape.rows_a_block == 4 ? blocks<kBits, 4>(p, shape) : shape.rows_a_block == 6 ? blocks<kBits, 6>(p, shape) : blocks<kBits, 8>(p, shape);
}

}  // namespace

bool goes_in_pairs(const StripLayout& layout) {
  return is_common(layout) && !layout.table && layout.offset == 1 << (layout.bits - 1) &&
         (layout.bits == 4 || layout.bits == 5 || layout.bits == 8);
}

bool pairs(const Lockstep& p, const Panels& shape) {
  if (!goes_in_pairs(p.layout) || p.groups != kGroups * p.units) return false;
  switch (p.layout.bits) {
    case 4: counts<4>(p, shape); break;
    case 5: counts<5>(p, shape); break;
    default: counts<8>(p, shape);
  }
  return true;
}

}  // namespace gemloupe::strips

#endif
