// A named way to multiply activations by a weight, chosen by the caller and never by the shape of a step.
//
//   exact  decoding, checking drafts, measuring: packed weights keep their codes, activations are 16-bit integers with one scale a
//          row (kernels/matmul/exact.h); float weights have float32 sums (kernels/matmul/float.h)
//   bf16   prompts: both sides rounded to bfloat16 (kernels/bf16/bf16.h), attention too (kernels/attention/bf16.h)
//   int8   for comparison with engines that do so: activations are 8-bit integers with a scale for every 32 columns
//          (kernels/int8/int8.h); weights without codes are multiplied as in `exact`
//
// F32 weights have float32 sums in all three. Within an arithmetic the bits of a row depend on nothing but the row.
#pragma once

#include <cstdint>
#include <string>

namespace gemloupe {

enum class Arithmetic : uint8_t { exact, bf16, int8 };
inline constexpr int kArithmetics = 3;

const char* name(Arithmetic arithmetic);
// Throws std::invalid_argument that lists the known ones.
Arithmetic arithmetic_named(const std::string& name);

}  // namespace gemloupe
