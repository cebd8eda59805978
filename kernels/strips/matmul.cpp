#include <vector>

#include "kernels/experts/group.h"
#include "kernels/strips/exact.h"
#include "kernels/strips/reference.h"

namespace gemloupe {
namespace {

#if defined(__x86_64__)
template <const strips::Steps& steps>
void with(Matrix<const float> x, const Strips& w, int64_t part, int64_t first, Matrix<float> y) {
  const strips::Job job{part, 0, x.rows};
  strips::multiply(steps, {x, y, nullptr, x.rows}, w, first, &job, 1);
}

template <const strips::Steps& steps>
void experts_with(Matrix<const float> x, const int32_t* expert_of_row, const Strips& stack, Matrix<float> y) {
  experts::clear_unused(expert_of_row, y);
  const experts::Groups groups = experts::group(expert_of_row, y.rows, stack.parts);
  std::vector<strips::Job> jobs;
  for (size_t j = 0; j < groups.id.size(); ++j) jobs.push_back({groups.id[j], groups.first[j], groups.first[j + 1] - groups.first[j]});
  const auto rows = static_cast<int64_t>(groups.order.size());
  strips::multiply(steps, {x, y, groups.order.data(), rows}, stack, 0, jobs.data(), static_cast<int64_t>(jobs.size()));
}
#endif

}  // namespace

const Kernel<MatmulStrips> matmul_strips = {
    {"reference", Isa::reference, reference::matmul_strips},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, with<strips::avx2_steps>},
    {"avx512", Isa::avx512, with<strips::avx512_steps>},
    {"amx", Isa::amx, with<strips::amx_steps>},
#endif
};

const Kernel<MatmulExpertsStrips> matmul_experts_strips = {
    {"reference", Isa::reference, reference::matmul_experts_strips},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, experts_with<strips::avx2_steps>},
    {"avx512", Isa::avx512, experts_with<strips::avx512_steps>},
    {"amx", Isa::amx, experts_with<strips::amx_steps>},
#endif
};

}  // namespace gemloupe
