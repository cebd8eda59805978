#if defined(__AMX_TILE__)

#include "kernels/strips/vector.h"

// From a few activation rows on: the high bytes of up to eight rows and their low bytes are the lines of one tile A, sixteen
// weight rows' codes those of B. A product is the group sums of 8 x 16 outputs, twice; vectors combine them as VNNI does.
namespace gemloupe::strips {
namespace {

constexpr int kBlockRows = 8, kFewest = 3;  // activation rows in a tile, and those that are left to VNNI

struct alignas(64) Config {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t colsb[16] = {};
  uint8_t rows[16] = {};
};

// Columns that one tile product sums.
[[gnu::always_inline]] inline int step_of(int group) { return group < 64 ? group : 64; }

Panels panels(int64_t rows, int64_t padded, int) {
  Panels p;
  if (rows < kFewest) return p;
  p.blocks = (rows + kBlockRows - 1) / kBlockRows;
  p.rows_a_block = static_cast<int>((rows + p.blocks - 1) / p.blocks);
  p.bytes_a_block = 2 * padded * p.rows_a_block;
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
        uint8_t* at = to + col / step * step * 2 * count + i * step + col % step;
        _mm_store_si128(reinterpret_cast<__m128i*>(at), quarter[h]);
        _mm_store_si128(reinterpret_cast<__m128i*>(at + count * step), quarter[2 + h]);
      }
    }
  }
}

void open(const Lockstep& p) {
  const Panels shape = panels(p.rows, p.layout.unit, p.layout.group);
  if (shape.blocks == 0) return;
  const int lines = 2 * shape.rows_a_block, step = step_of(p.layout.group);
  Config config;
  for (int t = 0; t < 4; ++t) config.colsb[t] = 64, config.rows[t] = static_cast<uint8_t>(lines);  // C
  for (int t = 4; t < 6; ++t) config.colsb[t] = static_cast<uint16_t>(step), config.rows[t] = static_cast<uint8_t>(lines);  // A
  for (int t = 6; t < 8; ++t) config.colsb[t] = 64, config.rows[t] = static_cast<uint8_t>(step / 4);  // B
  asm volatile("" ::"r"(&config) : "memory");  // GCC 12 would drop the stores
  _tile_loadconfig(&config);
}

void close() { _tile_release(); }

template <int kBits, bool kTable>
void unpack(const uint8_t* p, const uint8_t* end, const uint8_t* next, int blocks, __m512i table, uint8_t* to) {
  for (int b = 0; b < blocks; ++b, p += 64 * kBits, to += 512) {
    ask<kBits>(p, end, next);
    const auto quad = [&]<int kQuad>() __attribute__((always_inline)) {
      _mm512_store_si512(to + 64 * kQuad, code<kBits, kTable, kQuad>(p, table));
    };
    quad.template operator()<0>(), quad.template operator()<1>(), quad.template operator()<2>(), quad.template operator()<3>();
    quad.template operator()<4>(), quad.template operator()<5>(), quad.template operator()<6>(), quad.template operator()<7>();
  }
}

using Unpack = void(const uint8_t* p, const uint8_t* end, const uint8_t* next, int blocks, __m512i table, uint8_t* to);

Unpack* unpacking(const StripLayout& layout) {
  switch (layout.bits) {
    case 1: return layout.table ? unpack<1, true> : unpack<1, false>;
    case 2: return layout.table ? unpack<2, true> : unpack<2, false>;
    case 3: return layout.table ? unpack<3, true> : unpack<3, false>;
    case 4: return layout.table ? unpack<4, true> : unpack<4, false>;
    case 5: return unpack<5, false>;
    case 6: return unpack<6, false>;
    default: return unpack<8, false>;
  }
}

// The part of a block of activation rows that a unit of one strip adds.
struct Tiles {
  const uint8_t *a, *b;
  int groups, step, steps_a_group;
  const float *scale, *min;  // min: or null
  const int32_t* correction;
  const float* sums;
  int64_t run_stride;
};

template <int kCount>
[[gnu::always_inline]] inline void combine(const Tiles& p, int g, const int32_t* c, __m512* acc) {
  const __m512 scale = _mm512_load_ps(p.scale + kStripRows * g);
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(zmm(c + kStripRows * i), 8), zmm(c + kStripRows * (kCount + i)));
    sum = _mm512_add_epi32(sum, _mm512_set1_epi32(p.correction[i * p.run_stride + g]));
    acc[i] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum), acc[i]);
  }
  if (!p.min) return;
  const __m512 min = _mm512_load_ps(p.min + kStripRows * g);
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) acc[i] = _mm512_fmadd_ps(min, _mm512_set1_ps(p.sums[i * p.run_stride + g]), acc[i]);
}

