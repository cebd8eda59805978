// Random rows for the benchmarks of the small kernels, and the loop they share: check, then time.
#pragma once

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/main.h"
#include "benchmarks/roof.h"
#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

struct Rows {
  int64_t rows, cols;
  std::vector<float> data;
  Rows(int64_t rows, int64_t cols, uint32_t seed, float spread = 1.0f) : rows(rows), cols(cols), data(rows * cols) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, spread);
    for (float& v : data) v = normal(random);
  }
  Matrix<float> view() { return {data.data(), rows, cols}; }
  bool same_bits(const Rows& other) const {
    return std::memcmp(data.data(), other.data.data(), data.size() * sizeof(float)) == 0;
  }
};

// Times work() and states the rates of its fastest call: other programs only ever add time.
template <class Work>
void time(benchmark::State& state, const Cost& cost, Work&& work) {
  state_rates(state, cost, best_seconds_of_team(state, [&](int64_t) { work(); }), cost.bytes > double{1 << 28});
}

// An elementwise kernel: call(run, x, z, y); `streams` is how many of x, z, y it touches.
template <class Fn, class Call>
void register_rows(const std::string& room, const Kernel<Fn>& kernel, int streams, Call call) {
  for (const auto& variant : kernel.runnable())
    for (const int64_t cols : {int64_t{640}, int64_t{1536}, int64_t{6144}})
      for (const int64_t rows : {1, 512}) {
        const std::string name = room + "/" + variant.name + "/" + std::to_string(cols) + "/" + std::to_string(rows);
        benchmark::RegisterBenchmark(name.c_str(), [&kernel, variant, cols, rows, streams, call](benchmark::State& state) {
          Rows x(rows, cols, 1), z(rows, cols, 2), y(rows, cols, 3), expected(rows, cols, 4);
          call(kernel.runnable().front().run, x.view(), z.view(), expected.view());
          call(variant.run, x.view(), z.view(), y.view());
          if (!y.same_bits(expected)) return state.SkipWithError("disagrees with the reference");
          time(state, {4.0 * streams * rows * cols}, [&] { call(variant.run, x.view(), z.view(), y.view()); });
        })->UseRealTime()->MinTime(0.05);
      }
}

}  // namespace gemloupe
