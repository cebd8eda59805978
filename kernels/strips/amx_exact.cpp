#if defined(__AMX_TILE__)

#include "kernels/strips/vector.h"

// From a few activation rows on: the high bytes of up to eight rows and their low bytes are the lines of one tile A, sixteen
// weight rows' codes those of B. A product is the group sums of 8 x 16 outputs, twice; vectors combine them as VNNI does.
namespace gemloupe::strips {
namespace {

constexpr int kBlockRows = 8;  // activation rows in a tile

// With fewer activation rows VNNI is as fast: a product's tile has to be stored and combined however few columns it sums.
[[gnu::always_inline]] inline int64_t fewest(int group) { return group == 16 ? 9 : group == 32 ? 5 : 3; }

struct alignas(64) Config {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t colsb[16] = {};
  uint8_t rows[16] = {};
};

// Columns that one tile product sums.
[[gnu::always_inline]] inline int step_of(int group) { return group < 64 ? group : 64; }

Panels panels(int64_t rows, int64_t padded, int group) {
  Panels p;
  if (rows < fewest(group)) return p;
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

// As code(), with the index's highest bit at bit 7 and inverted: a number with a sign. The inversion costs nothing: a one
// lies there, and the plane with the highest bit is added without carry.
template <int kBits, int kQuad>
[[gnu::always_inline]] inline __m512i top_code(const uint8_t* p) {
  constexpr int kFour = kBits & 4, kTwo = kBits & 2, kOne = kBits & 1, kUp = 8 - kBits;
  const __m512i one = byte_set(0x80);
  if constexpr (kBits == 8) return _mm512_xor_si512(zmm(p + 64 * kQuad), one);
  __m512i v = one;
  const auto plane = [&](__m512i bits, int mask) __attribute__((always_inline)) {
    v = _mm512_ternarylogic_epi32(v, bits, byte_set(mask), 0x78);  // v ^ (bits & mask)
  };
  if constexpr (kFour != 0) plane(moved<kQuad % 2 * 4, kUp>(zmm(p + 64 * (kQuad / 2))), 15 << kUp);
  if constexpr (kTwo != 0) plane(moved<kQuad % 4 * 2, kUp + kFour>(zmm(p + 64 * (kFour + kQuad / 4))), 3 << (kUp + kFour));
  if constexpr (kOne != 0) plane(moved<kQuad, kUp + kFour + kTwo>(zmm(p + 64 * (kFour + kTwo))), 1 << (kUp + kFour + kTwo));
  return v;
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

// The part of a block of activation rows that a unit of one strip adds.
struct Tiles {
  const uint8_t *a, *b;
  int groups, step, steps_a_group;
  const float *scale, *min;  // min: or null
  const float* sums;
  int64_t run_stride;
  // Wanted in the second cache, and in the first; so many lines of each a group. A burst of them would stall.
  const uint8_t *far, *near;
  int lines;
};

template <int kCount>
[[gnu::always_inline]] inline void combine(const Tiles& p, int g, const int32_t* c, __m512* acc) {
  const __m512 scale = _mm512_load_ps(p.scale + kStripRows * g);
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(zmm(c + kStripRows * i), 8), zmm(c + kStripRows * (kCount + i)));
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
    if (g < p.groups && g % 2 == 0) {
      _tile_zero(0);
      for (int k = 0; k < p.steps_a_group; ++k, a += a_bytes, b += b_bytes) {
        _tile_loadd(4, a, p.step);
        _tile_loadd(6, b, 64);
        _tile_dpbssd(0, 4, 6);
      }
      _tile_stored(0, c[g % 4], 64);
    } else if (g < p.groups) {
      _tile_zero(1);
      for (int k = 0; k < p.steps_a_group; ++k, a += a_bytes, b += b_bytes) {
        _tile_loadd(5, a, p.step);
        _tile_loadd(7, b, 64);
        _tile_dpbssd(1, 5, 7);
      }
      _tile_stored(1, c[g % 4], 64);
    }
    for (int i = p.lines * g; i < p.lines * (g + 1); ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(p.far + 64 * i), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(p.near + 64 * i), _MM_HINT_T0);
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

// Scales without the factor 2^up of the codes.
void take_out(int up, int groups, float* scale) {
  const __m512 factor = _mm512_set1_ps(1.0f / static_cast<float>(1 << up));
  for (int g = 0; g < groups; ++g)
    _mm512_store_ps(scale + kStripRows * g, _mm512_mul_ps(_mm512_load_ps(scale + kStripRows * g), factor));
}

void multiply(const Lockstep& p) {
  const StripLayout& layout = p.layout;
  const Signed how = kind(layout);
  if (p.rows < fewest(layout.group) || how == Signed::none) return avx512_multiply(p);
  alignas(64) uint8_t codes[kStripRows * 256];
  alignas(64) float scale[kMostGroups * kStripRows], min[kMostGroups * kStripRows];
  const Panels shape = panels(p.rows, p.units * layout.unit, layout.group);
  const int a_unit = layout.unit / layout.group;
  const __m512i unpacked_by = constant(layout);
  Unpack* const unpack = unpacking(layout);
  Tiles tile;
  tile.b = codes, tile.scale = scale, tile.min = layout.has_min ? min : nullptr;
  tile.step = step_of(layout.group), tile.steps_a_group = layout.group / tile.step, tile.run_stride = p.run_stride;
  start(p, shape.blocks * shape.rows_a_block);
  for (int64_t u = 0; u < p.units; ++u) {
    tile.groups = static_cast<int>(p.groups - u * a_unit < a_unit ? p.groups - u * a_unit : a_unit);
    for (int s = 0; s < p.streams; ++s) {
      const uint8_t* unit = p.strip[s] + u * layout.unit_bytes;
      scales(layout, unit, tile.groups, scale, min);
      if (how == Signed::top && layout.bits < 8) take_out(8 - layout.bits, tile.groups, scale);
      unpack(unit + layout.header, layout.unit / 32, unpacked_by, codes);
      asm volatile("" ::: "memory");  // tile loads do not say that they read memory
      tile.far = far_of(unit, p.end[s], p.next[s]);
      tile.near = s + 1 < p.streams ? p.strip[s + 1] + u * layout.unit_bytes : p.strip[0] + (u + 1) * layout.unit_bytes;
      tile.lines = (layout.unit_bytes / 64 + a_unit - 1) / a_unit;
      for (int64_t block = 0; block < shape.blocks; ++block, tile.lines = 0) {
        const int64_t t = block * shape.rows_a_block;
        tile.a = p.panels + block * shape.bytes_a_block + u * layout.unit * 2 * shape.rows_a_block;
        tile.sums = p.sums + t * p.run_stride + u * a_unit;
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
