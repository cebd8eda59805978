// Which instruction sets this machine has, and which of them we may use.
#pragma once

#include <string_view>

namespace gemloupe {

// Ordered: a machine that has one has all before it.
//   avx2    AVX2, FMA, F16C                          (Haswell, Zen 1 and later)
//   avx512  F, BW, CD, DQ, VL, VNNI, VBMI, VBMI2   (Ice Lake, Zen 4 and later)
//   amx     avx512, its BF16, and AMX tiles, int8 and bf16   (Sapphire Rapids and later)
enum class Isa { reference, avx2, avx512, amx };
inline constexpr int kIsas = 4;

// The best one this machine has. Asks the system for permission to use AMX tiles the first time.
Isa detected_isa();

// The one in use: detected_isa(), lowered by GEMLOUPE_ISA in the environment or by limit_isa().
Isa isa();

// Lowers (or raises again, at most to the detected one) what isa() returns, for the whole process.
void limit_isa(Isa limit);

const char* name(Isa isa);
// The Isa of that name, or false.
bool parse_isa(std::string_view name, Isa& isa);

}  // namespace gemloupe
