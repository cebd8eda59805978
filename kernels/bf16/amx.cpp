#if defined(__AMX_BF16__)

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of its own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include <cstdint>

namespace gemloupe::tiles {
namespace {

[[gnu::always_inline]] inline __m512i round_pair(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

[[gnu::always_inline]] inline __m512i line_of(__m512 even, __m512 odd) {
  alignas(64) static constexpr uint16_t kInTurn[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(kInTurn), round_pair(even, odd));
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

// What is done beside the tiles: a little after every other product, so that both kinds of unit always have work in sight.
template <class Block>
class Beside {
 public:
  Beside(const Product& p, int64_t steps)
      : p_(p), steps_(steps), fill_(p.filling->left * Block::kParts), put_(p.to_put) {}

  [[gnu::always_inline]] void step() {
    for (filled_ += fill_; filled_ >= steps_; filled_ -= steps_) fill();
    for (copied_ += put_; copied_ >= steps_; copied_ -= steps_) put();
  }

 private:
  [[gnu::always_inline]] void fill() {
    Filling& now = *p_.filling;
    if (part_ == 0) block_.open(*now.source, now.block, now.to);
    block_.part(part_);
    if (++part_ == Block::kParts) now.next(), part_ = 0;
  }

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
  int part_ = 0;
  Block block_;
};

template <int kSum>
[[gnu::always_inline]] inline void store(float* to, int64_t stride) {
  if constexpr (kSum == 0) _tile_stored(0, to, stride * 4);
  else if constexpr (kSum == 1) _tile_stored(1, to, stride * 4);
  else if constexpr (kSum == 2) _tile_stored(2, to, stride * 4);
  else _tile_stored(3, to, stride * 4);
}

// A tile of sums, of which `rows` and `columns` exist, to y.
template <int kSum>
[[gnu::always_inline]] inline void store(float* y, int64_t stride, int64_t rows, int64_t columns) {
  if (rows >= kTile && columns >= kTile) return store<kSum>(y, stride);
  alignas(64) float all[kSums];
  store<kSum>(all, kTile);
  asm volatile("" ::: "memory");
  for (int64_t r = 0; r < rows && r < kTile; ++r)
    for (int64_t c = 0; c < columns && c < kTile; ++c) y[r * stride + c] = all[r * kTile + c];
}

// Tiles 0 .. 3 are sums, 4 and 5 activations, 6 and 7 weights. Two rows of tiles by two strips, or fewer, from tile t of the
// activations on. Those come from the second cache and pass by the first, which the panel fills.
template <int kTall, int kWide, class Beside>
[[gnu::always_inline]] inline void block(const Product& p, int64_t t, Beside& beside) {
  constexpr bool kTwice = kTall > 1 && kWide > 1;
  const uint8_t* x = p.x + t * p.x_stride;
  float* sums = p.sums + t * kWide * kSums;
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
  // What is stored at the end, or loaded next, is fetched meanwhile.
  const float* next = p.y ? p.y + t * kTile * p.y_stride : sums + kTall * kWide * kSums;
  const int64_t next_stride = p.y ? p.y_stride : kWide * kTile, rows = p.y ? p.rows - t * kTile : kTall * kTile;
  const int64_t lines = (kTall * kTile + p.blocks - 1) / p.blocks;
  int64_t fetched = 0;
  for (int64_t b = 0; b < p.blocks; ++b, x += kBytes, w += kLines) {
    _tile_stream_loadd(4, x, 64);
    _tile_loadd(6, w, 64);
    _tile_dpbf16ps(0, 4, 6);
    if (kWide > 1) _tile_loadd(7, w + strip, 64);
    if (kWide > 1) _tile_dpbf16ps(1, 4, 7);
    beside.step();
    if (kTall > 1) _tile_stream_loadd(5, x + p.x_stride, 64);
    if (kTall > 1) _tile_dpbf16ps(2, 5, 6);
    if (kTwice) _tile_dpbf16ps(3, 5, 7);
    for (int64_t i = 0; i < lines && fetched < rows; ++i, ++fetched, next += next_stride) {
      __builtin_prefetch(next, 1);
      if (kWide > 1) __builtin_prefetch(next + kTile, 1);
    }
    beside.step();
  }
  if (p.y) {
    float* y = p.y + t * kTile * p.y_stride;
    const int64_t left = p.rows - t * kTile;
    store<0>(y, p.y_stride, left, p.columns);
    if (kWide > 1) store<1>(y + kTile, p.y_stride, left, p.columns - kTile);
    y += kTile * p.y_stride;
    if (kTall > 1) store<2>(y, p.y_stride, left - kTile, p.columns);
    if (kTwice) store<3>(y + kTile, p.y_stride, left - kTile, p.columns - kTile);
  } else {
    _tile_stored(0, sums, 64);
    if (kWide > 1) _tile_stored(1, sums + kSums, 64);
    if (kTall > 1) _tile_stored(2, sums + kWide * kSums, 64);
    if (kTwice) _tile_stored(3, sums + (kWide + 1) * kSums, 64);
  }
}

template <int kWide, class Block>
[[gnu::always_inline]] inline void multiply_strips(const Product& p) {
  const int64_t tiles = (p.rows + kTile - 1) / kTile;
  Beside<Block> beside(p, (tiles + 1) / 2 * p.blocks * 2);
  int64_t t = 0;
  for (; t + 2 <= tiles; t += 2) block<2, kWide>(p, t, beside);
  if (t < tiles) block<1, kWide>(p, t, beside);
}

template <class Block>
void multiply(const Product& p) {
  asm volatile("" ::: "memory");  // tile loads are not known to read the panel
  if (p.strips == 2)
    multiply_strips<2, Block>(p);
  else
    multiply_strips<1, Block>(p);
}

template <class Block>
struct With {
  static constexpr Expansion expansion = {expand<Block>, multiply<Block>};
};

}  // namespace

constinit const Steps amx_steps = steps<With>(kBytes, pack, true, begin, end);

}  // namespace gemloupe::tiles

#endif
