#include "kernels/experts/combine.h"

#include <algorithm>

#include "kernels/common/team.h"

namespace gemloupe {

void reference::combine_experts(Matrix<const float> x, Matrix<const int32_t> experts, Matrix<const float> weights, Matrix<float> y) {
  share(y.rows, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      std::fill(y.row(t), y.row(t) + y.cols, 0.0f);
      for (int64_t s = 0; s < experts.cols; ++s)
        for (int64_t i = 0; i < y.cols && experts.row(t)[s] >= 0; ++i) y.row(t)[i] += weights.row(t)[s] * x.row(t * experts.cols + s)[i];
    }
  });
}

const Kernel<CombineExperts> combine_experts{
    {"reference", Isa::reference, reference::combine_experts},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::combine_experts},
    {"avx512", Isa::avx512, avx512::combine_experts},
#endif
};

}  // namespace gemloupe
