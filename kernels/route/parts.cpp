#include "kernels/route/parts.h"

#include <cmath>

#include "kernels/common/math.h"
#include "kernels/common/sum.h"

namespace gemloupe {
namespace {

// A NaN is less than every number.
bool greater(float a, float b) { return a > b || (b != b && a == a); }

float sum(const float* a, int64_t n) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % kLanes] += a[i];
  return fold(lanes);
}

}  // namespace

void softmax(const float* scores, int64_t n, float* p) {
  float largest = -INFINITY;
  for (int64_t i = 0; i < n; ++i) largest = scores[i] > largest ? scores[i] : largest;
  for (int64_t i = 0; i < n; ++i) p[i] = exp_(scores[i] - largest);
  renormalise(p, n);
}

void sigmoid(const float* scores, int64_t n, float* p) {
  for (int64_t i = 0; i < n; ++i) p[i] = 1.0f / (1.0f + exp_(-scores[i]));
}

void renormalise(float* weights, int64_t k) {
  const float total = sum(weights, k);
  for (int64_t i = 0; i < k; ++i) weights[i] /= total;
}

void select(const float* compared, int64_t n, int64_t k, int32_t* chosen) {
  // Insertion into a short sorted list: k is small, and most entries fail the first comparison.
  int64_t held = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (held == k && (k == 0 || !greater(compared[i], compared[chosen[k - 1]]))) continue;
    int64_t at = held < k ? held++ : k - 1;
    for (; at > 0 && greater(compared[i], compared[chosen[at - 1]]); --at) chosen[at] = chosen[at - 1];
    chosen[at] = static_cast<int32_t>(i);
  }
  for (; held < k; ++held) chosen[held] = -1;
}

void choose(const float* scores, const float* compared, const float* p, int64_t n, Routing routing,
            const float* per_expert_scale, int64_t k, int32_t* experts, float* weights) {
  select(compared, n, k, experts);
  const int64_t used = k < n ? k : n;
  for (int64_t i = 0; i < k; ++i) weights[i] = i < used ? (p ? p : scores)[experts[i]] : 0.0f;
  if (routing == Routing::top_k_softmax) softmax(weights, used, weights);
  if (routing == Routing::softmax_renormalised || routing == Routing::sigmoid_renormalised) renormalise(weights, used);
  if (per_expert_scale)
    for (int64_t i = 0; i < used; ++i) weights[i] *= per_expert_scale[experts[i]];
}

}  // namespace gemloupe
