// The blocked form of the float matmuls that the vector variants share; only this room and kernels/experts include it.
//
// A block of a few activation rows times a few weight rows keeps 16 lanes for every output in registers over all columns,
// so each value that is read serves several outputs, and each output keeps the one order of kernels/common/sum.h.
#pragma once

#include <cstdint>

#include "kernels/matmul/float.h"

namespace gemloupe::matmul {

// y[t][y_first + r] for `tokens` activation rows and `rows` weight rows of `cols` elements, `stride` elements apart.
using Block = void(const float* const* x, int64_t tokens, const void* w, int64_t stride, int64_t rows, int64_t cols,
                   float* const* y, int64_t y_first);

struct Blocks {
  Block *f32, *f16, *bf16;
};
extern const Blocks reference_blocks, avx2_blocks, avx512_blocks;

// Weight rows and the activation rows they are multiplied with.
struct FloatJob {
  const void* w = nullptr;
  int64_t rows = 0;
  int64_t first = 0, tokens = 0;  // in the order of the batch
};

// Rows order[i] of y (i where order is null). A row of x serves one row of y, or as many in succession as y has more rows. Jobs
// cover `tokens` rows. A weight element is `bytes` long.
void multiply(Block* block, Matrix<const float> x, const int32_t* order, int64_t tokens, const FloatJob* jobs, int64_t count,
              int64_t stride, int bytes, Matrix<float> y);

}  // namespace gemloupe::matmul
