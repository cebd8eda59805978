// The main of every benchmark: each of them defines register_all(). Kernels are named here and not by static objects, since their
// tables are static objects themselves.
//
// By default a program measures what stands for the rest; --all measures every shape, --quick a few cases to see that it runs.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "kernels/common/isa.h"
#include "kernels/common/team.h"

namespace gemloupe {

enum class Extent { quick, some, all };
inline Extent extent = Extent::some;

void register_all();

// The time of the fastest of work(0), work(1), ..., in seconds. The team of threads is open, as in a step of a model.
template <class Work>
double best_seconds(benchmark::State& state, Work&& work) {
  double best = 1e30;
  with_team([&] {
    int64_t i = 0;
    for (auto _ : state) {
      const auto begin = std::chrono::steady_clock::now();
      work(i++);
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
  });
  return best;
}

}  // namespace gemloupe

int main(int argc, char** argv) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--all"))
      gemloupe::extent = gemloupe::Extent::all;
    else if (!std::strcmp(argv[i], "--quick"))
      gemloupe::extent = gemloupe::Extent::quick;
    else
      argv[kept++] = argv[i];
  }
  argv[argc = kept] = nullptr;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("isa", gemloupe::name(gemloupe::detected_isa()));
  gemloupe::register_all();
  benchmark::RunSpecifiedBenchmarks();
}
