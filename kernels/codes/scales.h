// What the variants share: reading scales out of block headers. Portable; always inlined, since it is compiled for several
// instruction sets.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/codes/codes.h"
#include "kernels/common/half.h"

namespace gemloupe::codes {

// The 16 levels of IQ4_NL and IQ4_XS, and E2M1 doubled, which MXFP4 and NVFP4 use.
inline constexpr int8_t kNonLinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline constexpr int8_t kE2m1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
inline constexpr int kNonLinearOffset = 128, kE2m1Offset = 12;

[[gnu::always_inline]] inline uint16_t u16_at(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, 2);
  return v;
}
[[gnu::always_inline]] inline uint32_t u32_at(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}
[[gnu::always_inline]] inline uint64_t u64_at(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}
[[gnu::always_inline]] inline float f16_at(const uint8_t* p) { return f16_to_float(u16_at(p)); }

// 2^(e - 128), half of what E8M0 says: the factor for doubled levels.
[[gnu::always_inline]] inline float e8m0_half(uint8_t e) {
  return bits_to_float(e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23);
}

// Half of an unsigned E4M3 number; 0x7f means nothing and gives 0. Bit 7 is ignored elsewhere.
[[gnu::always_inline]] inline float ue4m3_half(uint8_t e) {
  if (e == 0x7f) return 0.0f;
  const uint32_t exponent = e >> 3 & 15, fraction = e & 7;
  if (exponent == 0) return static_cast<float>(fraction) * 0x1p-10f;
  return bits_to_float((exponent + 127 - 8) << 23 | fraction << 20);
}

// The eight 6-bit scales and minima of Q4_K and Q5_K, as two words of eight bytes.
[[gnu::always_inline]] inline void k_scales(const uint8_t* p, uint64_t& scales, uint64_t& minima) {
  const uint32_t a = u32_at(p), b = u32_at(p + 4), c = u32_at(p + 8);
  const uint32_t high = (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030);
  const uint32_t high_min = (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030);
  scales = (a & 0x3f3f3f3f) | static_cast<uint64_t>(high) << 32;
  minima = (b & 0x3f3f3f3f) | static_cast<uint64_t>(high_min) << 32;
}

// The sixteen 6-bit scales of Q3_K, still with their offset of 32, as two words of eight bytes.
[[gnu::always_inline]] inline void q3_k_scales(const uint8_t* p, uint64_t& first, uint64_t& second) {
  const uint64_t low = u64_at(p), nibbles = 0x0f0f0f0f0f0f0f0f, pairs = 0x03030303;
  const uint64_t high = u32_at(p + 8);
  first = (low & nibbles) | (high & pairs) << 4 | ((high >> 2 & pairs) << 4) << 32;
  second = (low >> 4 & nibbles) | (high >> 4 & pairs) << 4 | ((high >> 6 & pairs) << 4) << 32;
}

// Elements of a grid's block in a row of `cols`.
[[gnu::always_inline]] inline int64_t grid_block(const GridRow& grid, int64_t cols) {
  if (grid.group) return grid.group;
  const int64_t unit = cols > 256 ? 64 : 16;
  return (cols + unit - 1) / unit * unit;
}

// The equal parts of a block that are at most 256 long, a multiple of 16: each gets the block's scale.
[[gnu::always_inline]] inline int64_t grid_part(int64_t block) {
  if (block <= 256) return block ? block : 16;
  for (int64_t part = 256; part > 16; part -= 16)
    if (block % part == 0) return part;
  return 16;
}

// A scale of a grid row.
[[gnu::always_inline]] inline float float_at(const uint8_t* p, ScaleType type) {
  switch (type) {
    case ScaleType::f32: return bits_to_float(u32_at(p));
    case ScaleType::bf16: return bf16_to_float(u16_at(p));
    default: return f16_at(p);
  }
}

}  // namespace gemloupe::codes
