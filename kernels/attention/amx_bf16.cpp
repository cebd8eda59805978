#if defined(__AMX_TILE__)

#include "kernels/attention/bf16.h"
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

// The tiles of the next block of keys and values, fetched a few lines at a time while tiles are multiplied.
struct Ahead {
  const uint32_t *keys, *values;
  int lines;  // of each, for 2 x 2 tile products

  [[gnu::always_inline]] void fetch() {
    for (int i = 0; i < lines; i += 2, keys += 16, values += 16) {
      _mm_prefetch(keys, _MM_HINT_T1);
      _mm_prefetch(values, _MM_HINT_T1);
    }
  }
};

// tile_bf16 of 32 elements in a row, and of 16 pairs.
[[gnu::always_inline]] inline Words pack_rounded(Lanes a, Lanes b) {
  return {reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.v, a.v))};
}
[[gnu::always_inline]] inline Words pair_rounded(Lanes a, Lanes b) {
  alignas(64) static constexpr uint8_t kOrder[64] = {
      0,  1,  32, 33, 2,  3,  34, 35, 4,  5,  36, 37, 6,  7,  38, 39, 8,  9,  40, 41, 10, 11, 42, 43, 12, 13, 44, 45, 14, 15, 46, 47,
      16, 17, 48, 49, 18, 19, 50, 51, 20, 21, 52, 53, 22, 23, 54, 55, 24, 25, 56, 57, 26, 27, 58, 59, 28, 29, 60, 61, 30, 31, 62, 63};
  return {_mm512_permutexvar_epi8(_mm512_load_si512(kOrder), pack_rounded(a, b).v)};
}
[[gnu::always_inline]] inline void store_rounded(Cell* to, Lanes a, Lanes b) { _mm512_storeu_si512(to, pack_rounded(a, b).v); }
[[gnu::always_inline]] inline float widened(Cell c) { return bits_to_float(static_cast<uint32_t>(c) << 16); }

// exp_ for -33 <= x <= 0 or NaN; +0 below.
[[gnu::always_inline]] inline __m512 weight(__m512 x) {
  using namespace math;
  const __m512 round = _mm512_set1_ps(kRound);
  const __m512 n = _mm512_sub_ps(_mm512_fmadd_ps(x, _mm512_set1_ps(kLog2e), round), round);
  __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2High), x);
  r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2Low), r);
  __m512 p = _mm512_set1_ps(kExp[0]);
  for (int i = 1; i < 6; ++i) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExp[i]));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(kFaint), _CMP_NLT_UQ), p, n);
}

[[gnu::always_inline]] inline void store_weights(Cell* to, const float* s, Lanes m, Lanes& sum) {
  const __m512 a = weight(_mm512_sub_ps(_mm512_loadu_ps(s), m.v)), b = weight(_mm512_sub_ps(_mm512_loadu_ps(s + 256), m.v));
  const __m512i cells = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b, a));
  _mm512_storeu_si512(to, cells);
  const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(cells));
  const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(cells, 1));
  sum.v = _mm512_add_ps(sum.v, _mm512_castsi512_ps(_mm512_slli_epi32(low, 16)));
  sum.v = _mm512_add_ps(sum.v, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16)));
}

// 2 x 2 tiles of c += a times b. The tiles of a and b that a step reads first are those that the step before has let go of first, so
// that what is loaded next has the time of two products to arrive.
template <bool kTwo>
[[gnu::always_inline]] inline void product_rows(const Cell* a, int64_t a_stride, const uint32_t* b, int64_t b_stride, int blocks,
                                                float* c, int64_t c_stride, bool add, Ahead& ahead) {
  if (add) {
    _tile_loadd(0, c, 64);
    _tile_loadd(1, c + 256, 64);
    if (kTwo) _tile_loadd(2, c + c_stride, 64);
    if (kTwo) _tile_loadd(3, c + c_stride + 256, 64);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if (kTwo) _tile_zero(2);
    if (kTwo) _tile_zero(3);
  }
  // b comes from the second-level cache and would drive a out of the first.
  const auto step = [&](bool turned) __attribute__((always_inline)) {
    _tile_stream_loadd(6, b, 64);
    if (kTwo && turned) {
      _tile_loadd(5, a + a_stride, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_loadd(4, a, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_stream_loadd(7, b + b_stride, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    } else {
      _tile_loadd(4, a, 64);
      _tile_dpbf16ps(0, 4, 6);
      if (kTwo) _tile_loadd(5, a + a_stride, 64);
      if (kTwo) _tile_dpbf16ps(2, 5, 6);
      _tile_stream_loadd(7, b + b_stride, 64);
      if (kTwo) _tile_dpbf16ps(3, 5, 7);
      _tile_dpbf16ps(1, 4, 7);
    }
    ahead.fetch();
    a += 512;
    b += 256;
  };
  int k = 0;
  for (; k + 2 <= blocks; k += 2) {
    step(false);
    step(true);
    for (int i = 0; add && i < 128; i += 16) {  // what the next two columns of tiles will be added to
      _mm_prefetch(c + 512 + (k % 8) * 64 + i, _MM_HINT_T0);
      if (kTwo) _mm_prefetch(c + c_stride + 512 + (k % 8) * 64 + i, _MM_HINT_T0);
    }
  }
  if (k < blocks) step(false);
  _tile_stored(0, c, 64);
  _tile_stored(1, c + 256, 64);
  if (kTwo) _tile_stored(2, c + c_stride, 64);
  if (kTwo) _tile_stored(3, c + c_stride + 256, 64);
}

// As in bf16_products.h; rows of a and c up to the next multiple of 16 are read and written.
[[gnu::always_inline]] inline void product(const Cell* a, int64_t a_stride, int rows, const uint32_t* b, int64_t b_stride,
                                           int64_t columns, int blocks, float* c, int64_t c_stride, bool add, bool, Ahead& ahead) {
  asm volatile("" ::: "memory");  // tile loads do not say that they read what was stored
  for (int64_t i = 0; i < columns; i += 32, b += 2 * b_stride, c += 512) {
    if (rows > 16) product_rows<true>(a, a_stride, b, b_stride, blocks, c, c_stride, add, ahead);
    else product_rows<false>(a, a_stride, b, b_stride, blocks, c, c_stride, add, ahead);
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
