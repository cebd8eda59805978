// The types a GGUF tensor may have: number in the file, name, and the size of a block. A row is a whole number of blocks.
#pragma once

#include <cstdint>
#include <string_view>

namespace gemloupe {

struct GgmlType {
  uint32_t id;
  const char* name;
  uint32_t elements;  // of a block
  uint32_t bytes;     // of a block
};

inline constexpr GgmlType kGgmlTypes[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},        {2, "Q4_0", 32, 18},      {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},     {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},
    {10, "Q2_K", 256, 84},    {11, "Q3_K", 256, 110},  {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},  {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},  {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},        {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},       {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56},
    {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},  {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},
    {40, "NVFP4", 64, 36},    {41, "Q1_0", 128, 18},   {42, "Q2_0", 64, 18},
};

// Null where there is none.
constexpr const GgmlType* ggml_type(uint32_t id) {
  for (const GgmlType& type : kGgmlTypes) {
    if (type.id == id) return &type;
  }
  return nullptr;
}
constexpr const GgmlType* ggml_type(std::string_view name) {
  for (const GgmlType& type : kGgmlTypes) {
    if (name == type.name) return &type;
  }
  return nullptr;
}

// Why a number is in no table: types that ggml has given up, and those that only forks have.
constexpr const char* ggml_unknown_type(uint32_t id) {
  if (id == 4 || id == 5) return "Q4_2 or Q4_3, given up in 2023";
  if (id >= 31 && id <= 33) return "Q4_0 repacked for one processor (Q4_0_4_4, Q4_0_4_8, Q4_0_8_8), given up in 2025";
  if (id >= 36 && id <= 38) return "IQ4_NL repacked for one processor, given up in 2025, or a fork's own type";
  if (id >= 97 && id < 400) return "a fork's own type (ik_llama.cpp numbers its types so)";
  return "a damaged file, or a type younger than this program";
}

}  // namespace gemloupe