// kLate groups after its product a tile is combined.
template <int kCount>
void tiles(const Tiles& p, float* to) {
  constexpr int kLate = 2;
  alignas(64) int32_t c[4][2 * kBlockRows * kStripRows];
  __m512 acc[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) acc[i] = _mm512_load_ps(to + kStripRows * i);
  const int64_t a_bytes = 2 * kCount * p.step, b_bytes = kStripRows * p.step;
  const uint8_t *a = p.a, *b = p.b;
  for (int g = 0; g < p.groups + kLate; ++g) {
    if (g < p.groups) {
      if (g % 2 == 0) {
        _tile_zero(0);
        for (int k = 0; k < p.steps_a_group; ++k, a += a_bytes, b += b_bytes) {
          _tile_loadd(4, a, p.step);
          _tile_loadd(6, b, 64);
          _tile_dpbsud(0, 4, 6);
        }
        _tile_stored(0, c[g % 4], 64);
      } else {
        _tile_zero(1);
        for (int k = 0; k < p.steps_a_group; ++k, a += a_bytes, b += b_bytes) {
          _tile_loadd(5, a, p.step);
          _tile_loadd(7, b, 64);
          _tile_dpbsud(1, 5, 7);
        }
        _tile_stored(1, c[g % 4], 64);
      }
    }
    if (g >= kLate) combine<kCount>(p, g - kLate, c[(g - kLate) % 4], acc);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) _mm512_store_ps(to + kStripRows * i, acc[i]);
}

void tiles(int count, const Tiles& p, float* to) {
  switch (count) {
    case 3: return tiles<3>(p, to);
    case 4: return tiles<4>(p, to);
    case 5: return tiles<5>(p, to);
    case 6: return tiles<6>(p, to);
    case 7: return tiles<7>(p, to);
    default: return tiles<8>(p, to);
  }
}

void multiply(const Lockstep& p) {
  if (p.rows < kFewest) return avx512_multiply(p);
  alignas(64) uint8_t codes[kStripRows * 256];
  alignas(64) float scale[kMostGroups * kStripRows], min[kMostGroups * kStripRows];
  const StripLayout& layout = p.layout;
  const Panels shape = panels(p.rows, p.units * layout.unit, layout.group);
  const int a_unit = layout.unit / layout.group, step = step_of(layout.group);
  const __m512i table = table_of(layout);
  Unpack* const unpack = unpacking(layout);
  start(p, shape.blocks * shape.rows_a_block);
  for (int64_t u = 0; u < p.units; ++u) {
    Tiles tile;
    tile.b = codes, tile.scale = scale, tile.min = layout.has_min ? min : nullptr;
    tile.groups = static_cast<int>(p.groups - u * a_unit < a_unit ? p.groups - u * a_unit : a_unit);
    tile.step = step, tile.steps_a_group = layout.group / step, tile.run_stride = p.run_stride;
    for (int s = 0; s < p.streams; ++s) {
      const uint8_t* unit = p.strip[s] + u * layout.unit_bytes;
      for (int i = 0; i < layout.header; i += 64) ask<1>(unit + i, p.end[s], p.next[s]);
      scales(layout, unit, tile.groups, scale, min);
      unpack(unit + layout.header, p.end[s], p.next[s], layout.unit / 32, table, codes);
      asm volatile("" ::: "memory");  // tile loads do not say that they read memory
      for (int64_t block = 0; block < shape.blocks; ++block) {
        const int64_t t = block * shape.rows_a_block;
        tile.a = p.panels + block * shape.bytes_a_block + u * layout.unit * 2 * shape.rows_a_block;
        tile.correction = p.correction + t * p.run_stride + u * a_unit, tile.sums = p.sums + t * p.run_stride + u * a_unit;
        tiles(shape.rows_a_block, tile, p.acc + (s * p.acc_rows + t) * kStripRows);
      }
    }
  }
  finish(p);
}

}  // namespace

const Steps amx_steps = {matmul::avx512_quantize, multiply, panels, fill, open, close};

}  // namespace gemloupe::strips

#endif
