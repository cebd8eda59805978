#if defined(__AVX2__)

#include "kernels/common/lanes_avx2.h"

#include "kernels/sample/vector.h"  // after its Lanes

namespace gemloupe::avx2 {

int64_t argmax(const float* logits, int64_t n) { return argmax_lanes(logits, n); }

int64_t top_candidates(const float* logits, int64_t n, int64_t k, Candidate* out) {
  return top_candidates_lanes(logits, n, k, out);
}

double mass(const float* logits, int64_t n, float largest, float temperature) {
  return mass_lanes(logits, n, largest, temperature);
}

}  // namespace gemloupe::avx2

#endif
