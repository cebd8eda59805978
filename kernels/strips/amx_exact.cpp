#if defined(__AMX_TILE__)

#include "kernels/strips/tiles.h"

// From a few activation rows on: the high bytes of up to eight rows and their low bytes are the lines of one tile A, sixteen
// weight rows' codes those of B. A product is the group sums of 8 x 16 outputs, twice; vectors combine them as VNNI does.
namespace gemloupe::strips {
namespace {

// With fewer activation rows VNNI is as fast: a product's tile has to be stored and combined however few columns it sums.
int64_t fewest(const StripLayout& layout) {
  if (layout.group == 32) return goes_in_pairs(layout) ? 3 : 5;
  return layout.group == 16 ? 13 : 3;
}

struct alignas(64) Config {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t colsb[16] = {};
  uint8_t rows[16] = {};
};

// Columns that one tile product sums.
[[gnu::always_inline]] inline int step_of(int group) { return group < 64 ? group : 64; }

Panels panels(int64_t rows, int64_t padded, const StripLayout& layout) {
  Panels p;
  if (rows < fewest(layout)) return p;
  p.blocks = (rows + kBlockRows - 1) / kBlockRows;
  p.rows_a_block = static_cast<int>((rows + p.blocks - 1) / p.blocks + 1) / 2 * 2;
  if (p.rows_a_block < 4) p.rows_a_block = 4;
  p.bytes_a_block = (2 * kBlockRows * padded + kPage - 1) / kPage * kPage;
  return p;
}

// [step][high bytes of the rows, then low bytes][columns of a step]
void fill(const Panels& shape, int64_t block, const uint8_t* planes, int64_t plane_stride, int64_t rows, int64_t padded, int group,
          uint8_t* to) {
  const int count = shape.rows_a_block, step = step_of(group);
  const __m512i split = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
  for (int i = 0; i < count; ++i) {
    const int64_t t = block * count + i;
    for (int64_t c = 0; c < padded; c += 32) {
      const __m512i both = t < rows ? _mm512_permutexvar_epi32(split, zmm(planes + t * plane_stride + 2 * c)) : _mm512_setzero_si512();
      const __m128i quarter[4] = {_mm512_castsi512_si128(both), _mm512_extracti32x4_epi32(both, 1), _mm512_extracti32x4_epi32(both, 2),
                                  _mm512_extracti32x4_epi32(both, 3)};
      for (int h = 0; h < 2; ++h) {
        const int64_t col = c + 16 * h;
        uint8_t* at = to + col / step * step * 2 * kBlockRows + i * step + col % step;
        _mm_store_si128(reinterpret_cast<__m128i*>(at), quarter[h]);
        _mm_store_si128(reinterpret_cast<__m128i*>(at + count * step), quarter[2 + h]);
      }
    }
  }
}

void open(const Lockstep& p) {
  const Panels shape = panels(p.rows, p.layout.unit, p.layout);
  if (shape.blocks == 0) return;
  const int lines = 2 * shape.rows_a_block, step = step_of(p.layout.group);
  Config config;
  config.colsb[0] = 64, config.rows[0] = static_cast<uint8_t>(lines);                              // C
  config.colsb[1] = static_cast<uint16_t>(step), config.rows[1] = static_cast<uint8_t>(lines);      // A
  config.colsb[2] = 64, config.rows[2] = static_cast<uint8_t>(step / 4);                            // B
  config.colsb[3] = 64, config.rows[3] = config.rows[0];                                            // C and B of another strip
  config.colsb[4] = 64, config.rows[4] = config.rows[2];
  config.colsb[5] = config.colsb[1], config.rows[5] = config.rows[1];                               // A of another block
  asm volatile("" ::"r"(&config) : "memory");  // GCC 12 would drop the stores
  _tile_loadconfig(&config);
}

void close() { _tile_release(); }

// What a tile B holds in place of a code: code - offset, by a subtraction or by the table; or that times 2^(8 - bits), which
// costs nothing. The factor is taken out of the scale, so a scale must not be too small for that: those of f16 never are.
enum class Signed { none, plain, table, minus, top };

Signed kind(const StripLayout& layout) {
  const bool half = layout.offset == 1 << (layout.bits - 1);
  const bool f16 = layout.scale == StripScale::f16 || layout.scale == StripScale::super;
  if (!layout.table && half && (f16 || layout.bits == 8)) return Signed::top;
  if (layout.bits == 8) return Signed::none;
  if (!layout.table) return layout.offset == 0 ? Signed::plain : Signed::minus;
  for (int i = 0; i < 1 << layout.bits; ++i)
    if (layout.code_of[i] - layout.offset > 127) return Signed::none;
  return Signed::table;
}

// What unpacking needs: the levels, or in every byte what is to be subtracted.
__m512i constant(const StripLayout& layout) {
  const __m512i offset = byte_set(layout.offset);
  return layout.table ? _mm512_sub_epi8(table_of(layout), offset) : offset;
}

using Unpack = void(const uint8_t* p, int blocks, __m512i table, uint8_t* to);

template <int kBits, Signed kSigned, int kQuad = 0>
[[gnu::always_inline]] inline void unpack_block(const uint8_t* p, __m512i table, uint8_t* to) {
  if constexpr (kSigned == Signed::top)
    _mm512_store_si512(to + 64 * kQuad, top_code<kBits, kQuad>(p));
  else if constexpr (kSigned == Signed::minus)
    _mm512_store_si512(to + 64 * kQuad, _mm512_sub_epi8(code<kBits, false, kQuad>(p, table), table));
  else
    _mm512_store_si512(to + 64 * kQuad, code<kBits, kSigned == Signed::table, kQuad>(p, table));
  if constexpr (kQuad < 7) unpack_block<kBits, kSigned, kQuad + 1>(p, table, to);
}

template <int kBits, Signed kSigned>
void unpack(const uint8_t* p, int blocks, __m512i table, uint8_t* to) {
  for (int b = 0; b < blocks; ++b, p += 64 * kBits, to += 512) unpack_block<kBits, kSigned>(p, table, to);
}

template <int kBits>
Unpack* unpacking(Signed how) {
  if (how == Signed::top) return unpack<kBits, Signed::top>;
  if (how == Signed::minus) return unpack<kBits, Signed::minus>;
  if (kBits <= 4 && how == Signed::table) return unpack<kBits, kBits <= 4 ? Signed::table : Signed::plain>;
  return unpack<kBits, Signed::plain>;
}

Unpack* unpacking(const StripLayout& layout) {
  const Signed how = kind(layout);
  switch (layout.bits) {
    case 1: return unpacking<1>(how);
    case 2: return unpacking<2>(how);
    case 3: return unpacking<3>(how);
    case 4: return unpacking<4>(how);
    case 5: return unpacking<5>(how);
    case 6: return unpacking<6>(how);
    default: return unpacking<8>(how);
  }
}

constexpr int kRunCols = 256, kPair = 2;
constexpr int64_t kTilesFar = 4096;

// What of two strips goes through the tiles at a time, unpacked: up to kRunCols columns of each.
struct Run {
  int strips = 0, groups = 0;
  alignas(kPage) uint8_t codes[kPair][kStripRows * kRunCols];
  alignas(64) float scale[kPair][kMostGroups * kStripRows], min[kPair][kMostGroups * kStripRows];
};

// Strips in lockstep, pair after pair, run after run.
struct Walk {
  const Lockstep& p;
  Signed how;
  Unpack* unpack;
  __m512i unpacked_by;
  __m512 factor;            // takes that of the codes out of the scales
  int a_unit, units_a_run;  // groups of a unit

