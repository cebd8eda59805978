#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/common/math.h"
#include "kernels/common/sum.h"
#include "kernels/sample/order.h"

namespace gemloupe::reference {
namespace {

// Neither NaN nor minus infinity.
bool eligible(float logit) { return logit >= std::numeric_limits<float>::lowest(); }

}  // namespace

int64_t argmax(const float* logits, int64_t n) {
  int64_t best = -1;
  for (int64_t i = 0; i < n; ++i)
    if (eligible(logits[i]) && (best < 0 || logits[i] > logits[best])) best = i;
  return best;
}

int64_t top_candidates(const float* logits, int64_t n, int64_t k, Candidate* out) {
  std::vector<Candidate> all;
  for (int64_t i = 0; i < n; ++i)
    if (eligible(logits[i])) all.push_back({static_cast<int32_t>(i), logits[i]});
  sort_candidates(all.data(), static_cast<int64_t>(all.size()));
  const int64_t found = std::min<int64_t>(k, static_cast<int64_t>(all.size()));
  std::copy_n(all.begin(), found, out);
  return found;
}

double mass(const float* logits, int64_t n, float largest, float temperature) {
  double lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) {
    if (!eligible(logits[i])) continue;
    lanes[i % kLanes] += logits[i] == largest ? 1.0f : exp_((logits[i] - largest) / temperature);
  }
  for (int half = kLanes / 2; half; half /= 2)
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  return lanes[0];
}

}  // namespace gemloupe::reference
