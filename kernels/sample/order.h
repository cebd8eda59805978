// The order of candidates, for the variants of top_candidates.
#pragma once

#include "kernels/sample/sample.h"

namespace gemloupe {

// Moves the k best of `count` candidates to the front, in any order, and returns the worst of them; count >= k >= 1.
float keep_best(Candidate* candidates, int64_t count, int64_t k);
// Sorts candidates, the best first.
void sort_candidates(Candidate* candidates, int64_t count);

}  // namespace gemloupe
