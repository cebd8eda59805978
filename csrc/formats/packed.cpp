#include "csrc/formats/packed.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "csrc/core/error.h"
#include "csrc/formats/pack_ggml.h"
#include "csrc/formats/rows.h"
#include "csrc/formats/strips.h"
#include "kernels/common/team.h"
#include "kernels/experts/experts.h"
#include "kernels/int8/int8.h"

namespace gemloupe {

int64_t CodesFormat::row_bytes(int64_t cols) const {
  check(cols >= 0, name(), ": a row cannot have ", cols, " columns");
  const CodesLayout l = layout(cols);
  return l.block ? (cols + l.block - 1) / l.block * l.block_bytes : 0;
}

Weight CodesFormat::pack(Matrix<const float> w) const {
  uint8_t* data;
  Weight packed = allocate_weight(shared_from_this(), w.rows, w.cols, data);
  const int64_t bytes = row_bytes(w.cols);
  share(w.rows, 1, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) pack_row(w.row(r), w.cols, data + r * bytes);
  });
  return packed;
}

namespace {

// Rows out of strips, in ascending order: those of a strip together.
struct StripRows {
  const Weight& w;
  const PackedRows kind;
  uint8_t* memory;  // a strip's rows
  const int64_t end;
  int64_t first = 0, last = 0;

  const uint8_t* row(int64_t r) {
    if (r >= last) {
      first = r;
      last = std::min(end, r + kStripRows - r % w.strips->rows % kStripRows);
      last = std::min(last, (r / w.strips->rows + 1) * w.strips->rows);
      unpack_strips(*w.strips, kind, first, last - first, memory);
    }
    return memory + (r - first) * kind.row_bytes;
  }
};

// Strips where they are all there is, or where they are faster.
bool by_strips(const Weight& w) { return w.strips && (!w.data || strips_pay()); }

// Rows [first_row, first_row + y.cols) through all parts, by product(part, first, y). Kernels begin at a strip: rows before are
// computed and left out.
template <class Product>
void part_by_part(const Strips& w, int64_t first_row, Matrix<float> y, Product&& product) {
  std::vector<float> wider;
  for (int64_t done = 0, rows = 0; done < y.cols; done += rows) {
    const int64_t part = (first_row + done) / w.rows, first = (first_row + done) % w.rows, before = first % kStripRows;
    rows = std::min(y.cols - done, w.rows - first);
    const Matrix<float> to(y.data + done, y.rows, rows, y.stride);
    if (!before) {
      product(part, first, to);
      continue;
    }
    wider.resize(static_cast<size_t>(y.rows * (before + rows)));
    const Matrix<float> all(wider.data(), y.rows, before + rows);
    product(part, first - before, all);
    for (int64_t t = 0; t < y.rows; ++t) std::copy_n(all.row(t) + before, rows, to.row(t));
  }
}

TileWeight tiles_of(const Strips& w) {
  TileWeight tiles{w.parts, w.rows, w.cols};
  tiles.strips = &w;
  return tiles;
}

}  // namespace

void CodesFormat::unpack(const Weight& w, int64_t first_row, Matrix<float> out) const {
  check_rows(w, first_row, out.rows, out.cols);
  if (!out.rows || !out.cols) return;
  const CodesLayout l = layout(w.cols);
  const int64_t bytes = row_bytes(w.cols), groups = (w.cols + l.group - 1) / l.group;
  const int64_t parts = std::min<int64_t>(threads(), 1 + out.rows / rows_a_share(w.cols));
  // Rows that are only in strips are put together a strip at a time.
  const int64_t at_once = w.data ? 0 : std::min<int64_t>(kStripRows, out.rows);
  std::vector<uint8_t> codes(static_cast<size_t>(parts * w.cols)), rows(static_cast<size_t>(parts * at_once * bytes));
  std::vector<float> scales(static_cast<size_t>(parts * groups * 2));
  share(parts, 1, [&](int64_t first_part, int64_t last_part) {
    for (int64_t part = first_part; part < last_part; ++part) {
      uint8_t* code = codes.data() + part * w.cols;
      float* scale = scales.data() + part * groups * 2;
      float* min = scale + groups;
      StripRows strip{w, rows_of(w), rows.data() + part * at_once * bytes, first_row + (part + 1) * out.rows / parts};
      for (int64_t r = part * out.rows / parts; r < (part + 1) * out.rows / parts; ++r) {
        const uint8_t* row = w.data ? w.data + (first_row + r) * bytes : strip.row(first_row + r);
        decode()(context(), row, w.cols, code, scale, min);
        for (int64_t g = 0; g < groups; ++g) {
          const int64_t end = std::min((g + 1) * l.group, w.cols);
          float* to = out.row(r);
          if (l.has_min)
            for (int64_t i = g * l.group; i < end; ++i) to[i] = scale[g] * static_cast<float>(code[i] - l.offset) + min[g];
          else
            for (int64_t i = g * l.group; i < end; ++i) to[i] = scale[g] * static_cast<float>(code[i] - l.offset);
        }
        scale_row(w, first_row + r, out.row(r), w.cols);
      }
    }
  });
}

