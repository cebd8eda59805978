#if defined(__AMX_TILE__)

#include "kernels/attention/words_avx512.h"

namespace gemloupe {
namespace {

using Cell = uint16_t;
constexpr bool kFlushes = true;

// Eight tiles of 16 rows of 64 bytes, for as long as it lives. The setting belongs to a thread.
struct Setting {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
alignas(64) constinit const Setting kSetting;

struct TileSetting {
  [[gnu::always_inline]] TileSetting() { _tile_loadconfig(&kSetting); }
  [[gnu::always_inline]] ~TileSetting() { _tile_release(); }
};

[[gnu::always_inline]] inline void store_cells(Cell* to, Words a, Words b) { _mm512_storeu_si512(to, pack(a, b).v); }
[[gnu::always_inline]] inline float widened(Cell c) { return bits_to_float(static_cast<uint32_t>(c) << 16); }

template <bool kTwo>
[[gnu::always_inline]] inline void product_rows(const Cell* a, int64_t pitch, const uint32_t* b, int64_t b_stride, int blocks,
                                                float* c, int64_t c_pitch, bool add) {
  const int64_t a_bytes = pitch * 2, c_bytes = c_pitch * 4;
  float* const c2 = c + 16 * c_pitch;
  if (add) {
    _tile_loadd(0, c, c_bytes);
    _tile_loadd(1, c + 16, c_bytes);
    if (kTwo) _tile_loadd(2, c2, c_bytes);
    if (kTwo) _tile_loadd(3, c2 + 16, c_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if (kTwo) _tile_zero(2);
    if (kTwo) _tile_zero(3);
  }
  for (int k = 0; k < blocks; ++k) {
    _tile_loadd(4, a + k * 32, a_bytes);
    _tile_loadd(6, b + k * 256, 64);
    _tile_loadd(7, b + b_stride + k * 256, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (kTwo) {
      _tile_loadd(5, a + 16 * pitch + k * 32, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, c_bytes);
  _tile_stored(1, c + 16, c_bytes);
  if (kTwo) _tile_stored(2, c2, c_bytes);
  if (kTwo) _tile_stored(3, c2 + 16, c_bytes);
}

// As in bf16_products.h; rows of a and c up to the next multiple of 16 are read and written.
[[gnu::always_inline]] inline void product(const Cell* a, int64_t pitch, int rows, const uint32_t* b, int64_t b_stride,
                                           int64_t columns, int blocks, float* c, int64_t c_pitch, bool add, bool) {
  asm volatile("" ::: "memory");  // tile loads do not say that they read what was stored
  for (int64_t i = 0; i < columns; i += 32, b += 2 * b_stride, c += 32) {
    if (rows > 16) product_rows<true>(a, pitch, b, b_stride, blocks, c, c_pitch, add);
    else product_rows<false>(a, pitch, b, b_stride, blocks, c, c_pitch, add);
  }
}

}  // namespace
}  // namespace gemloupe

#include "kernels/attention/bf16_vector.h"

namespace gemloupe::amx {

void attention_bf16(Matrix<const float> q, int64_t first_position, const KeyValues& cache, int heads, int kv_heads, int head_dim,
                    float scale, int64_t window, Matrix<float> y) {
  attention_words(q, first_position, cache, heads, kv_heads, head_dim, scale, window, y);
}

}  // namespace gemloupe::amx

#endif
