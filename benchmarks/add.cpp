// add/VARIANT/COLS/ROWS
#include "kernels/add/add.h"

#include "benchmarks/rows.h"

namespace gemloupe {

void register_all() {
  register_rows("add", add, 3, [](Add* run, auto x, auto z, auto y) { run(x, z, y); });
  register_rows("scale", scale, 2, [](Scale* run, auto x, auto, auto y) { run(x, 0.3f, y); });
}

}  // namespace gemloupe