PackedRows CodesFormat::rows_of(const Weight& w) const {
  return {w.data, w.rows, w.cols, row_bytes(w.cols), layout(w.cols), &decode(), context()};
}

namespace {

// The weight without its output scale, which in all arithmetics multiplies the sums.
Weight unscaled(Weight w) {
  w.output_scale.clear();
  return w;
}

}  // namespace

void CodesFormat::matmul(Matrix<const float> x, const Weight& w, int64_t first_row, Matrix<float> y, Arithmetic arithmetic) const {
  check_rows(w, first_row, y.cols, x.cols);
  check_outputs(x, y);
  const auto over_strips = [&](const Kernel<MatmulStrips>& kernel) {
    part_by_part(*w.strips, first_row, y, [&](int64_t part, int64_t first, Matrix<float> to) { kernel(x, *w.strips, part, first, to); });
  };
  switch (arithmetic) {
    case Arithmetic::exact:
      if (by_strips(w)) over_strips(matmul_strips);
      else matmul_exact(x, rows_of(w).slice(first_row, y.cols), y);
      break;
    case Arithmetic::bf16:
      if (!w.strips) Format::matmul(x, unscaled(w), first_row, y, arithmetic);
      else
        part_by_part(*w.strips, first_row, y, [&](int64_t part, int64_t first, Matrix<float> to) {
          matmul_tiles(x, tiles_of(*w.strips), part, first, to);
        });
      break;
    case Arithmetic::int8:
      if (w.strips) over_strips(matmul_strips_int8);
      else matmul_int8(x, rows_of(w).slice(first_row, y.cols), y);
      break;
  }
  scale_outputs(w, first_row, y);
}

void CodesFormat::matmul_experts(Matrix<const float> x, const int32_t* expert, const Weight& w, Matrix<float> y,
                                 Arithmetic arithmetic) const {
  check_experts(x, expert, w, y);
  if (arithmetic == Arithmetic::bf16 && w.strips) matmul_experts_tiles(x, expert, tiles_of(*w.strips), y);
  else if (arithmetic != Arithmetic::exact) Format::matmul_experts(x, expert, unscaled(w), y, arithmetic);
  else if (by_strips(w)) matmul_experts_strips(x, expert, *w.strips, y);
  else gemloupe::matmul_experts(x, expert, y.cols, rows_of(w), y);
  scale_experts(w, expert, y);
}

namespace {

class GgmlFormat : public CodesFormat {
 public:
  explicit GgmlFormat(const PackedType& type) : type_(type), pack_(ggml_packer(type.name)) {}

  std::string name() const override { return type_.name; }

  CodesLayout layout(int64_t cols) const override {
    check(cols >= 0 && cols % type_.layout.block == 0, type_.name, ": a row of ", cols, " columns is no multiple of its block of ",
          type_.layout.block);
    return type_.layout;
  }
  const Kernel<DecodeCodes>& decode() const override { return *type_.decode; }

  Weight pack(Matrix<const float> w) const override {
    check(pack_, type_.name, ": can only be read, not packed; choose a grid or one of Q4_0, Q4_K, Q5_K, Q6_K, Q8_0 …");
    return type_.ggml_id == 40 ? pack_nvfp4(w) : CodesFormat::pack(w);
  }

 protected:
  void pack_row(const float* row, int64_t cols, uint8_t* bytes) const override { pack_(row, cols, bytes); }

 private:
  // The scales of NVFP4's blocks reach from 2^-9 to 448 only: a power of two for the whole weight moves them there.
  Weight pack_nvfp4(Matrix<const float> w) const {
    float most = 0;
    for (int64_t r = 0; r < w.rows; ++r)
      for (int64_t c = 0; c < w.cols; ++c)
        if (std::isfinite(w.row(r)[c])) most = std::max(most, std::fabs(w.row(r)[c]));
    int exponent = 0;
    if (most > 0) std::frexp(most / 6, &exponent);
    exponent = std::clamp(exponent - 8, -120, 120);  // the largest block's scale becomes 128 .. 256
    const float down = std::ldexp(1.0f, -exponent);
    uint8_t* data;
    Weight packed = allocate_weight(shared_from_this(), w.rows, w.cols, data);
    const int64_t bytes = row_bytes(w.cols);
    std::vector<float> row(static_cast<size_t>(w.cols));
    for (int64_t r = 0; r < w.rows; ++r) {
      for (int64_t c = 0; c < w.cols; ++c) row[c] = w.row(r)[c] * down;
      pack_(row.data(), w.cols, data + r * bytes);
    }
    packed.output_scale = {std::ldexp(1.0f, exponent)};
    return packed;
  }

  const PackedType& type_;
  PackRow* pack_;
};

}  // namespace

const std::vector<std::shared_ptr<const Format>>& ggml_formats() {
  static const std::vector<std::shared_ptr<const Format>> formats = [] {
    std::vector<std::shared_ptr<const Format>> made;
    int count;
    const PackedType* types = packed_types(count);
    for (int i = 0; i < count; ++i) made.push_back(std::make_shared<GgmlFormat>(types[i]));
    return made;
  }();
  return formats;
}

}  // namespace gemloupe
