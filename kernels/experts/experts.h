// Each activation row times the weight of its own expert.
//
// A stack holds the experts' weights one after the other: expert e owns the rows [e * rows_per_expert, (e + 1) *
// rows_per_expert).
//     y[t, r] = sum over i of x[t / each, i] * stack[expert_of_row[t] * rows_per_expert + r, i],   each = y.rows / x.rows
// Rows are grouped by expert, so each expert's weights are read once a call whatever the number of its rows; an expert
// without rows is not read. A row's result has the bits of matmul_exact (or matmul_float, ...) of that row alone.
#pragma once

#include <cstdint>

#include "kernels/matmul/exact.h"
#include "kernels/matmul/float.h"

namespace gemloupe {

// x is [T / each, stack.cols], y is [T, rows_per_expert], expert_of_row has T entries in -1 .. stack.rows / rows_per_expert - 1.
// The expert -1 is an unused row: its y row is zero. Shared by the team's threads, like matmul_exact.
using MatmulExperts = void(Matrix<const float> x, const int32_t* expert_of_row, int64_t rows_per_expert,
                           const PackedRows& stack, Matrix<float> y);
using MatmulExpertsFloat = void(Matrix<const float> x, const int32_t* expert_of_row, int64_t rows_per_expert,
                                Matrix<const float> stack, Matrix<float> y);
using MatmulExpertsHalf = void(Matrix<const float> x, const int32_t* expert_of_row, int64_t rows_per_expert,
                               Matrix<const uint16_t> stack, Matrix<float> y);
extern const Kernel<MatmulExperts> matmul_experts;
extern const Kernel<MatmulExpertsFloat> matmul_experts_float;
extern const Kernel<MatmulExpertsHalf> matmul_experts_f16, matmul_experts_bf16;

}  // namespace gemloupe
