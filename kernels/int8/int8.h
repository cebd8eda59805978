// y = x Wᵀ over packed weights in the arithmetic `int8`: the codes stay what the file says, the activations become 8-bit integers
// with a scale for every 32 columns, as engines do whose prompts run on the int8 pipe. It is here to be compared with.
//
// Columns 32 b .. 32 b + 31 of an activation row are a block. With m = max|x[i]| in it
//     q[i] = x[i] * (127 / m), rounded to the nearest integer, ties to even, and cut to ±127;     s[b] = m / 127
// (the quotients in float). A block with m < 2^-100 counts as zero; one with a NaN or an infinity makes all outputs of its row NaN.
// A weight row is w[i] = scale[g] * (code[i] - offset) + min[g] with g = i / group (kernels/codes/codes.h). The borders of blocks
// and of groups cut the columns into pieces. From acc = +0, for every piece in ascending order:
//     S = sum of (code[i] - offset) * q[i],   X = sum of q[i]      exact
//     p = scale[g] * float(S),     and for a format with minima   p = fma(min[g], float(X), p)
//     acc = fma(s[b], p, acc)
// and y = acc. An output depends on its activation row and its weight row alone, and all variants give the same bits (where the
// result is a NaN, any NaN).
#pragma once

#include "kernels/matmul/exact.h"
#include "kernels/strips/strips.h"

namespace gemloupe {

// As matmul_exact and as matmul_strips (kernels/strips/strips.h), but for the arithmetic.
extern const Kernel<MatmulExact> matmul_int8;
extern const Kernel<MatmulStrips> matmul_strips_int8;

}  // namespace gemloupe
