// The vector loops of top_k; avx2.cpp and avx512.cpp include it after their Lanes.
#pragma once

#include "kernels/common/scratch.h"
#include "kernels/common/team.h"
#include "kernels/route/parts.h"

namespace gemloupe {
namespace {

[[gnu::always_inline]] inline void softmax_lanes(const float* s, int64_t n, float* p) {
  const int64_t full = n / kLanes * kLanes;
  const int rest = static_cast<int>(n - full);
  const float lowest = -__builtin_inff();
  Lanes top = fill(lowest);
  for (int64_t i = 0; i < full; i += kLanes) top = larger(load(s + i), top);
  if (rest) top = larger(load(s + full, rest, lowest), top);
  const Lanes m = fill(largest(top));
  Lanes sum = fill(0.0f);
  for (int64_t i = 0; i < full; i += kLanes) {
    const Lanes e = exp_(load(s + i) - m);
    store(p + i, e);
    sum = sum + e;
  }
  if (rest) {
    store(p + full, exp_(load(s + full, rest) - m), rest);
    sum = sum + load(p + full, rest);
  }
  const Lanes total = fill(fold(sum));
  for (int64_t i = 0; i < full; i += kLanes) store(p + i, load(p + i) / total);
  if (rest) store(p + full, load(p + full, rest) / total, rest);
}

[[gnu::always_inline]] inline void sigmoid_lanes(const float* s, int64_t n, float* p) {
  const Lanes one = fill(1.0f);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(p + i, one / (one + exp_(-load(s + i))));
  if (const int rest = static_cast<int>(n - i)) store(p + i, one / (one + exp_(-load(s + i, rest))), rest);
}

[[gnu::always_inline]] inline void top_k_lanes(Matrix<const float> scores, Routing routing, const float* bias,
                                               const float* per_expert_scale, Matrix<int32_t> experts, Matrix<float> weights) {
  const int64_t n = scores.cols;
  float* const all = scratch(threads() * 2 * n);
  int parts = 0;
  share(scores.rows, 32, [&](int64_t first, int64_t last) {
    float* const p = all + __atomic_fetch_add(&parts, 1, __ATOMIC_RELAXED) * 2 * n;
    float* const biased = p + n;
    for (int64_t t = first; t < last; ++t) {
      const float* s = scores.row(t);
      const bool plain = routing == Routing::top_k_softmax;
      if (routing == Routing::sigmoid_renormalised) sigmoid_lanes(s, n, p);
      else if (!plain) softmax_lanes(s, n, p);
      const float* from = plain ? s : p;
      for (int64_t i = 0; bias && i < n; ++i) biased[i] = from[i] + bias[i];
      gemloupe::choose(s, bias ? biased : s, plain ? nullptr : p, n, routing, per_expert_scale, experts.cols, experts.row(t),
                       weights.row(t));
    }
  });
}

}  // namespace
}  // namespace gemloupe
