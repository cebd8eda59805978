// The main of every benchmark: each of them defines register_all(). Kernels are named here and not by static objects, since their
// tables are static objects themselves.
//
// By default a program measures what stands for the rest; --all measures every shape, --quick a few cases to see that it runs.
#pragma once

#include <benchmark/benchmark.h>

#include <cstring>

#include "kernels/common/isa.h"

namespace gemloupe {

enum class Extent { quick, some, all };
inline Extent extent = Extent::some;

void register_all();

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
