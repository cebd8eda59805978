// ple/VARIANT/COLS/ROWS
#include "kernels/ple/ple.h"

#include "benchmarks/rows.h"

namespace gemloupe {

void register_all() {
  register_rows("ple", ple_combine, 3, [](PleCombine* run, auto x, auto z, auto y) { run(x, z, y); });
}

}  // namespace gemloupe
