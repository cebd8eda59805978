#include "kernels/strips/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/common/team.h"

namespace gemloupe::reference {
namespace {

// An activation row as kernels/matmul/exact.h has it: integers and their factor, which is a NaN for a row that is not finite.
struct Integers {
  std::vector<int32_t> q;
  float s = 0;

  Integers(const float* x, int64_t cols, int64_t padded) : q(static_cast<size_t>(padded)) {
    float m = 0;
    for (int64_t i = 0; i < cols; ++i) {
      if (!std::isfinite(x[i])) s = std::numeric_limits<float>::quiet_NaN();
      m = std::max(m, std::fabs(x[i]));
    }
    if (std::isnan(s) || m < 0x1p-100f) return;
    const float factor = 32639.0f / m;
    for (int64_t i = 0; i < cols; ++i) q[i] = std::clamp(static_cast<int32_t>(std::nearbyint(x[i] * factor)), -32639, 32639);
    s = m / 32639.0f;
  }
};

// Adds a unit to the sums of a strip's rows. q begins at the unit's first column; `groups` of its groups begin in the row.
void add_unit(const StripLayout& l, const uint8_t* unit, const int32_t* q, int64_t groups, float* acc) {
  uint8_t code[kStripRows * 256];
  float scale[kStripRows * 16], min[kStripRows * 16];
  strip_codes(l, unit, code);
  strip_scales(l, unit, scale, min);
  for (int64_t g = 0; g < groups; ++g)
    for (int r = 0; r < kStripRows; ++r) {
      int32_t sum = 0, plain = 0;
      for (int64_t c = g * l.group; c < (g + 1) * l.group; ++c) {
        sum += (code[c / 4 * 64 + r * 4 + c % 4] - l.offset) * q[c];
        plain += q[c];
      }
      acc[r] = std::fma(scale[g * kStripRows + r], static_cast<float>(sum), acc[r]);
      if (l.has_min) acc[r] = std::fma(min[g * kStripRows + r], static_cast<float>(plain), acc[r]);
    }
}

}  // namespace

void matmul_strips(Matrix<const float> x, const Strips& w, int64_t part, int64_t first, Matrix<float> y) {
  const StripLayout& l = w.layout;
  std::vector<Integers> rows;
  for (int64_t t = 0; t < x.rows; ++t) rows.emplace_back(x.row(t), x.cols, w.units() * l.unit);
  share((y.cols + kStripRows - 1) / kStripRows, 1, [&](int64_t from, int64_t to) {
    for (int64_t s = from; s < to; ++s)
      for (int64_t t = 0; t < x.rows; ++t) {
        float acc[kStripRows] = {};
        for (int64_t u = 0; u < w.units(); ++u) {
          const int64_t left = std::min<int64_t>(l.unit, w.cols - u * l.unit);
          add_unit(l, w.strip(part, first / kStripRows + s) + u * l.unit_bytes, rows[t].q.data() + u * l.unit,
                   (left + l.group - 1) / l.group, acc);
        }
        for (int64_t r = s * kStripRows; r < std::min(y.cols, (s + 1) * kStripRows); ++r) y.row(t)[r] = acc[r % kStripRows] * rows[t].s;
      }
  });
}

void matmul_experts_strips(Matrix<const float> x, const int32_t* expert_of_row, const Strips& stack, Matrix<float> y) {
  for (int64_t t = 0; t < y.rows; ++t) {
    if (expert_of_row[t] < 0)
      std::fill(y.row(t), y.row(t) + y.cols, 0.0f);
    else
      matmul_strips({x.row(t / (y.rows / x.rows)), 1, x.cols}, stack, expert_of_row[t], 0, {y.row(t), 1, y.cols});
  }
}

}  // namespace gemloupe::reference
