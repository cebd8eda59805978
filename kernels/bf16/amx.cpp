#if defined(__AMX_BF16__)

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of its own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

namespace gemloupe::tiles {
namespace {

[[gnu::always_inline]] inline __m512i round_pair(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

}  // namespace
}  // namespace gemloupe::tiles

#include "kernels/bf16/expand_avx512.h"

namespace gemloupe::tiles {
namespace {

constexpr int64_t kBytes = kLines * 2;  // of a tile of 16 x 32

struct alignas(64) Config {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t line_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t lines[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
const Config config;

void begin() { _tile_loadconfig(&config); }
void end() { _tile_release(); }

void pack(const float* const* x, int rows, int64_t cols, uint8_t* to) {
  const int64_t blocks = (cols + kTileBlock - 1) / kTileBlock;
  for (int r = 0; r < kTile; ++r)
    for (int64_t b = 0; b < blocks; ++b)
      _mm512_storeu_si512(to + b * kBytes + 64 * r, r < rows ? Single::load(x[r] + b * kTileBlock, cols - b * kTileBlock)
                                                             : _mm512_setzero_si512());
}

// Tiles 0 .. 3 are sums, 4 and 5 activations, 6 and 7 weights. Two rows of tiles by two strips, or fewer.
template <int kTall, int kWide>
[[gnu::always_inline]] inline void block(const Product& p, const uint8_t* x, float* sums) {
  if (p.first) {
    _tile_zero(0);
    if (kWide > 1) _tile_zero(1);
    if (kTall > 1) _tile_zero(2);
    if (kTall > 1 && kWide > 1) _tile_zero(3);
  } else {
    _tile_loadd(0, sums, 64);
    if (kWide > 1) _tile_loadd(1, sums + kSums, 64);
    if (kTall > 1) _tile_loadd(2, sums + kWide * kSums, 64);
    if (kTall > 1 && kWide > 1) _tile_loadd(3, sums + (kWide + 1) * kSums, 64);
  }
  const uint16_t* w = p.panel;
  for (int64_t b = 0; b < p.blocks; ++b, x += kBytes, w += kLines) {
    _tile_loadd(4, x, 64);
    _tile_loadd(6, w, 64);
    _tile_dpbf16ps(0, 4, 6);
    if (kWide > 1) _tile_loadd(7, w + p.panel_stride, 64);
    if (kWide > 1) _tile_dpbf16ps(1, 4, 7);
    if (kTall > 1) _tile_loadd(5, x + p.x_stride, 64);
    if (kTall > 1) _tile_dpbf16ps(2, 5, 6);
    if (kTall > 1 && kWide > 1) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  if (kWide > 1) _tile_stored(1, sums + kSums, 64);
  if (kTall > 1) _tile_stored(2, sums + kWide * kSums, 64);
  if (kTall > 1 && kWide > 1) _tile_stored(3, sums + (kWide + 1) * kSums, 64);
}

// Finished sums of `rows` rows to y.
void put(const Product& p, const float* sums, int64_t first, int64_t rows) {
  for (int64_t i = 0; i < rows; ++i)
    for (int s = 0; s < p.strips; ++s) {
      const __m512 v = _mm512_load_ps(sums + ((i / kTile * p.strips + s) * kTile + i % kTile) * kTile);
      float* to = p.y[first + i] + p.y_first + s * kTile;
      const int64_t left = p.y_cols - s * kTile;
      if (left >= kTile)
        _mm512_storeu_ps(to, v);
      else
        _mm512_mask_storeu_ps(to, first16(left), v);
    }
}

template <int kTall>
[[gnu::always_inline]] inline void rows(const Product& p, int64_t tile) {
  float* sums = p.sums + tile * p.strips * kSums;
  const uint8_t* x = p.x + tile * p.x_stride;
  if (p.strips == 2)
    block<kTall, 2>(p, x, sums);
  else
    block<kTall, 1>(p, x, sums);
  const int64_t first = tile * kTile, left = p.rows - first;
  if (p.last) put(p, sums, first, left < kTall * kTile ? left : kTall * kTile);
}

void multiply(const Product& p) {
  asm volatile("" ::: "memory");  // tile loads are not known to read the panel
  const int64_t tiles = (p.rows + kTile - 1) / kTile;
  int64_t t = 0;
  for (; t + 2 <= tiles; t += 2) rows<2>(p, t);
  if (t < tiles) rows<1>(p, t);
}

}  // namespace

const Steps amx_steps = {kBytes, pack, strip, expand_rows<Half>, expand_rows<Bf16>, expand_rows<Single>, multiply, begin, end};

}  // namespace gemloupe::tiles

#endif
