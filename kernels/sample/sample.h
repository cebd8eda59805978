// The next token from one row of logits. NaN and minus infinity (a suppressed token) are never chosen.
//
// The order is the usual one: penalties and biases on the logits first (penalise, or whatever the caller writes), then
// temperature, top-k, top-p, min-p, then the draw. Candidates are ordered by logit, descending, equals by ascending id.
#pragma once

#include <span>

#include "kernels/common/kernel.h"

namespace gemloupe {

struct Candidate {
  int32_t id;
  float logit;
};

// The index of the largest logit, of equals the lowest; -1 if there is none.
using Argmax = int64_t(const float* logits, int64_t n);
extern const Kernel<Argmax> argmax;

// The k best candidates in order; returns how many there are (fewer than k if fewer logits are eligible). out has room for k.
using TopCandidates = int64_t(const float* logits, int64_t n, int64_t k, Candidate* out);
extern const Kernel<TopCandidates> top_candidates;

// Sum of exp_((logits[i] - largest) / temperature) over the eligible i, in double in the order of sum.h. An infinite largest
// counts its equals.
using Mass = double(const float* logits, int64_t n, float largest, float temperature);
extern const Kernel<Mass> mass;

struct Sampling {
  float temperature = 1.0f;  // 0 takes the best candidate
  int64_t top_k = 0;         // keep the k best; 0 keeps all
  float top_p = 1.0f;        // keep the fewest best whose probability reaches p, at least one; 1 keeps all
  float min_p = 0.0f;        // keep those with at least min_p times the best one's probability
};

// Draws a token id with `uniform` from [0, 1): the first candidate at which the cumulative probability exceeds it. -1 if no
// logit is eligible. The same logits, settings and uniform give the same token everywhere. Throws std::bad_alloc.
int32_t draw(const float* logits, int64_t n, const Sampling& sampling, double uniform);

// What draw chooses from: the kept candidates with their probabilities (summing to 1), in order. Returns how many of them were
// written; out and probabilities have room for `room`. draw is the inverse of their cumulative sum.
int64_t kept_candidates(const float* logits, int64_t n, const Sampling& sampling, int64_t room, Candidate* out,
                        double* probabilities);

// Divides positive and multiplies other logits of the given tokens by the penalty, each token once (Keskar et al. 2019). Ids
// out of range are left out.
void penalise(float* logits, int64_t n, std::span<const int32_t> ids, float penalty);

namespace reference {
Argmax argmax;
TopCandidates top_candidates;
Mass mass;
}  // namespace reference
namespace avx2 {
Argmax argmax;
TopCandidates top_candidates;
Mass mass;
}  // namespace avx2
namespace avx512 {
Argmax argmax;
TopCandidates top_candidates;
Mass mass;
}  // namespace avx512

}  // namespace gemloupe
