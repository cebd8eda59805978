// A register is 64 columns of a row on one side and a quad of 16 rows on the other: a transposition of 16 x 16 dwords, which is
// its own inverse.
#if defined(__AVX512BW__)

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of its own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include "kernels/strips/planes.h"

namespace gemloupe::strips::avx512 {
namespace {

void transpose(__m512i* v) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
  // b[4 k + j], lane of 128 bits n: column 4 n + j of rows 4 k .. 4 k + 3.
  for (int k = 0; k < 16; k += 4) {
    b[k] = _mm512_unpacklo_epi64(a[k], a[k + 2]);
    b[k + 1] = _mm512_unpackhi_epi64(a[k], a[k + 2]);
    b[k + 2] = _mm512_unpacklo_epi64(a[k + 1], a[k + 3]);
    b[k + 3] = _mm512_unpackhi_epi64(a[k + 1], a[k + 3]);
  }
  for (int j = 0; j < 4; ++j) {
    const __m512i low0 = _mm512_shuffle_i32x4(b[j], b[4 + j], 0x44), high0 = _mm512_shuffle_i32x4(b[j], b[4 + j], 0xee);
    const __m512i low1 = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0x44), high1 = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0xee);
    v[j] = _mm512_shuffle_i32x4(low0, low1, 0x88);
    v[4 + j] = _mm512_shuffle_i32x4(low0, low1, 0xdd);
    v[8 + j] = _mm512_shuffle_i32x4(high0, high1, 0x88);
    v[12 + j] = _mm512_shuffle_i32x4(high0, high1, 0xdd);
  }
}

__m512i bytes_of(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }

// The planes of eight quads, in the order of the readable variant.
template <int bits>
uint8_t* put(const __m512i* quad, uint8_t* planes) {
  int low = 0;
  for (int width = 8; width; width /= 2) {
    if (!(bits & width)) continue;
    const int each = 8 / width;
    const __m512i mask = bytes_of((1 << width) - 1);
    for (int j = 0; j < width; ++j, planes += 64) {
      __m512i packed = _mm512_setzero_si512();
      for (int m = 0; m < each; ++m)
        packed = _mm512_or_si512(packed, _mm512_slli_epi16(_mm512_and_si512(_mm512_srli_epi16(quad[each * j + m], low), mask), width * m));
      _mm512_store_si512(planes, packed);
    }
    low += width;
  }
  return planes;
}

template <int bits>
const uint8_t* get(const uint8_t* planes, __m512i* quad) {
  for (int q = 0; q < 8; ++q) quad[q] = _mm512_setzero_si512();
  int low = 0;
  for (int width = 8; width; width /= 2) {
    if (!(bits & width)) continue;
    const int each = 8 / width;
    const __m512i mask = bytes_of((1 << width) - 1);
    for (int j = 0; j < width; ++j, planes += 64) {
      const __m512i packed = _mm512_load_si512(planes);
      for (int m = 0; m < each; ++m)
        quad[each * j + m] = _mm512_or_si512(
            quad[each * j + m], _mm512_slli_epi16(_mm512_and_si512(_mm512_srli_epi16(packed, width * m), mask), low));
    }
    low += width;
  }
  return planes;
}

template <int bits>
void pack(const uint8_t* index, int cols, uint8_t* planes) {
  for (int c = 0; c < cols; c += 64) {
    __m512i v[16];
    for (int r = 0; r < 16; ++r) v[r] = _mm512_load_si512(index + r * cols + c);
    transpose(v);
    planes = put<bits>(v, planes);
    planes = put<bits>(v + 8, planes);
  }
}

template <int bits>
void unpack(const uint8_t* planes, int cols, uint8_t* index) {
  for (int c = 0; c < cols; c += 64) {
    __m512i v[16];
    planes = get<bits>(planes, v);
    planes = get<bits>(planes, v + 8);
    transpose(v);
    for (int r = 0; r < 16; ++r) _mm512_store_si512(index + r * cols + c, v[r]);
  }
}

}  // namespace

void to_planes(const uint8_t* index, int cols, int bits, uint8_t* planes) {
  switch (bits) {
    case 1: return pack<1>(index, cols, planes);
    case 2: return pack<2>(index, cols, planes);
    case 3: return pack<3>(index, cols, planes);
    case 4: return pack<4>(index, cols, planes);
    case 5: return pack<5>(index, cols, planes);
    case 6: return pack<6>(index, cols, planes);
    default: return pack<8>(index, cols, planes);
  }
}

void from_planes(const uint8_t* planes, int cols, int bits, uint8_t* index) {
  switch (bits) {
    case 1: return unpack<1>(planes, cols, index);
    case 2: return unpack<2>(planes, cols, index);
    case 3: return unpack<3>(planes, cols, index);
    case 4: return unpack<4>(planes, cols, index);
    case 5: return unpack<5>(planes, cols, index);
    case 6: return unpack<6>(planes, cols, index);
    default: return unpack<8>(planes, cols, index);
  }
}

}  // namespace gemloupe::strips::avx512

#endif
