// Reading as fast as it goes; avx2.cpp and avx512.cpp include it after their Line: 64 bytes that are loaded and put together.
#pragma once

#include <cstdint>

#include "kernels/roof/roof.h"

namespace gemloupe::roof {
namespace {

// In so many streams, one part of the bytes each. kFar and kNear bytes ahead of a stream its lines are asked into the second and
// into the first cache; 0: not at all.
template <int kStreams, int kFar, int kNear>
[[gnu::always_inline]] inline uint64_t read(const uint8_t* from, int64_t bytes) {
  constexpr int kRun = 4;  // lines of a stream before the next one's turn
  const int64_t part = bytes / kStreams / (64 * kRun) * (64 * kRun);
  Line sum[kRun];
  for (int64_t i = 0; i < part; i += 64 * kRun)
    for (int s = 0; s < kStreams; ++s)
      for (int k = 0; k < kRun; ++k) {
        const uint8_t* at = from + s * part + i + 64 * k;
        if (kFar) __builtin_prefetch(at + kFar, 0, 2);
        if (kNear) __builtin_prefetch(at + kNear, 0, 3);
        sum[k].add(at);
      }
  uint64_t all = reference::read_bytes(from + kStreams * part, bytes - kStreams * part);
  for (const Line& line : sum) all ^= line.folded();
  return all;
}

}  // namespace
}  // namespace gemloupe::roof
