// Packers of GGML's types: one row of whole blocks.
//
// Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, TQ1_0 and TQ2_0 give the bytes of the `gguf` Python package. The others search for the scales
// with the least squared error (search.h). What holds a NaN or an infinity gets a NaN as its scale where the type can hold one.
#pragma once

#include <cstdint>
#include <string_view>

namespace gemloupe {

using PackRow = void(const float* row, int64_t cols, uint8_t* bytes);

// Null for a type that can only be read.
PackRow* ggml_packer(std::string_view type);

}  // namespace gemloupe
