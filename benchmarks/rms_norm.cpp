// rms_norm/VARIANT/COLS/ROWS
#include "kernels/rms_norm/rms_norm.h"

#include "benchmarks/rows.h"

namespace gemloupe {

void register_all() {
  register_rows("rms_norm", rms_norm, 2, [](RmsNorm* run, auto x, auto z, auto y) { run(x, z.data, 1e-6f, 1.0f, y); });
}

}  // namespace gemloupe