  int64_t units(int64_t u) const { return p.units - u < units_a_run ? p.units - u : units_a_run; }
  const uint8_t* unit(int64_t u, int s) const { return p.strip[s] + (u < p.units ? u : p.units) * p.layout.unit_bytes; }

  // The run of the strips from s on that begins with unit u, ready for the tiles.
  void read(int64_t u, int s, Run& run) const {
    const int64_t count = units(u), groups = p.groups - u * a_unit;
    run.strips = p.streams - s < kPair ? p.streams - s : kPair;
    run.groups = static_cast<int>(groups < count * a_unit ? groups : count * a_unit);
    for (int i = 0; i < run.strips; ++i)
      for (int64_t k = 0; k < count; ++k) {
        const int64_t first = k * a_unit, left = run.groups - first, at = first * kStripRows;
        read(unit(u + k, s + i), static_cast<int>(left < a_unit ? left : a_unit), run.codes[i] + k * p.layout.unit * kStripRows,
             run.scale[i] + at, run.min[i] + at);
      }
  }
  [[gnu::always_inline]] void read(const uint8_t* from, int groups, uint8_t* codes, float* scale, float* min) const {
    const StripLayout& layout = p.layout;
    unpack(from + layout.header, layout.unit / 32, unpacked_by, codes);
    scales(layout, from, groups, scale, min);
    if (how != Signed::top) return;
    for (int g = 0; g < groups; ++g)
      _mm512_store_ps(scale + kStripRows * g, _mm512_mul_ps(_mm512_load_ps(scale + kStripRows * g), factor));
  }
};

// A run times a block of activation rows.
struct Tiles {
  const Run& run;
  const uint8_t* a;
  int steps_a_group;
  bool has_min;
  const float* sums;
  int64_t run_stride;
  float* to[kPair];
  // Wanted in the second cache, and in the first; so many lines of each a group and strip. A burst of them would stall.
  const uint8_t *far[kPair], *near[kPair];
  int lines;
};

template <int kCount>
[[gnu::always_inline]] inline void combine(const Tiles& t, int i, int g, const int32_t* c, __m512* acc) {
  const __m512 scale = _mm512_load_ps(t.run.scale[i] + kStripRows * g);
#pragma GCC unroll 8
  for (int r = 0; r < kCount; ++r) {
    const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(zmm(c + kStripRows * r), 8), zmm(c + kStripRows * (kCount + r)));
    acc[r] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum), acc[r]);
  }
  if (!t.has_min) return;
  const __m512 min = _mm512_load_ps(t.run.min[i] + kStripRows * g);
