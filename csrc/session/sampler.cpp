#include "csrc/session/sampler.h"

#include <cmath>
#include <limits>

#include "csrc/core/error.h"
#include "kernels/sample/sample.h"

namespace gemloupe {
namespace {

// SplitMix64 (Steele, Lea and Flood 2014) of the pair: a draw needs no generator that would have to be kept in step.
double uniform(uint64_t seed, uint64_t index) {
  uint64_t z = seed * 0xd1342543de82ef95u + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53;
}

}  // namespace

void SamplerOptions::check_for(int64_t vocabulary) const {
  check(std::isfinite(temperature) && temperature >= 0, "temperature must be 0 or more, got ", temperature);
  check(top_k >= 0, "top_k must be 0 (all) or more, got ", top_k);
  check(top_p > 0 && top_p <= 1, "top_p must be above 0 and at most 1, got ", top_p);
  check(min_p >= 0 && min_p <= 1, "min_p must be 0 to 1, got ", min_p);
  check(std::isfinite(repetition_penalty) && repetition_penalty > 0, "repetition_penalty must be above 0, got ", repetition_penalty);
  check(repetition_window >= 0, "repetition_window must be 0 (all) or more, got ", repetition_window);
  for (const auto& [id, b] : bias) {
    check(id >= 0 && id < vocabulary, "logit_bias: token id ", id, " is outside the vocabulary of ", vocabulary);
    check(!std::isnan(b), "logit_bias of token ", id, " must be a number");
  }
  for (int32_t id : suppress) check(id >= 0 && id < vocabulary, "suppress: token id ", id, " is outside the vocabulary of ", vocabulary);
}

int32_t sample(const SamplerOptions& options, std::span<const float> logits, std::span<const int32_t> seen, uint64_t index) {
  std::vector<float> altered;
  const float* from = logits.data();
  const int64_t n = static_cast<int64_t>(logits.size());
  if (options.repetition_penalty != 1.0f || !options.bias.empty() || !options.suppress.empty()) {
    altered.assign(logits.begin(), logits.end());
    if (options.repetition_window && static_cast<int64_t>(seen.size()) > options.repetition_window)
      seen = seen.last(static_cast<size_t>(options.repetition_window));
    if (options.repetition_penalty != 1.0f) penalise(altered.data(), n, seen, options.repetition_penalty);
    for (const auto& [id, bias] : options.bias) altered[static_cast<size_t>(id)] += bias;
    for (int32_t id : options.suppress) altered[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
    from = altered.data();
  }
  const Sampling sampling{options.temperature, options.top_k, options.top_p, options.min_p};
  const int32_t token = options.temperature == 0 ? static_cast<int32_t>(argmax(from, n)) : draw(from, n, sampling, uniform(options.seed, index));
  demand(token >= 0, "sampling: no token can be chosen: every logit is NaN, infinite or suppressed; look at the values with run()");
  return token;
}

}  // namespace gemloupe
