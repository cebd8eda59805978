#include "kernels/matmul/exact.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/common/team.h"
#include "kernels/matmul/tiles.h"

namespace gemloupe {
namespace reference {
namespace {

// Fills q and gives s; a NaN for a row that is not finite.
float quantize(const float* x, int64_t cols, int32_t* q) {
  float m = 0;
  bool finite = true;
  for (int64_t i = 0; i < cols; ++i) {
    finite = finite && std::isfinite(x[i]);
    m = std::max(m, std::fabs(x[i]));
  }
  std::fill(q, q + cols, 0);
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  if (m < 0x1p-100f) return 0.0f;
  const float factor = 32639.0f / m;
  for (int64_t i = 0; i < cols; ++i)
    q[i] = std::clamp(static_cast<int32_t>(std::nearbyint(x[i] * factor)), -32639, 32639);
  return m / 32639.0f;
}

}  // namespace

void matmul_exact(Matrix<const float> x, const PackedRows& w, Matrix<float> y) {
  std::vector<int32_t> q(x.rows * w.cols);
  std::vector<float> s(x.rows);
  for (int64_t t = 0; t < x.rows; ++t) s[t] = quantize(x.row(t), w.cols, q.data() + t * w.cols);

  const int group = w.layout.group;
  const int64_t groups = (w.cols + group - 1) / group, block = w.layout.block, padded = (w.cols + block - 1) / block * block;
  const int64_t rows_a_part = (w.rows + threads() - 1) / std::max(1, threads());
  const int64_t parts = w.rows ? (w.rows - 1) / rows_a_part + 1 : 0;
  std::vector<uint8_t> codes(parts * padded);
  std::vector<float> scales(parts * padded / group), minima(parts * padded / group);
  DecodeCodes* decode = w.decode->runnable().front().run;
  share(parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t r = first * rows_a_part; r < std::min(w.rows, last * rows_a_part); ++r) {
      uint8_t* code = codes.data() + first * padded;
      float *scale = scales.data() + first * padded / group, *min = minima.data() + first * padded / group;
      decode(w.context, w.data + r * w.row_bytes, padded, code, scale, min);
      for (int64_t t = 0; t < x.rows; ++t) {
        float acc = 0;
        for (int64_t g = 0; g < groups; ++g)
          for (int64_t run = g * group, end = std::min(w.cols, run + group); run < end; run += 256) {
            int32_t sum = 0, plain = 0;
            for (int64_t i = run; i < std::min(end, run + 256); ++i) {
              sum += (code[i] - w.layout.offset) * q[t * w.cols + i];
              plain += q[t * w.cols + i];
            }
            acc = std::fma(scale[g], static_cast<float>(sum), acc);
            if (w.layout.has_min) acc = std::fma(min[g], static_cast<float>(plain), acc);
          }
        y.row(t)[r] = acc * s[t];
      }
    }
  });
}

}  // namespace reference

namespace {

#if defined(__x86_64__)
void with_avx2(Matrix<const float> x, const PackedRows& w, Matrix<float> y) {
  const matmul::Job job{w, 0, x.rows};
  matmul::multiply(matmul::avx2_steps, {x, y, nullptr, x.rows}, &job, 1);
}
void with_avx512(Matrix<const float> x, const PackedRows& w, Matrix<float> y) {
  const matmul::Job job{w, 0, x.rows};
  matmul::multiply(matmul::avx512_steps, {x, y, nullptr, x.rows}, &job, 1);
}
#endif

}  // namespace

const Kernel<MatmulExact> matmul_exact = {
    {"reference", Isa::reference, reference::matmul_exact},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, with_avx2},
    {"avx512", Isa::avx512, with_avx512},
#endif
};

}  // namespace gemloupe
