#include "kernels/int8/int8.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/common/team.h"
#include "kernels/int8/steps.h"

namespace gemloupe {
namespace int8 {
namespace {

// The activation rows of a call.
struct Activations {
  int64_t rows, padded;
  std::vector<int8_t> q;
  std::vector<int32_t> sums;
  std::vector<float> s;

  Activations(Matrix<const float> x, int64_t padded)
      : rows(x.rows),
        padded(padded),
        q(static_cast<size_t>(rows * padded)),
        sums(static_cast<size_t>(rows * padded / kPart)),
        s(static_cast<size_t>(rows * padded / kBlock)) {
    share(rows, 1 + 16384 / padded, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t)
        for (int64_t c = 0; c < x.cols; c += kBlock)
          s[(t * padded + c) / kBlock] = block(x.row(t) + c, static_cast<int>(std::min<int64_t>(kBlock, x.cols - c)), t * padded + c);
    });
  }

  float block(const float* x, int count, int64_t at) {
    float m = 0;
    bool finite = true;
    for (int i = 0; i < count; ++i) {
      finite = finite && std::isfinite(x[i]);
      m = std::max(m, std::fabs(x[i]));
    }
    if (!finite) return std::numeric_limits<float>::quiet_NaN();
    if (m < 0x1p-100f) return 0.0f;
    const float factor = 127.0f / m;
    for (int i = 0; i < count; ++i) {
      q[at + i] = static_cast<int8_t>(std::clamp(static_cast<int>(std::nearbyint(x[i] * factor)), -127, 127));
      sums[(at + i) / kPart] += q[at + i];
    }
    return m / 127.0f;
  }

  void aim(Product& p, int64_t column) const {
    p.rows = rows, p.padded = padded;
    p.q = q.data() + column, p.sums = sums.data() + column / kPart, p.s = s.data() + column / kBlock;
  }
};

void multiply(const Product& p) {
  for (int64_t t = 0; t < p.rows; ++t)
    for (int64_t c = 0, end; c < p.cols; c = end) {
      const int64_t g = c / p.group;
      end = std::min((c / kBlock + 1) * kBlock, (g + 1) * p.group);
      for (int r = 0; r < kStripRows; ++r) {
        int32_t sum = 0, plain = 0;
        for (int64_t i = c; i < end; ++i) {
          sum += (p.codes[(i / 4 * kStripRows + r) * 4 + i % 4] - p.offset) * p.q[t * p.padded + i];
          plain += p.q[t * p.padded + i];
        }
        float piece = p.scale[g * kStripRows + r] * static_cast<float>(sum);
        if (p.min) piece = std::fma(p.min[g * kStripRows + r], static_cast<float>(plain), piece);
        float& acc = p.acc[t * kStripRows + r];
        acc = std::fma(p.s[t * p.padded / kBlock + c / kBlock], piece, acc);
      }
    }
}

const Steps reference_steps = {strip_codes, strip_scales, multiply};

// acc [row][16] of strip s of y.
void store(const std::vector<float>& acc, int64_t s, Matrix<float> y) {
  const int64_t first = s * kStripRows, count = std::min<int64_t>(kStripRows, y.cols - first);
  for (int64_t t = 0; t < y.rows; ++t) std::copy_n(acc.data() + t * kStripRows, count, y.row(t) + first);
}

int64_t strips_of(Matrix<float> y) { return (y.cols + kStripRows - 1) / kStripRows; }

template <const Steps& steps>
void strips(Matrix<const float> x, const Strips& w, int64_t part, int64_t first, Matrix<float> y) {
  const StripLayout& l = w.layout;
  const Activations a(x, std::max<int64_t>(1, w.units()) * l.unit);
  share(strips_of(y), 1, [&](int64_t from, int64_t to) {
    std::vector<uint8_t> codes(static_cast<size_t>(l.unit * kStripRows));
    std::vector<float> scale(static_cast<size_t>(l.unit / l.group * kStripRows)), min(scale), acc;
    Product p;
    p.codes = codes.data(), p.scale = scale.data(), p.min = l.has_min ? min.data() : nullptr;
    p.group = l.group, p.offset = l.offset;
    for (int64_t s = from; s < to; ++s) {
      acc.assign(static_cast<size_t>(x.rows * kStripRows), 0.0f);
      p.acc = acc.data();
      for (int64_t u = 0; u < w.units(); ++u) {
        const uint8_t* unit = w.strip(part, first / kStripRows + s) + u * l.unit_bytes;
        steps.codes(l, unit, codes.data());
        steps.scales(l, unit, scale.data(), min.data());
        p.cols = std::min<int64_t>(l.unit, w.cols - u * l.unit);
        a.aim(p, u * l.unit);
        steps.multiply(p);
      }
      store(acc, s, y);
    }
  });
}

// Rows without strips are decoded sixteen at a time and put into the order of a strip.
template <const Steps& steps>
void rows(Matrix<const float> x, const PackedRows& w, Matrix<float> y) {
  const CodesLayout& l = w.layout;
  if (w.cols == 0) {
    for (int64_t t = 0; t < y.rows; ++t) std::fill(y.row(t), y.row(t) + y.cols, 0.0f);
    return;
  }
  const int64_t groups = (w.cols + l.group - 1) / l.group, padded = (groups * l.group + kBlock - 1) / kBlock * kBlock;
  const Activations a(x, padded);
  share(strips_of(y), 1, [&](int64_t from, int64_t to) {
    std::vector<uint8_t> row(static_cast<size_t>(padded)), codes(static_cast<size_t>(padded * kStripRows));
    std::vector<float> row_scale(static_cast<size_t>(groups)), row_min(row_scale), scale(static_cast<size_t>(groups * kStripRows)), min(scale), acc;
    Product p;
    p.codes = codes.data(), p.scale = scale.data(), p.min = l.has_min ? min.data() : nullptr;
    p.group = l.group, p.offset = l.offset, p.cols = w.cols;
    a.aim(p, 0);
    for (int64_t s = from; s < to; ++s) {
      for (int64_t r = 0; r < std::min<int64_t>(kStripRows, w.rows - s * kStripRows); ++r) {
        (*w.decode)(w.context, w.data + (s * kStripRows + r) * w.row_bytes, w.cols, row.data(), row_scale.data(),
                    l.has_min ? row_min.data() : static_cast<float*>(nullptr));
        for (int64_t c = 0; c < w.cols; ++c) codes[(c / 4 * kStripRows + r) * 4 + c % 4] = row[c];
        for (int64_t g = 0; g < groups; ++g) scale[g * kStripRows + r] = row_scale[g], min[g * kStripRows + r] = row_min[g];
      }
      acc.assign(static_cast<size_t>(x.rows * kStripRows), 0.0f);
      p.acc = acc.data();
      steps.multiply(p);
      store(acc, s, y);
    }
  });
}

}  // namespace
}  // namespace int8

const Kernel<MatmulExact> matmul_int8 = {
    {"reference", Isa::reference, int8::rows<int8::reference_steps>},
#if defined(__x86_64__)
    {"avx512", Isa::avx512, int8::rows<int8::avx512_steps>},
#endif
};

const Kernel<MatmulStrips> matmul_strips_int8 = {
    {"reference", Isa::reference, int8::strips<int8::reference_steps>},
#if defined(__x86_64__)
    {"avx512", Isa::avx512, int8::strips<int8::avx512_steps>},
#endif
};

}  // namespace gemloupe
