// From router scores to experts and their weights: score -> bias -> select -> weigh. Each part is a function of one row, so a
// policy of one's own is a few lines; top_k puts them together for the common policies.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

enum class Routing {
  softmax,               // weights are the softmax over all experts
  softmax_renormalised,  // ... divided by the sum of the chosen ones (Gemma 4)
  top_k_softmax,         // the softmax over the chosen scores alone (Mixtral)
  sigmoid_renormalised,  // the sigmoid of the chosen scores divided by their sum (DeepSeek-V3)
};

// experts and weights are [row, k] with k = experts.cols; scores is [row, experts]. Slots are in descending order of what was
// compared: the scores, or, if bias (one entry an expert, or null) is given, probability + bias (score + bias for
// top_k_softmax). The bias chooses and never weighs. Each weight is multiplied by per_expert_scale[expert], if not null, at the
// end. Equals go to the lower index; a NaN ranks last and makes the weights of its row NaN. Slots past the number of experts
// get expert -1 and weight 0.
using TopK = void(Matrix<const float> scores, Routing routing, const float* bias, const float* per_expert_scale,
                  Matrix<int32_t> experts, Matrix<float> weights);
extern const Kernel<TopK> top_k;

// The parts, for one row of n. All sums are in the order of sum.h; p may be the scores.
void softmax(const float* scores, int64_t n, float* p);
void sigmoid(const float* scores, int64_t n, float* p);
// The k largest of n, descending, as top_k orders them.
void select(const float* compared, int64_t n, int64_t k, int32_t* chosen);
// weights /= their sum.
void renormalise(float* weights, int64_t k);

// Measures of a router, in double; slots that are no expert (-1) do not count.
void load_counts(Matrix<const int32_t> experts, int64_t n, int64_t* counts);  // rows sent to each of n experts
double balance_loss(Matrix<const float> scores,
                    Matrix<const int32_t> experts);      // n * sum of load_i * mean softmax_i (Switch); 1 = even
double z_loss(Matrix<const float> scores);               // mean of logsumexp^2 (ST-MoE)
double mean_entropy(Matrix<const float> scores);         // of the softmax of a row, in nats
double load_entropy(const int64_t* counts, int64_t n);   // of the load over experts, in nats
double max_violation(const int64_t* counts, int64_t n);  // largest load / mean load - 1 (Wang et al. 2024)

namespace reference { TopK top_k; }
namespace avx2 { TopK top_k; }
namespace avx512 { TopK top_k; }

}  // namespace gemloupe