#pragma GCC unroll 8
  for (int r = 0; r < kCount; ++r) acc[r] = _mm512_fmadd_ps(min, _mm512_set1_ps(t.sums[r * t.run_stride + g]), acc[r]);
}

// A group after its product a tile is combined.
template <int kCount, int kStep, int kStrips>
void tiles(const Tiles& t) {
  constexpr int64_t kTile = 16 * kStep;
  alignas(64) int32_t c[kPair][2][2 * kBlockRows * kStripRows];
  __m512 acc0[kCount], acc1[kCount];
#pragma GCC unroll 8
  for (int r = 0; r < kCount; ++r) {
    acc0[r] = _mm512_load_ps(t.to[0] + kStripRows * r);
    if (kStrips > 1) acc1[r] = _mm512_load_ps(t.to[1] + kStripRows * r);
  }
  const int steps_a_group = kStep < 64 ? 1 : t.steps_a_group;
  const auto sums = [&](int i, int g) __attribute__((always_inline)) { return c[i][g % 2]; };
  const uint8_t *a = t.a, *b = t.run.codes[0];
  const int groups = t.run.groups;
  for (int g = 0; g < groups; ++g) {
    _tile_zero(0);
    if (kStrips > 1) _tile_zero(3);
    for (int k = 0; k < steps_a_group; ++k, a += kTile, b += kTile) {
      _tile_loadd(1, a, kStep);
      _tile_loadd(2, b, 64);
      _tile_dpbssd(0, 1, 2);
      if (kStrips == 1) continue;
      _tile_loadd(4, b + kStripRows * kRunCols, 64);
      _tile_dpbssd(3, 1, 4);
    }
    for (int i = t.lines * g; i < t.lines * (g + 1); ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(t.far[0] + 64 * i), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(t.near[0] + 64 * i), _MM_HINT_T0);
      if (kStrips == 1) continue;
      _mm_prefetch(reinterpret_cast<const char*>(t.far[1] + 64 * i), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(t.near[1] + 64 * i), _MM_HINT_T0);
    }
    if (g > 0) {
      combine<kCount>(t, 0, g - 1, sums(0, g - 1), acc0);
      if (kStrips > 1) combine<kCount>(t, 1, g - 1, sums(1, g - 1), acc1);
    }
    _tile_stored(0, sums(0, g), 64);
    if (kStrips > 1) _tile_stored(3, sums(1, g), 64);
  }
  combine<kCount>(t, 0, groups - 1, sums(0, groups - 1), acc0);
  if (kStrips > 1) combine<kCount>(t, 1, groups - 1, sums(1, groups - 1), acc1);
