// strips/VARIANT/MODEL.WEIGHT/TYPE/ROWS: y = x Wᵀ in the arithmetic `exact` over weights in strips; strips/pack: making them.
#include "benchmarks/weights.h"

namespace gemloupe {
namespace {

void exact(benchmark::State& state, const Variant<MatmulStrips>& variant, const PackedType& type, const shapes::Shape& shape) {
  const int64_t tokens = state.range(0), rows = shape.rows;
  const auto w = random_weight(type, shape, Form::strips);
  if (!w->strips.data) return state.SkipWithError("this type has no strips");
  const std::vector<float> x = random_rows(tokens * shape.cols);
  const Matrix<const float> xs(x.data(), tokens, shape.cols);
  std::vector<float> y(tokens * rows), expected(tokens * kChecked);
  const Matrix<float> ys(y.data(), tokens, rows);
  const OnlyIsa only(variant.needs);
  variant.run(xs, w->strips, w->copies - 1, 0, ys);
  const int64_t checked = std::min(rows, kChecked), few = std::min<int64_t>(tokens, 9);
  for (const int64_t first : {int64_t{0}, rows - checked}) {
    matmul_exact.runnable().front().run({x.data(), few, shape.cols}, w->rows.slice(first, checked), {expected.data(), few, checked});
    if (!same_bits({expected.data(), few, checked}, {y.data() + first, few, checked, rows}, checked))
      return state.SkipWithError("disagrees with the reference");
  }
  const double bytes = static_cast<double>(w->strips.bytes() / w->copies), operations = 2.0 * tokens * rows * shape.cols;
  time_cold(state, exact_cost(variant.needs, bytes, operations),
            [&](int64_t i) { variant.run(xs, w->strips, i % w->copies, 0, ys); });
}

void pack(benchmark::State& state, const PackedType& type, const shapes::Shape& shape) {
  const auto w = random_weight(type, shape, Form::strips);
  Strips one = w->strips;
  one.parts = 1;
  const auto to = large<uint8_t>(one.bytes());
  std::vector<uint8_t> again(w->bytes.size());
  pack_strips(w->rows, one, to.get());
  one.data = to.get();
  unpack_strips(one, w->rows, 0, shape.rows, again.data());
  if (again != w->bytes) return state.SkipWithError("unpacked strips are not the rows");
  time_cold(state, {static_cast<double>(w->bytes.size()), 0, 0, 0}, [&](int64_t) { pack_strips(w->rows, one, to.get()); });
}

}  // namespace

void register_all() {
  for (const shapes::Shape& shape : shapes::kAll) {
    if (shape.experts || !chosen(shape)) continue;
    for (const char* type_name : {"Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q6_K"}) {
      const PackedType& type = *packed_type(type_name);
      if (shape.cols % type.layout.block) continue;
      if (extent == Extent::quick && std::strcmp(type_name, "Q4_0")) continue;
      const std::string rest = std::string("/") + shape.name + "/" + type.name;
      for (const auto& variant : matmul_strips.runnable()) {
        if (!shown(matmul_strips, variant, shape)) continue;
        auto* b = benchmark::RegisterBenchmark(("strips/" + std::string(variant.name) + rest).c_str(),
                                               [=, &type, &shape](benchmark::State& s) { exact(s, variant, type, shape); });
        const bool often = extent == Extent::all || !std::strcmp(shape.name, "E2B.ffn_gate") || !std::strcmp(type_name, "Q4_0");
        for (const int64_t rows : often ? row_counts() : std::vector<int64_t>{1, 8}) b->Arg(rows);
        b->UseRealTime()->MinTime(seconds_a_case());
      }
      benchmark::RegisterBenchmark(("strips/pack" + rest).c_str(), [&](benchmark::State& s) { pack(s, type, shape); })
          ->UseRealTime()->MinTime(seconds_a_case());
    }
  }
}

}  // namespace gemloupe
