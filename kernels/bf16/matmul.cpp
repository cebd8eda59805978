#include <algorithm>
#include <vector>

#include "kernels/bf16/tiles.h"
#include "kernels/common/half.h"
#include "kernels/common/team.h"

namespace gemloupe {
namespace {

// ---- The readable one ----

void round_row(const float* from, int64_t cols, std::vector<uint16_t>& to) {
  to.assign((cols + kTileBlock - 1) / kTileBlock * kTileBlock, 0);
  std::transform(from, from + cols, to.begin(), [](float v) { return tile_bf16(v); });
}

// Row r of a strip as the float32 numbers that its format defines.
void strip_row(const Strips& w, const uint8_t* strip, int r, float* out) {
  const StripLayout& layout = w.layout;
  std::vector<float> scale(layout.unit / layout.group * kStripRows), min(scale.size());
  std::vector<uint8_t> code(layout.unit * kStripRows);
  for (int64_t c = 0; c < w.cols; c += layout.unit, strip += layout.unit_bytes) {
    strip_scales(layout, strip, scale.data(), min.data());
    strip_codes(layout, strip, code.data());
    for (int i = 0; i < layout.unit && c + i < w.cols; ++i) {
      const int at = i / layout.group * kStripRows + r;
      const float v = scale[at] * static_cast<float>(code[(i / 4 * kStripRows + r) * 4 + i % 4] - layout.offset);
      out[c + i] = layout.has_min ? v + min[at] : v;
    }
  }
}

void weight_row(const TileWeight& w, int64_t part, int64_t r, float* out) {
  const int64_t row = part * w.rows + r;
  if (w.strips)
    strip_row(*w.strips, w.strips->strip(part, r / kStripRows), static_cast<int>(r % kStripRows), out);
  else if (w.half)
    std::transform(w.half + row * w.stride, w.half + row * w.stride + w.cols, out,
                   [&](uint16_t h) { return w.is_bf16 ? bf16_to_float(h) : f16_to_float(h); });
  else
    w.unpack(w.context, row, 1, out);
}

void readable(Matrix<const float> x, const TileWeight& w, int64_t part, int64_t first, Matrix<float> y) {
  std::vector<std::vector<uint16_t>> rounded(x.rows);
  for (int64_t t = 0; t < x.rows; ++t) round_row(x.row(t), x.cols, rounded[t]);
  share(y.cols, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row(w.cols);
    std::vector<uint16_t> weight;
    for (int64_t r = begin; r < end; ++r) {
      weight_row(w, part, first + r, row.data());
      round_row(row.data(), w.cols, weight);
      for (int64_t t = 0; t < x.rows; ++t) {
        float acc = 0;
        for (size_t b = 0; b < weight.size(); b += kTileBlock) acc = tile_block(&rounded[t][b], &weight[b], acc);
        y.row(t)[r] = acc;
      }
    }
  });
}

void readable_experts(Matrix<const float> x, const int32_t* expert_of_row, const TileWeight& stack, Matrix<float> y) {
  for (int64_t t = 0; t < y.rows; ++t) {
    if (expert_of_row[t] < 0)
      std::fill(y.row(t), y.row(t) + y.cols, 0.0f);
    else
      readable({x.row(t / (y.rows / x.rows)), 1, x.cols}, stack, expert_of_row[t], 0, {y.row(t), 1, y.cols});
  }
}

// ---- In tiles ----

template <const tiles::Steps& steps>
void tiled(Matrix<const float> x, const TileWeight& w, int64_t part, int64_t first, Matrix<float> y) {
  if (x.rows == 0 || y.cols == 0) return;
  const tiles::Job job{part, 0, x.rows};
  tiles::multiply(steps, {x, y, nullptr}, w, first, &job, 1);
}

// Rows sorted by expert, in their own order within one.
template <const tiles::Steps& steps>
void grouped(Matrix<const float> x, const int32_t* expert_of_row, const TileWeight& stack, Matrix<float> y) {
  std::vector<int64_t> end(stack.parts + 1);
  for (int64_t t = 0; t < y.rows; ++t) {
    if (expert_of_row[t] < 0)
      std::fill(y.row(t), y.row(t) + y.cols, 0.0f);
    else
      ++end[expert_of_row[t] + 1];
  }
  std::vector<tiles::Job> jobs;
  for (int64_t e = 0; e < stack.parts; ++e) {
    if (end[e + 1]) jobs.push_back({e, end[e], end[e + 1]});
    end[e + 1] += end[e];
  }
  if (jobs.empty() || y.cols == 0) return;
  std::vector<int32_t> order(end[stack.parts]);
  for (int64_t t = 0; t < y.rows; ++t)
    if (expert_of_row[t] >= 0) order[end[expert_of_row[t]]++] = static_cast<int32_t>(t);
  tiles::multiply(steps, {x, y, order.data()}, stack, 0, jobs.data(), static_cast<int64_t>(jobs.size()));
}

}  // namespace

const Kernel<MatmulTiles> matmul_tiles = {
    {"reference", Isa::reference, readable},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, tiled<tiles::avx2_steps>},
    {"avx512", Isa::avx512, tiled<tiles::avx512_steps>},
    {"amx", Isa::amx, tiled<tiles::amx_steps>},
#endif
};

const Kernel<MatmulExpertsTiles> matmul_experts_tiles = {
    {"reference", Isa::reference, readable_experts},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, grouped<tiles::avx2_steps>},
    {"avx512", Isa::avx512, grouped<tiles::avx512_steps>},
    {"amx", Isa::amx, grouped<tiles::amx_steps>},
#endif
};

}  // namespace gemloupe