#pragma GCC unroll 8
  for (int r = 0; r < kCount; ++r) {
    _mm512_store_ps(t.to[0] + kStripRows * r, acc0[r]);
    if (kStrips > 1) _mm512_store_ps(t.to[1] + kStripRows * r, acc1[r]);
  }
}

template <int kCount, int kStep>
void tiles(const Tiles& t) {
  t.run.strips == 1 ? tiles<kCount, kStep, 1>(t) : tiles<kCount, kStep, 2>(t);
}
template <int kCount>
void tiles(int step, const Tiles& t) {
  switch (step) {
    case 16: return tiles<kCount, 16>(t);
    case 32: return tiles<kCount, 32>(t);
    default: return tiles<kCount, 64>(t);
  }
}
void tiles(int count, int step, const Tiles& t) {
  switch (count) {
    case 4: return tiles<4>(step, t);
    case 6: return tiles<6>(step, t);
    default: return tiles<8>(step, t);
  }
}

void multiply(const Lockstep& p) {
  const StripLayout& layout = p.layout;
  const Signed how = kind(layout);
  if (p.rows < fewest(layout) || how == Signed::none) return avx512_multiply(p);
  const Panels shape = panels(p.rows, p.units * layout.unit, layout);
  if (pairs(p, shape)) return;
  const int step = step_of(layout.group);
  const Walk w{p, how, unpacking(layout), constant(layout),
               _mm512_set1_ps(how == Signed::top ? 1.0f / static_cast<float>(1 << (8 - layout.bits)) : 1.0f),
               layout.unit / layout.group, kRunCols / layout.unit};
  Run runs[2];
  start(p, shape.blocks * shape.rows_a_block);
  w.read(0, 0, runs[0]);
  int turn = 0;
  for (int64_t u = 0; u < p.units; u += w.units_a_run)
    for (int s = 0; s < p.streams; s += kPair, turn ^= 1) {
      const Run& now = runs[turn];
      const int s1 = s + kPair < p.streams ? s + kPair : 0;
      const int64_t u1 = s1 == 0 ? u + w.units_a_run : u;
      if (u1 < p.units) w.read(u1, s1, runs[turn ^ 1]);
      asm volatile("" ::: "memory");  // tile loads do not say that they read memory
      Tiles tile{now, p.panels + u * layout.unit * 2 * kBlockRows, layout.group / step, layout.has_min, p.sums + u * w.a_unit,
                 p.run_stride, {}, {}, {}, static_cast<int>(w.units(u) * layout.unit_bytes / 64 + now.groups - 1) / now.groups};
      for (int i = 0; i < now.strips; ++i) {
        tile.to[i] = p.acc + (s + i) * p.acc_rows * kStripRows;
        tile.far[i] = far_of(w.unit(u, s + i), p.end[s + i], p.next[s + i], kTilesFar);
        tile.near[i] = w.unit(u + w.units_a_run, s + i);
      }
      for (int64_t block = 0; block < shape.blocks; ++block) {
        tiles(shape.rows_a_block, step, tile);
        tile.lines = 0;
        tile.a += shape.bytes_a_block, tile.sums += shape.rows_a_block * p.run_stride;
        for (int i = 0; i < now.strips; ++i) tile.to[i] += shape.rows_a_block * kStripRows;
      }
    }
  finish(p);
}

}  // namespace

const Steps amx_steps = {matmul::avx512_quantize, multiply, panels, fill, open, close};

}  // namespace gemloupe::strips

#endif
