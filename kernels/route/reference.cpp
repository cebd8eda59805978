#include "kernels/common/scratch.h"
#include "kernels/common/team.h"
#include "kernels/route/parts.h"

namespace gemloupe::reference {

void top_k(Matrix<const float> scores, Routing routing, const float* bias, const float* per_expert_scale,
           Matrix<int32_t> experts, Matrix<float> weights) {
  const int64_t n = scores.cols;
  float* const all = scratch(threads() * 2 * n);
  int parts = 0;
  share(scores.rows, 16, [&](int64_t first, int64_t last) {
    float* const p = all + __atomic_fetch_add(&parts, 1, __ATOMIC_RELAXED) * 2 * n;
    float* const biased = p + n;
    for (int64_t t = first; t < last; ++t) {
      const float* s = scores.row(t);
      const bool plain = routing == Routing::top_k_softmax;
      if (routing == Routing::sigmoid_renormalised) sigmoid(s, n, p);
      else if (!plain) softmax(s, n, p);
      const float* from = plain ? s : p;
      for (int64_t i = 0; bias && i < n; ++i) biased[i] = from[i] + bias[i];
      choose(s, bias ? biased : s, plain ? nullptr : p, n, routing, per_expert_scale, experts.cols, experts.row(t),
             weights.row(t));
    }
  });
}

}  // namespace gemloupe::reference
