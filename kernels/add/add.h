// The sums and products of the residual stream, element by element: y = a + b and y = x * factor. y may be any of the inputs.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

using Add = void(Matrix<const float> a, Matrix<const float> b, Matrix<float> y);
using Scale = void(Matrix<const float> x, float factor, Matrix<float> y);
extern const Kernel<Add> add;
extern const Kernel<Scale> scale;

namespace reference {
Add add;
Scale scale;
}  // namespace reference
namespace avx2 {
Add add;
Scale scale;
}  // namespace avx2
namespace avx512 {
Add add;
Scale scale;
}  // namespace avx512

}  // namespace gemloupe
