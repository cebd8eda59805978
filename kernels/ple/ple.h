// Per-layer embeddings of Gemma 4 E2B and E4B: y = (context + table) * 2^(-1/2), element by element.
//
// context is the normed projection of the input embedding, table the scaled rows of the per-layer table, both [row, layers *
// width]. y may be either. Their gate inside a layer is gelu_gate with the layer's slice of y.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

inline constexpr float kHalfRoot = 0.70710678118654752f;

using PleCombine = void(Matrix<const float> context, Matrix<const float> table, Matrix<float> y);
extern const Kernel<PleCombine> ple_combine;

namespace reference { PleCombine ple_combine; }
namespace avx2 { PleCombine ple_combine; }
namespace avx512 { PleCombine ple_combine; }

}  // namespace gemloupe
