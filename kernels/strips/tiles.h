// What the tiles of the exact arithmetic share. Included by amx*.cpp only.
#pragma once

#include "kernels/strips/vector.h"

namespace gemloupe::strips {

// The layout that most weights have goes through the tiles in pairs of products. False, and nothing done, if p has another or
// ends within a unit.
bool goes_in_pairs(const StripLayout& layout);
bool pairs(const Lockstep& p, const Panels& shape);

namespace {

constexpr int kBlockRows = 8;  // activation rows in a tile

// A tile load waits for a store before it whose address has the same last twelve bits. So codes and panels lie alike in their
// pages, and what is stored meanwhile lies where the loads have passed.
constexpr int kPage = 4096;

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

}  // namespace
}  // namespace gemloupe::strips
