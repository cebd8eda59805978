#include "kernels/experts/experts.h"

#include <vector>

#include "kernels/experts/group.h"
#include "kernels/matmul/blocks.h"
#include "kernels/matmul/tiles.h"

namespace gemloupe {
namespace {

using experts::clear_unused;
using experts::group;
using experts::Groups;

// The readable one: every row is a matmul of its own.
template <class Weight, class Multiply>
void row_by_row(Matrix<const float> x, const int32_t* expert_of_row, Matrix<float> y, Weight&& expert, Multiply* matmul) {
  clear_unused(expert_of_row, y);
  for (int64_t t = 0; t < y.rows; ++t)
    if (expert_of_row[t] >= 0) matmul({x.row(t / (y.rows / x.rows)), 1, x.cols}, expert(expert_of_row[t]), {y.row(t), 1, y.cols});
}

template <class T>
Matrix<const T> slice(Matrix<const T> stack, int64_t first, int64_t count) {
  return {stack.row(first), count, stack.cols, stack.stride};
}

void readable(Matrix<const float> x, const int32_t* expert_of_row, int64_t rows_per_expert, const PackedRows& stack,
              Matrix<float> y) {
  row_by_row(
      x, expert_of_row, y, [&](int64_t e) { return stack.slice(e * rows_per_expert, rows_per_expert); },
      matmul_exact.runnable().front().run);
}

template <const auto& kernel, class T>
void readable_float(Matrix<const float> x, const int32_t* expert_of_row, int64_t rows_per_expert, Matrix<const T> stack,
                    Matrix<float> y) {
  row_by_row(
      x, expert_of_row, y, [&](int64_t e) { return slice(stack, e * rows_per_expert, rows_per_expert); },
      kernel.runnable().front().run);
}

template <const matmul::Steps& steps>
void grouped(Matrix<const float> x, const int32_t* expert_of_row, int64_t rows_per_expert, const PackedRows& stack,
             Matrix<float> y) {
  clear_unused(expert_of_row, y);
  if (rows_per_expert == 0) return;
  const Groups groups = group(expert_of_row, y.rows, stack.rows / rows_per_expert);
  std::vector<matmul::Job> jobs;
  for (size_t j = 0; j < groups.id.size(); ++j)
    jobs.push_back({stack.slice(groups.id[j] * rows_per_expert, rows_per_expert), groups.first[j],
                    groups.first[j + 1] - groups.first[j]});
  const auto rows = static_cast<int64_t>(groups.order.size());
  matmul::multiply(steps, {x, y, groups.order.data(), rows}, jobs.data(), static_cast<int64_t>(jobs.size()));
}

template <const matmul::Blocks& blocks, matmul::Block* matmul::Blocks::*block, class T>
void grouped_float(Matrix<const float> x, const int32_t* expert_of_row, int64_t rows_per_expert, Matrix<const T> stack,
                   Matrix<float> y) {
  clear_unused(expert_of_row, y);
  if (rows_per_expert == 0) return;
  const Groups groups = group(expert_of_row, y.rows, stack.rows / rows_per_expert);
  std::vector<matmul::FloatJob> jobs;
  for (size_t j = 0; j < groups.id.size(); ++j)
    jobs.push_back({stack.row(groups.id[j] * rows_per_expert), rows_per_expert, groups.first[j],
                    groups.first[j + 1] - groups.first[j]});
  const auto rows = static_cast<int64_t>(groups.order.size());
  matmul::multiply(blocks.*block, x, groups.order.data(), rows, jobs.data(), static_cast<int64_t>(jobs.size()), stack.stride,
                   sizeof(T), y);
}

}  // namespace

using matmul::Blocks;

const Kernel<MatmulExperts> matmul_experts = {
    {"reference", Isa::reference, readable},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, grouped<matmul::avx2_steps>},
    {"avx512", Isa::avx512, grouped<matmul::avx512_steps>},
#endif
};

const Kernel<MatmulExpertsFloat> matmul_experts_float = {
    {"reference", Isa::reference, readable_float<matmul_float, float>},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, grouped_float<matmul::avx2_blocks, &Blocks::f32, float>},
    {"avx512", Isa::avx512, grouped_float<matmul::avx512_blocks, &Blocks::f32, float>},
#endif
};

const Kernel<MatmulExpertsHalf> matmul_experts_f16 = {
    {"reference", Isa::reference, readable_float<matmul_f16, uint16_t>},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, grouped_float<matmul::avx2_blocks, &Blocks::f16, uint16_t>},
    {"avx512", Isa::avx512, grouped_float<matmul::avx512_blocks, &Blocks::f16, uint16_t>},
#endif
};

const Kernel<MatmulExpertsHalf> matmul_experts_bf16 = {
    {"reference", Isa::reference, readable_float<matmul_bf16, uint16_t>},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, grouped_float<matmul::avx2_blocks, &Blocks::bf16, uint16_t>},
    {"avx512", Isa::avx512, grouped_float<matmul::avx512_blocks, &Blocks::bf16, uint16_t>},
#endif
};

}  // namespace gemloupe
