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

// The time of the fastest of work(0), work(1), ..., in seconds.
template <class Work>
double best_seconds(benchmark::State& state, Work&& work) {
  double best = 1e30;
  int64_t i = 0;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    work(i++);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}
// The same with the team of threads at hand, as in a step of a model. Not for libraries that bring threads of their own: these
// would find themselves in a parallel region, and use one.
template <class Work>
double best_seconds_of_team(benchmark::State& state, Work&& work) {
  double best = 0;
  with_team([&] { best = best_seconds(state, work); });
  return best;
}

// Instructions of a variant while it lives.
class OnlyIsa {
 public:
  explicit OnlyIsa(Isa level) : before_(isa()) { limit_isa(level); }
  ~OnlyIsa() { limit_isa(before_); }
  OnlyIsa(const OnlyIsa&) = delete;

 private:
  const Isa before_;
};

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
