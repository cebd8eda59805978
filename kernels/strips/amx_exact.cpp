#if defined(__AMX_TILE__)

#include "kernels/strips/vector.h"

// From a few activation rows on: the high bytes of up to eight rows and their low bytes are the lines of one tile A, sixteen
// weight rows' codes those of B. A product is the group sums of 8 x 16 outputs, twice; vectors combine them as VNNI does.
namespace gemloupe::strips {
namespace {

constexpr int kBlockRows = 8;  // activation rows in a tile

// A tile load waits for a store before it whose address has the same last twelve bits. So codes and panels lie alike in their
// pages, and what is stored meanwhile lies where the loads have passed.
constexpr int kPage = 4096;

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
  const Panels shape = panels(p.rows, p.layout.unit, p.layout.group);
  if (shape.blocks == 0) return;
  const int lines = 2 * shape.rows_a_block, step = step_of(p.layout.group);
  Config config;
  config.colsb[0] = 64, config.rows[0] = static_cast<uint8_t>(lines);                              // C
  config.colsb[1] = static_cast<uint16_t>(step), config.rows[1] = static_cast<uint8_t>(lines);      // A
  config.colsb[2] = 64, config.rows[2] = static_cast<uint8_t>(step / 4);                            // B
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

// kBlocks blocks of 32 columns.
template <int kBlocks, int kBits>
[[gnu::always_inline]] inline void unpack(Signed how, const uint8_t* p, __m512i table, uint8_t* to) {
  for (int b = 0; b < kBlocks; ++b, p += 64 * kBits, to += 512) {
    if (how == Signed::top) unpack_block<kBits, Signed::top>(p, table, to);
    else if (how == Signed::minus) unpack_block<kBits, Signed::minus>(p, table, to);
    else if (kBits <= 4 && how == Signed::table) unpack_block<kBits, kBits <= 4 ? Signed::table : Signed::plain>(p, table, to);
    else unpack_block<kBits, Signed::plain>(p, table, to);
  }
}
template <int kBlocks>
[[gnu::always_inline]] inline void unpack(int bits, Signed how, const uint8_t* p, __m512i table, uint8_t* to) {
  switch (bits) {
    case 1: return unpack<kBlocks, 1>(how, p, table, to);
    case 2: return unpack<kBlocks, 2>(how, p, table, to);
    case 3: return unpack<kBlocks, 3>(how, p, table, to);
    case 4: return unpack<kBlocks, 4>(how, p, table, to);
    case 5: return unpack<kBlocks, 5>(how, p, table, to);
    case 6: return unpack<kBlocks, 6>(how, p, table, to);
    default: return unpack<kBlocks, 8>(how, p, table, to);
  }
}

constexpr int kRunCols = 256;

// What of a strip goes through the tiles at a time, and where it is put: up to kRunCols columns.
struct Run {
  const uint8_t* unit = nullptr;
  int units = 0, groups = 0, products = 0;
  uint8_t* codes = nullptr;
  float *scale = nullptr, *min = nullptr;
};

// Several strips in lockstep, run after run.
struct Walk {
  const Lockstep& p;
  Signed how;
  __m512i table;
  int step, a_unit, units_a_run;  // columns of a tile product, groups of a unit
  int64_t count;                  // of all runs
  int unit_shift;
  alignas(kPage) uint8_t codes[2][kStripRows * kRunCols];
  alignas(64) float scale[2][kMostGroups * kStripRows], min[2][kMostGroups * kStripRows];

  int64_t first_unit(int64_t i) const { return i / p.streams * units_a_run; }
  const uint8_t* unit(int64_t i) const { return p.strip[i % p.streams] + first_unit(i) * p.layout.unit_bytes; }
  Run run(int64_t i) {
    Run r;
    r.codes = codes[i % 2], r.scale = scale[i % 2], r.min = p.layout.has_min ? min[i % 2] : nullptr;
    if (i >= count) return r;
    const int64_t units = p.units - first_unit(i), groups = p.groups - first_unit(i) * a_unit;
    r.unit = unit(i);
    r.units = static_cast<int>(units < units_a_run ? units : units_a_run);
    r.groups = static_cast<int>(groups < r.units * a_unit ? groups : r.units * a_unit);
    r.products = r.groups * (p.layout.group / step);
    return r;
  }
};

// The part of a block of activation rows that a run adds.
struct Tiles {
  const Walk& walk;
  const Run& now;
  Run next;  // is unpacked meanwhile
  const uint8_t* a;
  const float* sums;
  // Wanted in the second cache, and in the first; so many lines of each a product. A burst of them would stall.
  const uint8_t *far, *near;
  int lines;
};

template <int kCount>
[[gnu::always_inline]] inline void combine(const Tiles& t, int g, const int32_t* c, __m512* acc) {
  const __m512 scale = _mm512_load_ps(t.now.scale + kStripRows * g);
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(zmm(c + kStripRows * i), 8), zmm(c + kStripRows * (kCount + i)));
    acc[i] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum), acc[i]);
  }
  if (!t.now.min) return;
  const __m512 min = _mm512_load_ps(t.now.min + kStripRows * g);
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) acc[i] = _mm512_fmadd_ps(min, _mm512_set1_ps(t.sums[i * t.walk.p.run_stride + g]), acc[i]);
}

// What product q of this run has time for: so much of the next one as it multiplies itself.
template <int kStep>
[[gnu::always_inline]] inline void unpack_ahead(const Walk& w, const Run& run, int q) {
  constexpr int kBlocks = kStep == 64 ? 2 : 1;
  if (q >= run.products || (kStep == 16 && q % 2 != 0)) return;
  const StripLayout& layout = w.p.layout;
  const int col = kStep * q;
  const uint8_t* from = run.unit + ((col >> w.unit_shift) + 1) * layout.header + col * 2 * layout.bits;
  unpack<kBlocks>(layout.bits, w.how, from, w.table, run.codes + kStripRows * col);
}

