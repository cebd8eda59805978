#if defined(__AVX512VBMI__)

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of its own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include <cstdint>

namespace gemloupe::tiles {
namespace {

// The bfloat16 is the upper half of the lane.
[[gnu::always_inline]] inline __m512i round_upper(__m512 v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  // Denormal numbers and zeros keep their sign only; a NaN keeps its upper half and becomes quiet.
  up = _mm512_mask_and_epi32(up, _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x7f800000)), bits,
                             _mm512_set1_epi32(static_cast<int>(0x80000000)));
  return _mm512_mask_or_epi32(up, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), bits, _mm512_set1_epi32(0x400000));
}

[[gnu::always_inline]] inline __m512i round_pair(__m512 low, __m512 high) {
  alignas(64) static constexpr uint16_t kUpper[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                                      33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  return _mm512_permutex2var_epi16(round_upper(low), _mm512_load_si512(kUpper), round_upper(high));
}

[[gnu::always_inline]] inline __m512i line_of(__m512 even, __m512 odd) {
  return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(round_upper(even), 16), round_upper(odd));
}

}  // namespace
}  // namespace gemloupe::tiles

#include "kernels/bf16/expand_avx512.h"
#include "kernels/bf16/flush.h"

namespace gemloupe::tiles {
namespace {

constexpr int64_t kBytes = kLines * 4;  // activations stay floats: a product takes them from memory

void pack(const float* const* x, int rows, int64_t cols, uint8_t* to) {
  const int64_t blocks = (cols + kTileBlock - 1) / kTileBlock;
  for (int r = 0; r < kTile; ++r)
    for (int64_t b = 0; b < blocks; ++b) {
      uint8_t* at = to + b * kBytes + 128 * r;
      const __m512i v = r < rows ? Single::load(x[r] + b * kTileBlock, cols - b * kTileBlock) : _mm512_setzero_si512();
      _mm512_storeu_si512(at, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(v)), 16));
      _mm512_storeu_si512(at + 64, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(v, 1)), 16));
    }
}

// kRows activation rows times a strip, one block: sums of 16 weight rows, a lane each.
template <int kRows>
[[gnu::always_inline]] inline void block(const float* x, const uint16_t* w, bool first, float* sums) {
  __m512 even[kRows], odd[kRows];
#pragma GCC unroll 8
  for (int t = 0; t < kRows; ++t) even[t] = odd[t] = _mm512_setzero_ps();
#pragma GCC unroll 4
  for (int i = 0; i < kTileBlock; i += 2) {
    const __m512i line = _mm512_loadu_si512(w + i * kTile);
    const __m512 w_even = _mm512_castsi512_ps(_mm512_slli_epi32(line, 16));
    const __m512 w_odd = _mm512_castsi512_ps(_mm512_and_si512(line, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
#pragma GCC unroll 8
    for (int t = 0; t < kRows; ++t) {
      even[t] = _mm512_fmadd_ps(_mm512_set1_ps(x[t * kTileBlock + i]), w_even, even[t]);
      odd[t] = _mm512_fmadd_ps(_mm512_set1_ps(x[t * kTileBlock + i + 1]), w_odd, odd[t]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kRows; ++t) {
    const __m512 before = first ? _mm512_setzero_ps() : _mm512_load_ps(sums + t * kTile);
    _mm512_store_ps(sums + t * kTile, _mm512_add_ps(before, _mm512_add_ps(even[t], odd[t])));
  }
}

template <int kRows>
[[gnu::always_inline]] inline void blocks(const Product& p, const float* x, const uint16_t* w, float* sums) {
  for (int64_t b = 0; b < p.blocks; ++b) block<kRows>(x + b * kLines, w + b * kLines, p.first && b == 0, sums);
}

void multiply(const Product& p) {
  const Flush flush;
  for (int64_t t = 0; t < p.rows;) {
    const int64_t tile = t / kTile, left = p.rows - t;
    const float* x = reinterpret_cast<const float*>(p.x + tile * p.x_stride) + t % kTile * kTileBlock;
    const int rows = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    for (int s = 0; s < p.strips; ++s) {
      float* sums = p.sums + ((tile * p.strips + s) * kTile + t % kTile) * kTile;
      const uint16_t* w = p.panel + s * p.blocks * kLines;
      if (rows == 8)
        blocks<8>(p, x, w, sums);
      else if (rows == 4)
        blocks<4>(p, x, w, sums);
      else if (rows == 2)
        blocks<2>(p, x, w, sums);
      else
        blocks<1>(p, x, w, sums);
    }
    t += rows;
  }
}

void nothing() {}

template <class Block>
struct With {
  static constexpr Expansion expansion = {expand<Block>, multiply};
};

}  // namespace

constinit const Steps avx512_steps = steps<With>(kBytes, pack, false, nothing, nothing);

}  // namespace gemloupe::tiles

#endif
