// XXH64 (Yann Collet's specification), seed 0: four multiplications in a row for 32 bytes, so memory is the limit. Finds damage, not
// malice.
#pragma once

#include <cstdint>
#include <span>

namespace gemloupe {

class Checksum64 {
 public:
  void add(std::span<const uint8_t> bytes);  // piece by piece, cut anywhere
  uint64_t value() const;

 private:
  static constexpr uint64_t kPrime[5] = {0x9e3779b185ebca87, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9, 0x85ebca77c2b2ae63,
                                         0x27d4eb2f165667c5};
  uint64_t lane_[4] = {kPrime[0] + kPrime[1], kPrime[1], 0, 0 - kPrime[0]};
  uint64_t bytes_ = 0;
  uint8_t rest_[32] = {};  // the bytes_ % 32 last ones
};

inline uint64_t checksum64(std::span<const uint8_t> bytes) {
  Checksum64 sum;
  sum.add(bytes);
  return sum.value();
}

}  // namespace gemloupe
