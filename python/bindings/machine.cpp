// Instruction set and threads.
#include "kernels/common/isa.h"

#include "csrc/core/error.h"
#include "kernels/common/team.h"
#include "python/bindings/bindings.h"

namespace gemloupe::bindings {

void bind_machine(py::module_& m) {
  m.def("isa", [] { return name(isa()); }, "The instruction set in use.");
  m.def("detected_isa", [] { return name(detected_isa()); }, "The best instruction set of this machine.");
  m.def(
      "limit_isa",
      [](const std::string& wanted) {
        Isa isa;
        check(parse_isa(wanted, isa), "isa: \"", wanted, "\" is not one of reference, avx2, avx512, amx");
        demand(isa <= detected_isa(), "isa: this machine has no ", wanted, ", its best is ", name(detected_isa()));
        limit_isa(isa);
      },
      py::arg("isa"), "Sets the instruction set for the whole process.");
  m.def("threads", [] { return threads(); }, "How many threads share the work.");
  m.def(
      "set_threads",
      [](int count) {
        check(count >= 1, "threads: at least 1, got ", count);
        check(count <= 1024, "threads: at most 1024, got ", count);
        set_threads(count);
      },
      py::arg("count"), "Sets how many threads share the work, for the whole process.");
}

}  // namespace gemloupe::bindings
