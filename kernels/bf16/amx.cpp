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
constexpr int64_t kColumnsAhead = 256;  // from what is packed to what is fetched

struct alignas(64) Config {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t line_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t lines[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
const Config config;

void begin() { _tile_loadconfig(&config); }
void end() { _tile_release(); }

void pack(const float* const* x, int rows, int64_t cols, uint8_t* to) {
  for (int64_t c = 0; c < cols; c += kTileBlock, to += kBytes)
    for (int r = 0; r < kTile; ++r) {
      if (r < rows) _mm_prefetch(reinterpret_cast<const char*>(x[r] + c + kColumnsAhead), _MM_HINT_T0);
      if (r < rows) _mm_prefetch(reinterpret_cast<const char*>(x[r] + c + kColumnsAhead + 16), _MM_HINT_T0);
      _mm512_store_si512(to + 64 * r, r < rows ? Single::load(x[r] + c, cols - c) : _mm512_setzero_si512());
    }
}

// What is done beside the tiles: evenly over the steps of a product.
class Beside {
 public:
  Beside(const Product& p, int64_t steps)
      : p_(p), steps_(steps), fill_(p.filling->left), put_(p.to_put) {}

  [[gnu::always_inline]] void step() {
    for (filled_ += fill_; filled_ >= steps_; filled_ -= steps_) p_.filling->step();
    for (copied_ += put_; copied_ >= steps_; copied_ -= steps_) put();
  }

 private:
  // As Putting::step, past the caches where y is large: so it need not be read before it is written.
  [[gnu::always_inline]] void put() {
    Putting& now = *p_.putting;
    float* to = now.to();
    if (!now.large || now.width() < 2 * kTile || reinterpret_cast<uintptr_t>(to) % 64) return now.step();
    _mm512_stream_ps(to, _mm512_load_ps(now.from()));
    _mm512_stream_ps(to + kTile, _mm512_load_ps(now.from() + kSums));
    now.advance();
  }

  const Product& p_;
  const int64_t steps_, fill_, put_;
  int64_t filled_ = 0, copied_ = 0;
};

// Tiles 0 .. 3 are sums, 4 and 5 activations, 6 and 7 weights. Two rows of tiles by two strips, or fewer. Activations come from
// the second cache and pass by the first, which the panel fills.
template <int kTall, int kWide>
[[gnu::always_inline]] inline void block(const Product& p, const uint8_t* x, float* sums, Beside& beside) {
  constexpr bool kTwice = kTall > 1 && kWide > 1;
  if (p.first) {
    _tile_zero(0);
    if (kWide > 1) _tile_zero(1);
    if (kTall > 1) _tile_zero(2);
    if (kTwice) _tile_zero(3);
  } else {
    _tile_loadd(0, sums, 64);
    if (kWide > 1) _tile_loadd(1, sums + kSums, 64);
    if (kTall > 1) _tile_loadd(2, sums + kWide * kSums, 64);
    if (kTwice) _tile_loadd(3, sums + (kWide + 1) * kSums, 64);
  }
  const uint16_t* w = p.panel;
  const int64_t strip = p.blocks * kLines;
  const float* next = sums + kTall * kWide * kSums;
  const int64_t lines = (kTall * kWide * kTile + p.blocks - 1) / p.blocks;
  for (int64_t b = 0; b < p.blocks; ++b, x += kBytes, w += kLines) {
    _tile_stream_loadd(4, x, 64);
    _tile_loadd(6, w, 64);
    _tile_dpbf16ps(0, 4, 6);
    if (kWide > 1) _tile_loadd(7, w + strip, 64);
    if (kWide > 1) _tile_dpbf16ps(1, 4, 7);
    if (kTall > 1) _tile_stream_loadd(5, x + p.x_stride, 64);
    if (kTall > 1) _tile_dpbf16ps(2, 5, 6);
    if (kTwice) _tile_dpbf16ps(3, 5, 7);
    for (int64_t i = 0; i < lines; ++i, next += kTile) __builtin_prefetch(next, 1);
    beside.step();
  }
  _tile_stored(0, sums, 64);
  if (kWide > 1) _tile_stored(1, sums + kSums, 64);
  if (kTall > 1) _tile_stored(2, sums + kWide * kSums, 64);
  if (kTwice) _tile_stored(3, sums + (kWide + 1) * kSums, 64);
}

template <int kWide>
[[gnu::always_inline]] inline void multiply_strips(const Product& p) {
  const int64_t tiles = (p.rows + kTile - 1) / kTile;
  Beside beside(p, (tiles + 1) / 2 * p.blocks);
  int64_t t = 0;
  for (; t + 2 <= tiles; t += 2) block<2, kWide>(p, p.x + t * p.x_stride, p.sums + t * kWide * kSums, beside);
  if (t < tiles) block<1, kWide>(p, p.x + t * p.x_stride, p.sums + t * kWide * kSums, beside);
}

void multiply(const Product& p) {
  asm volatile("" ::: "memory");  // tile loads are not known to read the panel
  if (p.strips == 2)
    multiply_strips<2>(p);
  else
    multiply_strips<1>(p);
}

}  // namespace

const Steps amx_steps = {kBytes,
                         pack,
                         {{nullptr, nullptr},
                          {expand_strip<1, false>, expand_strip<1, true>},
                          {expand_strip<2, false>, expand_strip<2, true>},
                          {expand_strip<3, false>, expand_strip<3, true>},
                          {expand_strip<4, false>, expand_strip<4, true>},
                          {expand_strip<5, false>, expand_strip<5, true>},
                          {expand_strip<6, false>, expand_strip<6, true>},
                          {nullptr, nullptr},
                          {expand_strip<8, false>, expand_strip<8, true>}},
                         expand_rows<Half>,
                         expand_rows<Bf16>,
                         expand_rows<Single>,
                         multiply,
                         begin,
                         end};

}  // namespace gemloupe::tiles

#endif
