// y = gelu(gate) * up, element by element; gelu is the "tanh" approximation of Hendrycks and Gimpel 2016 (gelu_ in math.h).
//
// gate, up and y have one shape and strides of their own, so a slice of a wider matrix serves (the gate of per-layer embeddings
// takes its slice as up). y may be gate or up.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

using GeluGate = void(Matrix<const float> gate, Matrix<const float> up, Matrix<float> y);
extern const Kernel<GeluGate> gelu_gate;

namespace reference { GeluGate gelu_gate; }
namespace avx2 { GeluGate gelu_gate; }
namespace avx512 { GeluGate gelu_gate; }

}  // namespace gemloupe
