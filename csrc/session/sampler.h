// From logits to a token.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace gemloupe {

struct SamplerOptions {
  float temperature = 0.0f;          // 0: greedy, the lowest id of the largest logit
  int64_t top_k = 0;                 // 0: all
  float top_p = 1.0f;                // the fewest most probable tokens whose sum reaches it
  float min_p = 0.0f;                // at least this share of the most probable token's probability
  float repetition_penalty = 1.0f;   // CTRL's: positive logits of tokens seen are divided by it, negative ones multiplied
  int64_t repetition_window = 0;     // how many of the last tokens count as seen; 0: all
  std::map<int32_t, float> bias;     // added to logits
  std::vector<int32_t> suppress;     // never chosen
  uint64_t seed = 0;

  // Throws std::invalid_argument for values without meaning and ids outside the vocabulary.
  void check_for(int64_t vocabulary) const;
};

// Order: penalty, bias, suppression; temperature; top-k, top-p, min-p. The draw is a function of (seed, index) alone, so a sequence
// is the same whatever else runs beside it. `index` counts the sequence's generated tokens; `seen` are its tokens so far.
int32_t sample(const SamplerOptions& options, std::span<const float> logits, std::span<const int32_t> seen, uint64_t index);

}  // namespace gemloupe
