// bf16/VARIANT/MODEL.WEIGHT/TYPE/ROWS: y = x Wᵀ in the arithmetic `bf16` over weights in strips. oneDNN in bfloat16 on the same
// shapes: matmul/onednn/MODEL.WEIGHT/BF16.
#include "kernels/bf16/bf16.h"

#include "benchmarks/weights.h"

namespace gemloupe {
namespace {

void tiles(benchmark::State& state, const Variant<MatmulTiles>& variant, const PackedType& type, const shapes::Shape& shape) {
  const int64_t tokens = state.range(0), rows = shape.rows;
  const auto w = random_weight(type, shape, Form::strips);
  if (!w->strips.data) return state.SkipWithError("this type has no strips");
  TileWeight weight;
  weight.parts = w->strips.parts;
  weight.rows = rows;
  weight.cols = shape.cols;
  weight.strips = &w->strips;
  const std::vector<float> x = random_rows(tokens * shape.cols);
  const Matrix<const float> xs(x.data(), tokens, shape.cols);
  std::vector<float> y(tokens * rows), expected(tokens * kChecked);
  const Matrix<float> ys(y.data(), tokens, rows);
  const OnlyIsa only(variant.needs);
  variant.run(xs, weight, w->copies - 1, 0, ys);
  const int64_t few = std::min<int64_t>(tokens, 5);
  for (const int64_t first : {int64_t{0}, (rows - 1) / 16 * 16}) {
    const int64_t checked = std::min(rows - first, kChecked);
    matmul_tiles.runnable().front().run({x.data(), few, shape.cols}, weight, w->copies - 1, first, {expected.data(), few, checked});
    if (!same_bits({expected.data(), few, checked}, {y.data() + first, few, checked, rows}, checked))
      return state.SkipWithError("disagrees with the reference");
  }
  const double operations = 2.0 * tokens * rows * shape.cols;
  time_cold(state, {static_cast<double>(w->strips.bytes() / w->copies), operations, operations, roof::bf16(variant.needs)},
            [&](int64_t i) { variant.run(xs, weight, i % w->copies, 0, ys); });
}

}  // namespace

void register_all() {
  for (const shapes::Shape& shape : shapes::kAll) {
    if (shape.experts || !chosen(shape)) continue;
    for (const char* type_name : {"Q4_0", "Q8_0", "Q4_K", "Q6_K"}) {
      const PackedType& type = *packed_type(type_name);
      const bool often = extent == Extent::all || !std::strcmp(shape.name, "E2B.ffn_gate") || !std::strcmp(type_name, "Q4_0");
      if (shape.cols % type.layout.block || !often || (extent == Extent::quick && std::strcmp(type_name, "Q4_0"))) continue;
      for (const auto& variant : matmul_tiles.runnable()) {
        if (!shown(matmul_tiles, variant, shape)) continue;
        auto* b = benchmark::RegisterBenchmark(("bf16/" + std::string(variant.name) + "/" + shape.name + "/" + type.name).c_str(),
                                               [=, &type, &shape](benchmark::State& s) { tiles(s, variant, type, shape); });
        for (const int64_t rows : row_counts()) b->Arg(rows);
        b->UseRealTime()->MinTime(seconds_a_case());
      }
    }
  }
}

}  // namespace gemloupe
