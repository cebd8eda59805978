// route/VARIANT/ROWS: 8 of 128 experts as Gemma 4 26B-A4B chooses them
#include "kernels/route/route.h"

#include "benchmarks/rows.h"

namespace gemloupe {
namespace {

void route_rows(benchmark::State& state, const Variant<TopK>& variant) {
  const int64_t rows = state.range(0);
  Rows scores(rows, 128, 1, 2.0f), factor(1, 128, 2), weights(rows, 8, 3), expected(rows, 8, 4);
  std::vector<int32_t> experts(rows * 8), expected_experts(rows * 8);
  const auto run = [&](TopK* top, std::vector<int32_t>& e, Rows& w) {
    top(scores.view(), Routing::softmax_renormalised, nullptr, factor.data.data(), {e.data(), rows, 8}, w.view());
  };
  run(reference::top_k, expected_experts, expected);
  run(variant.run, experts, weights);
  if (!weights.same_bits(expected) || experts != expected_experts) return state.SkipWithError("disagrees with the reference");
  time(state, {4.0 * rows * (128 + 16)}, [&] { run(variant.run, experts, weights); });
}

}  // namespace

void register_all() {
  for (const auto& variant : top_k.runnable())
    benchmark::RegisterBenchmark((std::string("route/") + variant.name).c_str(), route_rows, variant)
        ->Arg(1)
        ->Arg(512)
        ->UseRealTime()->MinTime(0.05);
}

}  // namespace gemloupe
