// Rounding to bfloat16, and the order in which AMX tiles sum bfloat16 products: the definition that every variant follows.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace gemloupe {

inline constexpr int kTileBlock = 32;  // columns that one tile product sums

// v as the nearest bfloat16, ties to even. Below 2^-126 in size: a zero of v's sign. A NaN stays one.
[[gnu::always_inline]] inline uint16_t tile_bf16(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  if ((bits & 0x7f800000u) == 0) return static_cast<uint16_t>(bits >> 16 & 0x8000);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

[[gnu::always_inline]] inline float tile_float(uint16_t v) {
  const uint32_t bits = static_cast<uint32_t>(v) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

// Tiles know no denormal numbers.
[[gnu::always_inline]] inline float tile_flush(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }

// a * b + c. A result is too small if, rounded to 24 bits as though exponents had no end, it is below 2^-126: so is one that
// the denormal numbers' coarser steps would have rounded up to 2^-126. Elsewhere std::fma and tile_flush tell the same.
[[gnu::always_inline]] inline float tile_fma(float a, float b, float c) {
  const float v = std::fma(a, b, c);
  if (std::fabs(v) == 0x1p-126f && std::fabs(std::fma(a * 0x1p64f, b, c * 0x1p64f)) < 0x1p-62f) return std::copysign(0.0f, v);
  return tile_flush(v);
}

// acc plus one block of 32 products, as TDPBF16PS does it.
inline float tile_block(const uint16_t* a, const uint16_t* b, float acc) {
  float even = 0, odd = 0;
  for (int p = 0; p < kTileBlock; p += 2) {
    even = tile_fma(tile_float(a[p]), tile_float(b[p]), even);
    odd = tile_fma(tile_float(a[p + 1]), tile_float(b[p + 1]), odd);
  }
  return tile_flush(acc + tile_flush(even + odd));
}

}  // namespace gemloupe
