// The readable way to look into a unit.
#include "kernels/strips/layout.h"
#include "kernels/strips/planes.h"

namespace gemloupe {
namespace {

float number(const StripLayout& l, uint32_t field, float d) {
  switch (l.scale) {
    case StripScale::f16: return f16_to_float(static_cast<uint16_t>(field));
    case StripScale::bf16: return bf16_to_float(static_cast<uint16_t>(field));
    case StripScale::f32: return bits_to_float(field);
    case StripScale::super: return d * static_cast<float>(static_cast<int8_t>(field));
    case StripScale::super4: return d * static_cast<float>(field & 15);
    case StripScale::e8m0: return codes::e8m0_half(static_cast<uint8_t>(field));
    case StripScale::ue4m3: return codes::ue4m3_half(static_cast<uint8_t>(field));
  }
  return 0;
}

}  // namespace

void strip_scales(const StripLayout& l, const uint8_t* unit, float* scale, float* min) {
  const bool super = strips::is_super(l.scale);
  for (int r = 0; r < kStripRows; ++r) {
    strips::Fields f;
    strips::get_fields(l, unit, r, f);
    const float d = super ? f16_to_float(static_cast<uint16_t>(f.d)) : 0;
    const float dmin = super && l.has_min ? f16_to_float(static_cast<uint16_t>(f.dmin)) : 0;
    for (int g = 0; g < l.unit / l.group; ++g) {
      scale[g * kStripRows + r] = number(l, f.scale[g], d);
      if (l.scale == StripScale::super && l.has_min)
        min[g * kStripRows + r] = -(dmin * static_cast<float>(f.min[g]));
      else if (l.scale == StripScale::super4)
        min[g * kStripRows + r] = -(dmin * static_cast<float>(f.scale[g] >> 4));
      else if (l.has_min)
        min[g * kStripRows + r] = number(l, f.min[g], d);
    }
  }
}

void strip_codes(const StripLayout& l, const uint8_t* unit, uint8_t* code) {
  alignas(64) uint8_t index[kStripRows * 256];
  strips::reference::from_planes(unit + l.header, l.unit, l.bits, index);
  for (int c = 0; c < l.unit; ++c)
    for (int r = 0; r < kStripRows; ++r) {
      const uint8_t i = index[r * l.unit + c];
      code[c / 4 * 64 + r * 4 + c % 4] = l.table ? l.code_of[i] : i;
    }
}

}  // namespace gemloupe
