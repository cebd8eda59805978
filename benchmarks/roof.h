// What this machine can do at most (kernels/roof), measured with the team's threads when first asked for: the denominators of
// every "share of the roof".
#pragma once

#include "kernels/common/isa.h"
#include "kernels/roof/roof.h"

namespace gemloupe::roof {

inline constexpr double kSeconds = 0.25;  // for each unit

// Bytes a second read from memory.
inline double dram() {
  static const double value = measure_read(kSeconds);
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
