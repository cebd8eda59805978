// What this machine can do at most, for gl.bench.
#include "csrc/core/error.h"
#include "kernels/common/isa.h"
#include "kernels/roof/roof.h"
#include "python/bindings/bindings.h"

namespace gemloupe::bindings {

void bind_bench(py::module_& m) {
  m.def(
      "measure_roof",
      [](double seconds, int64_t bytes) {
        check(seconds > 0 && seconds <= 60, "measure_roof: seconds: more than 0 and at most 60, got ", seconds);
        check(bytes >= 1 << 20, "measure_roof: bytes: at least 1 MiB, got ", bytes);
        py::dict found;
        const auto measured = [&](const char* unit, auto&& measure) {
          double rate;
          {
            const py::gil_scoped_release release;
            rate = measure();
          }
          found[unit] = rate;
        };
        measured("read", [&] { return roof::measure_read(seconds, bytes); });
        measured("fma", [&] { return roof::measure(roof::fma_spin, isa(), seconds); });
        measured("integer", [&] { return roof::measure(roof::integer_spin, isa(), seconds); });
        measured("bf16", [&] { return roof::measure(roof::bf16_spin, isa(), seconds); });
        return found;
      },
      py::arg("seconds"), py::arg("bytes"),
      "Bytes a second read from memory, and operations a second in float32, integers and bfloat16, with the threads and instructions in "
      "use; `seconds` for each.");
}

}  // namespace gemloupe::bindings
