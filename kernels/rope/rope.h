// Rotary position embedding (Su et al. 2021), half-split layout: in every head of even width d, for i < d/2,
//
//   angle = float(position) * inv_freq[i]
//   y[i]       = x[i]       * cos(angle) - x[i + d/2] * sin(angle)
//   y[i + d/2] = x[i + d/2] * cos(angle) + x[i]       * sin(angle)
//
// x and y are [row, heads * head_dim]; row t stands at positions[t]; inv_freq has head_dim / 2 entries, 0 where a pair is not
// rotated. y may be x. The arithmetic: the angle is rounded to float, sine and cosine are sincos_ of math.h, and the sums are
// fma(x1, cos, -(x2 * sin)) and fma(x2, cos, x1 * sin).
#pragma once

#include <vector>

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

using Rope = void(Matrix<const float> x, const int32_t* positions, const float* inv_freq, int head_dim, Matrix<float> y);
extern const Kernel<Rope> rope;

// The frequencies, computed in float32 step by step as Transformers does: 1 / theta^(2i / head_dim), then divided by factor.
// Powers are correctly rounded, so an entry may differ from PyTorch's by an ulp of the power.
struct RopeTable {
  std::vector<float> inv_freq;  // head_dim / 2 entries
};
RopeTable default_rope(int head_dim, double theta);
// Every frequency divided by factor: positions are interpolated (Gemma 3's full layers, factor 8).
RopeTable linear_rope(int head_dim, double theta, double factor);
// Only the first rotated / 2 pairs rotate, at the frequencies of the whole width (Gemma 4's full layers: rotated is
// partial_rotary_factor * head_dim). The others pass through.
RopeTable proportional_rope(int head_dim, double theta, int rotated, double factor = 1.0);

namespace reference { Rope rope; }
namespace avx2 { Rope rope; }
namespace avx512 { Rope rope; }

}  // namespace gemloupe
