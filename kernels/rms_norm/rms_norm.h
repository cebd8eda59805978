// y[t] = x[t] / sqrt(mean(x[t]^2) + eps) * scale * factor, for each row t.
//
// scale has x.cols entries, or is null for 1. y may be x. The arithmetic: the sum of squares in the order of sum.h, divided by
// cols; r = 1 / sqrt(mean + eps); then (x * r) * scale, and, unless factor is 1, that times factor.
// Zhang and Sennrich 2019; Gemma 4 multiplies by scale itself, Gemma 3's files hold 1 + scale (GGUF) or scale (Hugging Face).
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

using RmsNorm = void(Matrix<const float> x, const float* scale, float eps, float factor, Matrix<float> y);
extern const Kernel<RmsNorm> rms_norm;

namespace reference { RmsNorm rms_norm; }
namespace avx2 { RmsNorm rms_norm; }
namespace avx512 { RmsNorm rms_norm; }

}  // namespace gemloupe
