// The vector loops over a row of logits; avx2.cpp and avx512.cpp include it after their Lanes.
#pragma once

#include "kernels/common/scratch.h"
#include "kernels/sample/order.h"

namespace gemloupe {
namespace {

constexpr float kNone = -__builtin_inff();

[[gnu::always_inline]] inline int64_t argmax_lanes(const float* logits, int64_t n) {
  const int64_t full = n / kLanes * kLanes;
  const int rest = static_cast<int>(n - full);
  Lanes top[4] = {fill(kNone), fill(kNone), fill(kNone), fill(kNone)};
  int64_t i = 0;
  for (; i + 4 * kLanes <= full; i += 4 * kLanes)
    for (int j = 0; j < 4; ++j) top[j] = larger(load(logits + i + j * kLanes), top[j]);
  for (; i < full; i += kLanes) top[0] = larger(load(logits + i), top[0]);
  if (rest) top[0] = larger(load(logits + full, rest, kNone), top[0]);
  const float best = largest(larger(larger(top[0], top[1]), larger(top[2], top[3])));
  if (best == kNone) return -1;
  for (i = 0; i < full; i += kLanes)
    if (const unsigned found = equal(load(logits + i), fill(best))) return i + __builtin_ctz(found);
  return full + __builtin_ctz(equal(load(logits + full, rest, kNone), fill(best)));
}

// Candidates that beat the worst of the k best so far are collected; when the buffer is full, the k best stay and raise the
// bar. An equal of the bar has a higher id than it, so it is right to ask for more than the bar.
[[gnu::always_inline]] inline int64_t top_candidates_lanes(const float* logits, int64_t n, int64_t k, Candidate* out) {
  k = k < n ? k : n;
  if (k <= 0) return 0;
  const int64_t room = 2 * k + 1024;
  Candidate* const held = reinterpret_cast<Candidate*>(scratch(2 * room));
  int64_t count = 0;
  float bar = kNone;
  for (int64_t i = 0; i < n; i += kLanes) {
    const Lanes x = n - i >= kLanes ? load(logits + i) : load(logits + i, static_cast<int>(n - i), kNone);
    for (unsigned found = greater(x, fill(bar)); found; found &= found - 1) {
      const int64_t id = i + __builtin_ctz(found);
      held[count++] = {static_cast<int32_t>(id), logits[id]};
    }
    if (count > room - kLanes) {
      bar = keep_best(held, count, k);
      count = k;
    }
  }
  if (count > k) {
    keep_best(held, count, k);
    count = k;
  }
  sort_candidates(held, count);
  for (int64_t i = 0; i < count; ++i) out[i] = held[i];
  return count;
}

[[gnu::always_inline]] inline double mass_lanes(const float* logits, int64_t n, float best, float temperature) {
  const Lanes m = fill(best), t = fill(temperature), none = fill(kNone), zero = fill(0.0f);
  WideLanes sum;
  for (int64_t i = 0; i < n; i += kLanes) {
    const Lanes x = n - i >= kLanes ? load(logits + i) : load(logits + i, static_cast<int>(n - i), kNone);
    const Lanes e = choose(equal(x, m), fill(1.0f), exp_((x - m) / t));
    accumulate(sum, choose(greater(x, none), e, zero));
  }
  double lanes[kLanes];
  store(lanes, sum);
  for (int half = kLanes / 2; half; half /= 2)
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  return lanes[0];
}

}  // namespace
}  // namespace gemloupe
