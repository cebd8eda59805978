#include "csrc/formats/format.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "csrc/core/error.h"
#include "csrc/formats/floats.h"
#include "csrc/formats/grid.h"
#include "csrc/formats/packed.h"
#include "csrc/formats/rows.h"
#include "kernels/matmul/float.h"

namespace gemloupe {

int64_t Weight::bytes() const { return format ? rows * format->row_bytes(cols) : 0; }

float Weight::scale_of_row(int64_t row) const {
  if (output_scale.empty()) return 1.0f;
  if (output_scale.size() == 1) return output_scale[0];
  const int64_t rows_each = std::max<int64_t>(1, rows / std::max<int64_t>(1, experts));
  return output_scale[std::min<size_t>(output_scale.size() - 1, static_cast<size_t>(row / rows_each))];
}

void check_rows(const Weight& w, int64_t first_row, int64_t rows, int64_t cols) {
  check(w.cols == cols, "weight of ", w.rows, " rows: has ", w.cols, " columns, the call has ", cols);
  check(first_row >= 0 && rows >= 0 && first_row <= w.rows && rows <= w.rows - first_row, "weight of ", w.rows,
        " rows: has no rows [", first_row, ", ", first_row + rows, ")");
}

void check_outputs(Matrix<const float> x, Matrix<float> y) {
  check(x.rows == y.rows, "matmul: ", x.rows, " rows of activations need as many rows of outputs, got ", y.rows);
}

void check_experts(Matrix<const float> x, const int32_t* expert, const Weight& w, Matrix<float> y) {
  check(x.rows == y.rows || (x.rows > 0 && y.rows % x.rows == 0), "experts: ", y.rows, " rows of outputs are no multiple of ", x.rows,
        " rows of activations");
  check(w.cols == x.cols, "experts: the weight has ", w.cols, " columns, the call has ", x.cols);
  check(w.experts > 0 && w.rows % w.experts == 0 && w.rows / w.experts == y.cols, "experts: ", w.rows, " rows of ", w.experts,
        " experts do not make ", y.cols, " outputs");
  for (int64_t t = 0; t < y.rows; ++t)
    check(expert[t] >= -1 && expert[t] < w.experts, "experts: there is no expert ", expert[t], ", there are ", w.experts);
}

void scale_row(const Weight& w, int64_t r, float* row, int64_t cols) {
  if (w.output_scale.empty()) return;
  const float scale = w.scale_of_row(r);
  for (int64_t c = 0; c < cols; ++c) row[c] *= scale;
}

void scale_outputs(const Weight& w, int64_t first_row, Matrix<float> y) {
  if (w.output_scale.empty()) return;
  for (int64_t t = 0; t < y.rows; ++t)
    for (int64_t c = 0; c < y.cols; ++c) y.row(t)[c] *= w.scale_of_row(first_row + c);
}

void scale_experts(const Weight& w, const int32_t* expert, Matrix<float> y) {
  if (w.output_scale.empty()) return;
  for (int64_t t = 0; t < y.rows; ++t) {
    if (expert[t] < 0) continue;
    const float scale = w.scale_of_row(expert[t] * y.cols);
    for (int64_t c = 0; c < y.cols; ++c) y.row(t)[c] *= scale;
  }
}

TileWeight UnpackedRows::tiles(int64_t parts, int64_t rows) const {
  TileWeight t{parts, rows, w.cols};
  t.context = this;
  t.unpack = [](const void* context, int64_t at, int64_t count, float* out) {
    const auto& from = *static_cast<const UnpackedRows*>(context);
    from.format.unpack(from.w, from.first + at, Matrix<float>(out, count, from.w.cols));
  };
  return t;
}

void Format::matmul(Matrix<const float> x, const Weight& w, int64_t first_row, Matrix<float> y, Arithmetic arithmetic) const {
  check_rows(w, first_row, y.cols, x.cols);
  check_outputs(x, y);
  if (arithmetic == Arithmetic::bf16) {
    const UnpackedRows rows{*this, w, first_row};
    return matmul_tiles(x, rows.tiles(1, y.cols), int64_t{0}, int64_t{0}, y);
  }
  constexpr int64_t kTileBytes = 1 << 20;  // stays in the second-level cache
  const int64_t tile_rows = std::clamp<int64_t>(kTileBytes / 4 / std::max<int64_t>(1, w.cols), 1, std::max<int64_t>(1, y.cols));
  std::vector<float> tile(static_cast<size_t>(tile_rows * w.cols));
  for (int64_t first = 0; first < y.cols; first += tile_rows) {
    const int64_t rows = std::min(tile_rows, y.cols - first);
    const Matrix<float> part(tile.data(), rows, w.cols);
    unpack(w, first_row + first, part);
    matmul_float(x, Matrix<const float>(part), Matrix<float>(y.data + first, y.rows, rows, y.stride));
  }
}

void Format::matmul_experts(Matrix<const float> x, const int32_t* expert, const Weight& w, Matrix<float> y,
                            Arithmetic arithmetic) const {
  check_experts(x, expert, w, y);
  if (arithmetic == Arithmetic::bf16) {
    const UnpackedRows rows{*this, w};
    return matmul_experts_tiles(x, expert, rows.tiles(w.experts, y.cols), y);
  }
  // The rows of one expert, gathered: its weights are unpacked once.
  std::vector<int64_t> order(static_cast<size_t>(y.rows));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return expert[a] < expert[b]; });
  std::vector<float> from, to;
  for (size_t first = 0, last; first < order.size(); first = last) {
    const int32_t e = expert[order[first]];
    for (last = first; last < order.size() && expert[order[last]] == e;) ++last;
    const auto rows = static_cast<int64_t>(last - first);
    from.resize(static_cast<size_t>(rows * x.cols));
    to.assign(static_cast<size_t>(rows * y.cols), 0.0f);
    for (int64_t t = 0; t < rows; ++t) std::copy_n(x.row(order[first + t] / (y.rows / x.rows)), x.cols, from.data() + t * x.cols);
    if (e >= 0) matmul({from.data(), rows, x.cols}, w, e * y.cols, {to.data(), rows, y.cols}, arithmetic);
    for (int64_t t = 0; t < rows; ++t) std::copy_n(to.data() + t * y.cols, y.cols, y.row(order[first + t]));
  }
}

