// The ops that models are composed of, each a box of the papers' diagrams. One file an op; none knows another.
// Shapes are of one row; d, h, n … are taken from the inputs' types when the graph is built.
#pragma once

#include <memory>
#include <vector>

#include "csrc/graph/op.h"
#include "kernels/route/route.h"

namespace gemloupe::ops {

using OpPtr = std::shared_ptr<const Op>;

// tokens i32[row], weight [vocabulary, width] -> the rows of the weight times `factor`, seen as `shape` (empty: [width]).
OpPtr embed(float factor, std::vector<int64_t> shape = {});

// x[…] (width of the weight's columns) -> x Wᵀ times `factor`, seen as `shape` (empty: [rows of the weight]).
OpPtr linear(std::vector<int64_t> shape = {}, float factor = 1.0f);

// x[…, d], weight [d] or none -> x / sqrt(mean(x²) + eps) * weight * factor over the last dimension.
OpPtr rms_norm(float eps, float factor = 1.0f);

// q[heads, d] (and k[kv_heads, d]), positions -> the same rotated by angle position * inv_freq[i], pairs (i, i + d/2).
OpPtr rope(std::vector<float> inv_freq, std::string description);

// k[kv_heads, d], v[kv_heads, d] -> keys, values f32[key, kv_heads, d] and positions i32[key] of all that the step's rows may
// see: those of earlier steps and of this one. Keeps the last `window` positions (0: all) and what one step brings.
OpPtr kv_cache(int64_t window);

// q[heads, d], keys, values, positions -> softmax(scale * q kᵀ) v over the visible keys: positions p - window < k <= p (window 0:
// k <= p). Query head j reads key head j / (heads / kv_heads).
OpPtr attention(int64_t window, float scale);

// gate, up of one shape -> gelu_tanh(gate) * up.
OpPtr gelu_gate();
// gate[p], ple[layers, p] -> gelu_tanh(gate) * ple[layer].
OpPtr ple_gate(int64_t layer);
// table[layers, p], context[layers, p] -> (context + table) / sqrt(2): the per-layer embeddings.
OpPtr ple_combine();

OpPtr add();                      // a + b
OpPtr scale();                    // x * weight[1]
OpPtr softcap(float cap);         // cap * tanh(x / cap)
OpPtr select_rows();              // x[…], wanted -> the wanted rows

// scores[experts] (weight per_expert_scale[experts] or none) -> experts i32[any], weights f32[any]: the k best.
OpPtr top_k(int64_t k, Routing routing);
// x[width] or x[slot, width], experts[slot], weights: stacks [experts, n, width] -> [slot, sum of n]; expert -1: zeros.
OpPtr experts_linear();
// gate_up[slot, 2m] -> gelu_tanh(first half) * second half, [slot, m].
OpPtr gelu_gate_halves();
// x[slot, width], weights[slot] -> the weighted sum over slots in ascending order; experts[slot] -1 is left out.
OpPtr combine_experts();

}  // namespace gemloupe::ops
