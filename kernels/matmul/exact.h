// y = x Wᵀ over packed weights in the arithmetic `exact`: the codes stay what the file says, the activations become 16-bit
// integers.
//
// An activation row x with m = max|x[i]| becomes
//     q[i] = x[i] * (32639 / m), rounded to the nearest integer, ties to even, and cut to ±32639;     s = m / 32639
// (the quotients in float). A row with m < 2^-100 counts as zero; a row with a NaN or an infinity gives NaN outputs.
// A weight row is w[i] = scale[g] * (code[i] - offset) + min[g] with g = i / group (kernels/codes/codes.h). Then, from acc
// = +0, for every group in ascending order, and inside a group for every run of 256 columns (the last one may be shorter)
// in ascending order:
//     S = sum of (code[i] - offset) * q[i],   X = sum of q[i]      exact, in 32-bit integers
//     acc = fma(scale[g], float(S), acc),     and for a format with minima   acc = fma(min[g], float(X), acc)
// and y = acc * s. So an output depends on its activation row and its weight row and on nothing else: not on the other rows,
// threads, tiles or instruction set, and every variant gives the same bits (where the result is a NaN, any NaN).
//
// 32639 = 127 * 256 + 127: q = 256 * hi + lo with both in -128..127, so the int8 pipe multiplies it exactly in two passes.
#pragma once

#include <cstdint>

#include "kernels/codes/codes.h"
#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

// The rows of a packed weight: row r begins at data + r * row_bytes and is ceil(cols / layout.block) whole blocks. What
// its codes past `cols` are does not matter. `context` is what the decoder gets.
struct PackedRows {
  const uint8_t* data = nullptr;
  int64_t rows = 0, cols = 0, row_bytes = 0;
  CodesLayout layout;
  const Kernel<DecodeCodes>* decode = nullptr;
  const void* context = nullptr;

  PackedRows slice(int64_t first, int64_t count) const {
    PackedRows part = *this;
    part.data += first * row_bytes;
    part.rows = count;
    return part;
  }
};

// y[t, r] = sum over i of x[t, i] * w[r, i]. x is [T, w.cols], y is [T, w.rows]; they do not overlap. Shared by the team's
// threads; may be called from inside a shared loop, where it runs on the calling thread. Throws std::bad_alloc only.
using MatmulExact = void(Matrix<const float> x, const PackedRows& w, Matrix<float> y);
extern const Kernel<MatmulExact> matmul_exact;

}  // namespace gemloupe
