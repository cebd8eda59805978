#include "csrc/core/arithmetic.h"

#include "csrc/core/error.h"
#include "csrc/core/names.h"

namespace gemloupe {
namespace {

constexpr const char* kNames[kArithmetics] = {"exact", "bf16", "int8"};

}  // namespace

const char* name(Arithmetic arithmetic) { return kNames[static_cast<int>(arithmetic)]; }

Arithmetic arithmetic_named(const std::string& name) {
  for (int i = 0; i < kArithmetics; ++i)
    if (name == kNames[i]) return static_cast<Arithmetic>(i);
  throw std::invalid_argument(text("arithmetic: \"", name, "\" is not known; known are exact, bf16, int8",
                                   did_you_mean(name, {std::begin(kNames), std::end(kNames)})));
}

}  // namespace gemloupe
