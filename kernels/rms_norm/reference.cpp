#include <cmath>

#include "kernels/common/sum.h"
#include "kernels/common/team.h"
#include "kernels/rms_norm/rms_norm.h"

namespace gemloupe::reference {

void rms_norm(Matrix<const float> x, const float* scale, float eps, float factor, Matrix<float> y) {
  share(x.rows, 8, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const float* in = x.row(t);
      float* out = y.row(t);
      const float mean = dot_reference(in, in, x.cols) / static_cast<float>(x.cols);
      const float r = 1.0f / std::sqrt(mean + eps);
      for (int64_t i = 0; i < x.cols; ++i) {
        float v = in[i] * r;
        if (scale) v *= scale[i];
        if (factor != 1.0f) v *= factor;
        out[i] = v;
      }
    }
  });
}

}  // namespace gemloupe::reference
