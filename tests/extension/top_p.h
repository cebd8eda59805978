// A router of one's own: the fewest experts whose probabilities reach p.
#pragma once

#include <memory>

#include "csrc/graph/op.h"

// scores f32[row, experts], per_expert_scale [experts] or no weight -> experts i32[row, slots], weights f32[row, slots].
// Weights are the probabilities divided by their sum, times the scale. Rows that need fewer slots than `most` leave -1 behind.
std::shared_ptr<const gemloupe::Op> top_p(float p, int64_t most);
