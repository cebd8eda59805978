// y = cap * tanh(x / cap), element by element: a soft clamp to [-cap, cap] (Gemma's logits, cap 30). y may be x.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

using Softcap = void(Matrix<const float> x, float cap, Matrix<float> y);
extern const Kernel<Softcap> softcap;

namespace reference { Softcap softcap; }
namespace avx2 { Softcap softcap; }
namespace avx512 { Softcap softcap; }

}  // namespace gemloupe
