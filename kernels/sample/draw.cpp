#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/common/math.h"
#include "kernels/sample/order.h"

namespace gemloupe {
namespace {

// Ids are all different, so this order is total and every selection has one result.
bool better(const Candidate& a, const Candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

// The candidates of one draw in order, fetched in growing batches: most draws end among the first few of a large vocabulary.
class Descent {
 public:
  Descent(const float* logits, int64_t n, int64_t limit) : logits_(logits), n_(n), limit_(limit) {}

  const Candidate* at(int64_t i) {
    if (i >= limit_) return nullptr;
    if (i >= static_cast<int64_t>(held_.size()) && !complete_) {
      const int64_t asked = std::min(limit_, std::max<int64_t>(256, 16 * i));
      held_.resize(asked);
      held_.resize(top_candidates(logits_, n_, asked, held_.data()));
      complete_ = asked == limit_ || static_cast<int64_t>(held_.size()) < asked;
    }
    return i < static_cast<int64_t>(held_.size()) ? &held_[i] : nullptr;
  }

 private:
  const float* logits_;
  int64_t n_, limit_;
  std::vector<Candidate> held_;
  bool complete_ = false;
};

struct Kept {
  std::vector<Candidate> candidates;
  std::vector<double> cumulative;
  double total = 0;  // of the weights of everything kept, even of what was not walked to
};

// Walks down the candidates that stay after top-k, top-p and min-p. Where nothing is cut and `uniform` is given, it stops where
// the draw is decided.
Kept keep(const float* logits, int64_t n, const Sampling& sampling, double uniform) {
  Kept kept;
  const int64_t best = argmax(logits, n);
  if (best < 0) return kept;
  const float largest = logits[best];
  if (!(sampling.temperature > 0)) {
    kept.candidates.push_back({static_cast<int32_t>(best), largest});
    kept.cumulative.push_back(1);
    kept.total = 1;
    return kept;
  }
  const auto weight = [&](const Candidate& c) {
    return c.logit == largest ? 1.0f : exp_((c.logit - largest) / sampling.temperature);
  };
  const bool all = sampling.top_k <= 0 || sampling.top_k >= n;
  Descent descent(logits, n, all ? n : sampling.top_k);
  double total = 0;
  if (all) {
    total = mass(logits, n, largest, sampling.temperature);
  } else {
    for (int64_t i = 0; const Candidate* c = descent.at(i); ++i) total += weight(*c);
  }
  const bool cut = sampling.top_p < 1 || sampling.min_p > 0;
  double sum = 0;
  for (int64_t i = 0; const Candidate* c = descent.at(i); ++i) {
    const float w = weight(*c);
    if (w == 0 || (i > 0 && ((sampling.top_p < 1 && sum >= sampling.top_p * total) || w < sampling.min_p))) break;
    kept.candidates.push_back(*c);
    kept.cumulative.push_back(sum += w);
    if (!cut && sum > uniform * total) break;
  }
  kept.total = cut ? sum : total;
  return kept;
}

}  // namespace

float keep_best(Candidate* candidates, int64_t count, int64_t k) {
  std::nth_element(candidates, candidates + k - 1, candidates + count, better);
  return candidates[k - 1].logit;
}

void sort_candidates(Candidate* candidates, int64_t count) { std::sort(candidates, candidates + count, better); }

int32_t draw(const float* logits, int64_t n, const Sampling& sampling, double uniform) {
  const Kept kept = keep(logits, n, sampling, uniform);
  for (size_t i = 0; i < kept.candidates.size(); ++i)
    if (kept.cumulative[i] > uniform * kept.total) return kept.candidates[i].id;
  return kept.candidates.empty() ? -1 : kept.candidates.back().id;
}

int64_t kept_candidates(const float* logits, int64_t n, const Sampling& sampling, int64_t room, Candidate* out,
                        double* probabilities) {
  const Kept kept = keep(logits, n, sampling, INFINITY);
  const int64_t written = std::min<int64_t>(room, static_cast<int64_t>(kept.candidates.size()));
  for (int64_t i = 0; i < written; ++i) {
    out[i] = kept.candidates[i];
    probabilities[i] = (kept.cumulative[i] - (i ? kept.cumulative[i - 1] : 0)) / kept.total;
  }
  return written;
}

void penalise(float* logits, int64_t n, std::span<const int32_t> ids, float penalty) {
  std::vector<int32_t> once(ids.begin(), ids.end());
  std::sort(once.begin(), once.end());
  once.erase(std::unique(once.begin(), once.end()), once.end());
  for (const int32_t id : once) {
    if (id < 0 || id >= n) continue;
    logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
  }
}

}  // namespace gemloupe
