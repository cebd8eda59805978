// The one order in which float sums are made.
//
// Element i of a sum goes to lane i mod 16; each lane is summed in ascending order with fused multiply-adds, starting from +0;
// the 16 lanes are then folded in halves: lane l takes lane l + 8, then l + 4, l + 2, l + 1. One 512-bit register, two 256-bit
// ones and a plain array of 16 all do this at full speed, and give the same bits. A tail shorter than 16 touches only its lanes.
#pragma once

#include <cmath>
#include <cstdint>

namespace gemloupe {

inline constexpr int kLanes = 16;

[[gnu::always_inline]] inline float fold(const float lanes[kLanes]) {
  float s[kLanes];
  for (int l = 0; l < kLanes; ++l) s[l] = lanes[l];
  for (int half = kLanes / 2; half; half /= 2)
    for (int l = 0; l < half; ++l) s[l] += s[l + half];
  return s[0];
}

// sum of a[i] * b[i]: the readable version that every variant's dot product equals.
inline float dot_reference(const float* a, const float* b, int64_t n) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % kLanes] = std::fma(a[i], b[i], lanes[i % kLanes]);
  return fold(lanes);
}

}  // namespace gemloupe