// kLate groups after its product a tile is combined.
template <int kCount, int kStep>
void tiles(const Tiles& t, float* to) {
  constexpr int kLate = 2;
  constexpr int64_t kTile = 16 * kStep;
  alignas(kPage) uint8_t c[kLate][2 * kPage];
  __m512 acc[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) acc[i] = _mm512_load_ps(to + kStripRows * i);
  const int steps_a_group = kStep < 64 ? 1 : t.walk.p.layout.group / kStep;
  const auto sums = [&](int g) __attribute__((always_inline)) {  // of group g, just before the next product's tiles
    return reinterpret_cast<int32_t*>(c[g % kLate] + (kTile * steps_a_group * (g + 1) + kPage - 1024) % kPage);
  };
  int g = 0;
  for (int q = 0, k = 0; q < t.now.products; ++q) {
    if (k == 0) _tile_zero(0);
    _tile_loadd(1, t.a + kTile * q, kStep);
    _tile_loadd(2, t.now.codes + kTile * q, 64);
    _tile_dpbssd(0, 1, 2);
    unpack_ahead<kStep>(t.walk, t.next, q);
    for (int i = t.lines * q; i < t.lines * (q + 1); ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(t.far + 64 * i), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(t.near + 64 * i), _MM_HINT_T0);
    }
    if (++k < steps_a_group) continue;
    if (g >= kLate) combine<kCount>(t, g - kLate, sums(g - kLate), acc);
    _tile_stored(0, sums(g), 64);
    ++g, k = 0;
  }
  for (int late = g < kLate ? 0 : g - kLate; late < g; ++late) combine<kCount>(t, late, sums(late), acc);
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) _mm512_store_ps(to + kStripRows * i, acc[i]);
}

template <int kCount>
void tiles(const Tiles& t, float* to) {
  switch (t.walk.step) {
    case 16: return tiles<kCount, 16>(t, to);
    case 32: return tiles<kCount, 32>(t, to);
    default: return tiles<kCount, 64>(t, to);
  }
}
void tiles(int count, const Tiles& t, float* to) {
  switch (count) {
    case 4: return tiles<4>(t, to);
    case 6: return tiles<6>(t, to);
    default: return tiles<8>(t, to);
  }
}

void read_scales(const Walk& w, const Run& run) {
  const StripLayout& layout = w.p.layout;
  for (int u = 0; u < run.units; ++u) {
    const int first = u * w.a_unit, left = run.groups - first;
    float* const min = run.min ? run.min + first * kStripRows : nullptr;
    scales(layout, run.unit + u * layout.unit_bytes, left < w.a_unit ? left : w.a_unit, run.scale + first * kStripRows, min);
  }
  if (w.how != Signed::top || layout.bits == 8) return;
  const __m512 factor = _mm512_set1_ps(1.0f / static_cast<float>(1 << (8 - layout.bits)));  // that of the codes
  for (int g = 0; g < run.groups; ++g)
    _mm512_store_ps(run.scale + kStripRows * g, _mm512_mul_ps(_mm512_load_ps(run.scale + kStripRows * g), factor));
}

void unpack_all(const Walk& w, const Run& run) {
  for (int q = 0; q < run.products; ++q) {
    if (w.step == 16) unpack_ahead<16>(w, run, q);
    else if (w.step == 32) unpack_ahead<32>(w, run, q);
    else unpack_ahead<64>(w, run, q);
  }
}

void multiply(const Lockstep& p) {
  const StripLayout& layout = p.layout;
  const Signed how = kind(layout);
  if (p.rows < fewest(layout.group) || how == Signed::none) return avx512_multiply(p);
  const Panels shape = panels(p.rows, p.units * layout.unit, layout.group);
  const int units_a_run = kRunCols / layout.unit;
  Walk w{p, how, constant(layout), step_of(layout.group), layout.unit / layout.group, units_a_run,
         (p.units + units_a_run - 1) / units_a_run * p.streams, __builtin_ctz(static_cast<unsigned>(layout.unit))};
  start(p, shape.blocks * shape.rows_a_block);
  Run now = w.run(0);
  read_scales(w, now);
  unpack_all(w, now);
  for (int64_t i = 0; i < w.count; ++i) {
    const int64_t s = i % p.streams;
    Run next = w.run(i + 1);
    read_scales(w, next);
    asm volatile("" ::: "memory");  // tile loads do not say that they read memory
    const uint8_t* const far = far_of(now.unit, p.end[s], p.next[s]);
    const int lines = (now.units * layout.unit_bytes / 64 + now.products - 1) / now.products;
    for (int64_t block = 0; block < shape.blocks; ++block) {
      const int64_t t = block * shape.rows_a_block;
      const uint8_t* const a = p.panels + block * shape.bytes_a_block + w.first_unit(i) * layout.unit * 2 * kBlockRows;
      const float* const sums = p.sums + t * p.run_stride + w.first_unit(i) * w.a_unit;
      tiles(shape.rows_a_block, {w, now, block == 0 ? next : Run{}, a, sums, far, w.unit(i + 2), block == 0 ? lines : 0},
            p.acc + (s * p.acc_rows + t) * kStripRows);
    }
    now = next;
  }
  finish(p);
}

}  // namespace

const Steps amx_steps = {matmul::avx512_quantize, multiply, panels, fill, open, close};

}  // namespace gemloupe::strips

#endif
