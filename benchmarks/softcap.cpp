// softcap/VARIANT/COLS/ROWS
#include "kernels/softcap/softcap.h"

#include "benchmarks/rows.h"

namespace gemloupe {

void register_all() {
  register_rows("softcap", softcap, 2, [](Softcap* run, auto x, auto, auto y) { run(x, 30.0f, y); });
}

}  // namespace gemloupe
