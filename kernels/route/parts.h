// The parts of top_k that have no vectors in them.
#pragma once

#include "kernels/route/route.h"

namespace gemloupe {

// Numbers chosen experts, weighs them from p (one entry an expert) and scales: the end of every top_k.
// compared holds what select orders by; p may be null for top_k_softmax, which weighs the chosen scores.
void choose(const float* scores, const float* compared, const float* p, int64_t n, Routing routing,
            const float* per_expert_scale, int64_t k, int32_t* experts, float* weights);

}  // namespace gemloupe
