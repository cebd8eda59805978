// Memory for intermediate values: at least `floats` of them, aligned to 64 bytes, uninitialised. It belongs to the calling
// thread and is reused by that thread's next call, so a kernel takes it once, before it shares its work. Throws std::bad_alloc.
#pragma once

#include <cstdint>

namespace gemloupe { float* scratch(int64_t floats); }  // namespace gemloupe
