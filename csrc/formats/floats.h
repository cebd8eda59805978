// Plain floating-point formats: F32, F16, BF16, F64, F8_E4M3 (no infinity, largest 448) and F8_E5M2.
//
// Values are rounded to nearest even when packed. Beyond the largest value F8_E4M3 takes the largest (an infinity becomes NaN); the
// others become infinite. F32, F16 and BF16 weights multiply in place; F64 and F8 a tile of rows at a time.
#pragma once

#include <memory>
#include <vector>

#include "csrc/formats/format.h"

namespace gemloupe {

// All of them, made once.
const std::vector<std::shared_ptr<const Format>>& float_formats();

float f8_e4m3_to_float(uint8_t v);
uint8_t float_to_f8_e4m3(float f);
float f8_e5m2_to_float(uint8_t v);
uint8_t float_to_f8_e5m2(float f);

}  // namespace gemloupe
