// experts/ARITHMETIC.VARIANT/MODEL.WEIGHT/TYPE/LOAD/TOKENS: TOKENS rows of activations, eight experts of 128 each.
//
// LOAD says how tokens choose: uniform; zipf, where the e-th expert is chosen in proportion to 1 / (1 + e); or eight, where all
// tokens of a call choose the same. Bytes are those of the experts that were chosen.
#include <algorithm>

#include "benchmarks/weights.h"
#include "kernels/bf16/bf16.h"
#include "kernels/experts/experts.h"

namespace gemloupe {
namespace {

constexpr int kChosen = 8;
constexpr int64_t kDraws = 16;

enum class Load { uniform, zipf, eight };
constexpr std::pair<Load, const char*> kLoads[] = {{Load::uniform, "uniform"}, {Load::zipf, "zipf"}, {Load::eight, "eight"}};

// The experts of kDraws calls of `tokens` tokens, eight different ones each.
std::vector<int32_t> draw(int64_t tokens, int64_t experts, Load load) {
  std::mt19937 random(5);
  std::vector<double> weight(experts);
  for (int64_t e = 0; e < experts; ++e) weight[e] = load == Load::zipf ? 1.0 / (1.0 + static_cast<double>(e)) : 1.0;
  std::discrete_distribution<int32_t> one(weight.begin(), weight.end());
  std::vector<int32_t> expert;
  for (int64_t t = 0; t < kDraws * tokens; ++t)
    for (int k = 0; k < kChosen;) {
      if (load == Load::eight && t % tokens) {
        expert.push_back(expert[expert.size() - kChosen]);
        ++k;
        continue;
      }
      const int32_t e = one(random);
      if (std::find(expert.end() - k, expert.end(), e) != expert.end()) continue;
      expert.push_back(e);
      ++k;
    }
  return expert;
}

double used(const std::vector<int32_t>& expert, int64_t rows, int64_t experts) {
  double count = 0;
  for (int64_t d = 0; d < kDraws; ++d) {
    std::vector<bool> seen(experts);
    for (int64_t t = 0; t < rows; ++t) seen[expert[d * rows + t]] = true;
    count += static_cast<double>(std::count(seen.begin(), seen.end(), true));
  }
  return count / kDraws;
}

// run(x, experts, y) for all rows; check(row, expert, first rows of the result) by the reference.
template <class Run, class Check>
void stack(benchmark::State& state, Isa needs, const shapes::Shape& shape, Load load, double expert_bytes, bool tiles, Run&& run,
           Check&& check) {
  const int64_t rows = state.range(0) * kChosen;
  const std::vector<int32_t> expert = draw(state.range(0), shape.experts, load);
  const std::vector<float> x = random_rows(rows * shape.cols);
  const Matrix<const float> xs(x.data(), rows, shape.cols);
  std::vector<float> y(rows * shape.rows), expected(kChecked);
  const Matrix<float> ys(y.data(), rows, shape.rows);
  const OnlyIsa only(needs);
  run(xs, expert.data(), ys);
  for (const int64_t t : {int64_t{0}, rows - 1}) {
    check(Matrix<const float>(xs.row(t), 1, shape.cols), expert[t], Matrix<float>(expected.data(), 1, kChecked));
    if (!same_bits({expected.data(), 1, kChecked}, {ys.row(t), 1, kChecked}, kChecked))
      return state.SkipWithError("disagrees with the reference");
  }
  const double bytes = used(expert, rows, shape.experts) * expert_bytes, operations = 2.0 * rows * shape.rows * shape.cols;
  time_cold(state, tiles ? Cost{bytes, operations, operations, roof::bf16(needs)} : exact_cost(needs, bytes, operations),
            [&](int64_t i) { run(xs, expert.data() + i % kDraws * rows, ys); });
}

void rows_exact(benchmark::State& state, const Variant<MatmulExperts>& variant, const PackedType& type, const shapes::Shape& shape,
                Load load) {
  const auto w = random_weight(type, shape, Form::rows);
  stack(
      state, variant.needs, shape, load, static_cast<double>(shape.rows * w->rows.row_bytes), false,
      [&](auto x, const int32_t* expert, auto y) { variant.run(x, expert, shape.rows, w->rows, y); },
      [&](auto x, int32_t expert, auto y) { matmul_exact.runnable().front().run(x, w->rows.slice(expert * shape.rows, kChecked), y); });
}

void strips_exact(benchmark::State& state, const Variant<MatmulExpertsStrips>& variant, const PackedType& type,
                  const shapes::Shape& shape, Load load) {
  const auto w = random_weight(type, shape, Form::strips);
  stack(
      state, variant.needs, shape, load, static_cast<double>(w->strips.bytes() / shape.experts), false,
      [&](auto x, const int32_t* expert, auto y) { variant.run(x, expert, w->strips, y); },
      [&](auto x, int32_t expert, auto y) { matmul_exact.runnable().front().run(x, w->rows.slice(expert * shape.rows, kChecked), y); });
}

void strips_tiles(benchmark::State& state, const Variant<MatmulExpertsTiles>& variant, const PackedType& type,
                  const shapes::Shape& shape, Load load) {
  const auto w = random_weight(type, shape, Form::strips);
  TileWeight weight;
  weight.parts = shape.experts;
  weight.rows = shape.rows;
  weight.cols = shape.cols;
  weight.strips = &w->strips;
  stack(
      state, variant.needs, shape, load, static_cast<double>(w->strips.bytes() / shape.experts), true,
      [&](auto x, const int32_t* expert, auto y) { variant.run(x, expert, weight, y); },
      [&](auto x, int32_t expert, auto y) { matmul_tiles.runnable().front().run(x, weight, expert, 0, y); });
}

template <class Fn, class Run>
void add(const char* arithmetic, const Kernel<Fn>& kernel, const PackedType& type, const shapes::Shape& shape, Run run) {
  for (const auto& variant : kernel.runnable())
    for (const auto& [load, load_name] : kLoads) {
      if (!shown(kernel, variant, shape) || (extent == Extent::quick && load != Load::uniform)) continue;
      const std::string name = std::string("experts/") + arithmetic + "." + variant.name + "/" + shape.name + "/" + type.name + "/" + load_name;
      auto* b = benchmark::RegisterBenchmark(
          name.c_str(), [=, load = load, &type, &shape](benchmark::State& s) { run(s, variant, type, shape, load); });
      for (const int64_t tokens : {1, 8, 32, 512, 2048})
        if (extent != Extent::quick || tokens == 1 || tokens == 512) b->Arg(tokens);
      b->UseRealTime()->MinTime(std::max(seconds_a_case(), 0.2));  // long calls, which differ little
    }
}

}  // namespace

void register_all() {
  for (const shapes::Shape& shape : shapes::kAll) {
    if (!shape.experts) continue;
    const PackedType& type = *packed_type("Q4_0");
    add("exact_rows", matmul_experts, type, shape, rows_exact);
    add("exact", matmul_experts_strips, type, shape, strips_exact);
    add("bf16", matmul_experts_tiles, type, shape, strips_tiles);
  }
}

}  // namespace gemloupe