Weight allocate_weight(std::shared_ptr<const Format> format, int64_t rows, int64_t cols, uint8_t*& data) {
  check(format != nullptr, "allocate_weight: needs a format");
  check(rows >= 0 && cols >= 0, format->name(), ": a weight cannot be [", rows, ", ", cols, "]");
  const int64_t row_bytes = format->row_bytes(cols);
  check(row_bytes == 0 || rows <= std::numeric_limits<int64_t>::max() / 2 / row_bytes, format->name(), ": a weight of [", rows,
        ", ", cols, "] is too large");
  // Value-initialized: padding must not carry chance bytes into files. A cache line's alignment is for speed only.
  constexpr size_t kAlign = 64;
  const size_t bytes = static_cast<size_t>(rows * row_bytes);
  std::shared_ptr<uint8_t[]> memory(new uint8_t[bytes + kAlign]());
  const auto address = reinterpret_cast<uintptr_t>(memory.get());
  data = memory.get() + (kAlign - address % kAlign) % kAlign;
  Weight w;
  w.format = std::move(format);
  w.rows = rows;
  w.cols = cols;
  w.data = data;
  w.owner = std::shared_ptr<const void>(memory, memory.get());
  return w;
}

std::shared_ptr<const Format> format_named(const std::string& name) {
  for (const auto* family : {&float_formats(), &ggml_formats()})
    for (const auto& format : *family)
      if (format->name() == name) return format;
  if (auto options = parse_grid(name)) return grid(*options);
  std::string known;
  for (const auto& each : format_names()) known += (known.empty() ? "" : ", ") + each;
  throw std::invalid_argument(text("format \"", name, "\" is not known; known are ", known,
                                   " and grids such as \"grid3_g64\", \"grid4_row_min\" or \"grid2_g32[-3,-1,1,3]\""));
}

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const auto* family : {&float_formats(), &ggml_formats()})
    for (const auto& format : *family) names.push_back(format->name());
  for (const char* grid : {"int8", "int4", "nf4", "ternary"}) names.push_back(grid);
  return names;
}

}  // namespace gemloupe
