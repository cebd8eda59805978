// gelu_gate/VARIANT/COLS/ROWS
#include "kernels/gelu_gate/gelu_gate.h"

#include "benchmarks/rows.h"

namespace gemloupe {

void register_all() {
  register_rows("gelu_gate", gelu_gate, 3, [](GeluGate* run, auto x, auto z, auto y) { run(x, z, y); });
}

}  // namespace gemloupe
