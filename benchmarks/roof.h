// What this machine can do at most (kernels/roof), measured with the team's threads when first asked for, and the shares of it.
#pragma once

#include "benchmarks/main.h"
#include "kernels/common/isa.h"
#include "kernels/roof/roof.h"

namespace gemloupe::roof {

inline constexpr double kSeconds = 0.5;  // for each unit

// Bytes a second read from memory, by the best instructions, whichever are being timed.
inline double dram() {
  static const double value = [] {
    const OnlyIsa best(detected_isa());
    return measure_read(kSeconds);
  }();
  return value;
}

template <const Kernel<Spin>& spin>
double rate(Isa isa) {
  static double of[kIsas] = {};
  double& value = of[static_cast<int>(isa)];
  if (value == 0) value = measure(spin, isa, kSeconds);
  return value;
}

// Operations a second: float32 multiply-adds, integers in the widest exact instruction, bfloat16 as the arithmetic bf16 has it.
inline double fma(Isa isa) { return rate<fma_spin>(isa); }
inline double integer(Isa isa) { return rate<integer_spin>(isa); }
inline double bf16(Isa isa) { return rate<bf16_spin>(isa); }

}  // namespace gemloupe::roof

namespace gemloupe {

// What one call costs: bytes, useful operations (a multiply-add being two), and those that the multipliers do, with their roof.
struct Cost {
  double bytes, operations = 0, pipe_operations = 0, pipe_roof = 0;
};

// The rates of a call, and their shares of what this machine can do:
//   best_us              its time
//   bytes/s, of_dram     what it reads (and, of the small kernels, writes), and the share of the memory's roof if it is from memory
//   op/s, of_pipe        useful operations, and the share of the multipliers' roof; `exact` needs two int8 products a weight on avx512
//                        and amx
inline void state_rates(benchmark::State& state, const Cost& cost, double seconds, bool from_memory) {
  state.counters["best_us"] = seconds * 1e6;
  state.counters["bytes/s"] = cost.bytes / seconds;
  if (from_memory) state.counters["of_dram"] = cost.bytes / seconds / roof::dram();
  if (cost.operations > 0) state.counters["op/s"] = cost.operations / seconds;
  if (cost.pipe_roof > 0) state.counters["of_pipe"] = cost.pipe_operations / seconds / cost.pipe_roof;
}

}  // namespace gemloupe
