#include "kernels/matmul/batch.h"

#include <algorithm>

#include "kernels/common/team.h"

namespace gemloupe::matmul {

Quantized::Quantized(int64_t cols, int64_t padded, int group)
    : padded(padded),
      runs(cols / group * ((group + kRun - 1) / kRun) + (cols % group + kRun - 1) / kRun),
      group(group) {}

int64_t Quantized::bytes(int64_t rows) const {
  return Pieces::bytes<uint8_t>(rows * plane_stride()) + Pieces::bytes<int32_t>(rows * runs) + Pieces::bytes<float>(rows * runs) +
         Pieces::bytes<float>(rows) + Pieces::bytes<float*>(rows);
}

void Quantized::place(Pieces& pieces, int64_t rows) {
  planes = pieces.take<uint8_t>(rows * plane_stride());
  correction = pieces.take<int32_t>(rows * runs);
  sums = pieces.take<float>(rows * runs);
  row_scale = pieces.take<float>(rows);
  y = pieces.take<float*>(rows);
}

void Quantized::fill(Quantize* quantize, const Batch& batch, int offset, bool shared) const {
  const auto row = [&](int64_t i) { return batch.order ? batch.order[i] : i; };
  const int64_t made = one ? 1 : batch.rows;
  share(shared ? made : 1, std::max<int64_t>(1, (1 << 16) / padded), [&](int64_t first, int64_t last) {
    if (!shared) first = 0, last = made;
    for (int64_t i = first; i < last; ++i) {
      int32_t* x_sums = correction + i * runs;
      row_scale[i] = quantize(batch.x_row(row(i)), batch.x.cols, padded, group, planes + i * plane_stride(), x_sums);
      for (int64_t g = 0; g < runs; ++g) {
        sums[i * runs + g] = static_cast<float>(x_sums[g]);
        x_sums[g] = static_cast<int32_t>(-static_cast<uint32_t>(offset) * static_cast<uint32_t>(x_sums[g]));
      }
    }
  });
  for (int64_t i = 0; i < batch.rows; ++i) y[i] = batch.y.row(row(i));
  for (int64_t i = made; i < batch.rows; ++i) row_scale[i] = row_scale[0];
}

}  // namespace gemloupe::matmul
