#if defined(__AMX_TILE__)

#include <immintrin.h>

#include "kernels/roof/roof.h"

namespace gemloupe::roof::amx {
namespace {

// Palette 1, eight whole tiles. Static: GCC 12 drops the stores into a local one.
struct alignas(64) TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
};
const TileConfig kEight = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// Four tiles of sums, two of each operand: one product a time is begun while three others are under way.
void begin(const void* operands) {
  asm volatile("" : : : "memory");
  _tile_loadconfig(&kEight);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const auto* at = static_cast<const uint8_t*>(operands);
  _tile_loadd(4, at, 64);
  _tile_loadd(5, at + 1024, 64);
  _tile_loadd(6, at + 2048, 64);
  _tile_loadd(7, at + 3072, 64);
}

constexpr int kOperands = 4 * 1024;  // bytes

uint64_t next(uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state >> 33;
}

}  // namespace

double bf16_spin(int64_t rounds, uint64_t seed) {
  alignas(64) uint16_t operands[kOperands / 2];
  for (uint16_t& v : operands) v = static_cast<uint16_t>((next(seed) & 0x80ff) | 0x3f00);  // ±0.5 … ±2
  begin(operands);
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return 4.0 * 2 * 16 * 16 * 32 * static_cast<double>(rounds);
}

double integer_spin(int64_t rounds, uint64_t seed) {
  alignas(64) uint8_t operands[kOperands];
  for (uint8_t& v : operands) v = static_cast<uint8_t>(next(seed));
  begin(operands);
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_release();
  return 4.0 * 2 * 16 * 16 * 64 * static_cast<double>(rounds);
}

}  // namespace gemloupe::roof::amx

#endif
