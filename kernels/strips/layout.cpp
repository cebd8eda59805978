#include "kernels/strips/layout.h"

namespace gemloupe {
namespace {

int header_bytes(const StripLayout& l) {
  const int groups = l.unit / l.group, minima = l.has_min && l.scale != StripScale::super4 ? 2 : 1;
  const int of_a_row = strips::is_super(l.scale) ? 2 * (l.has_min ? 2 : 1) : 0;
  return kStripRows * (of_a_row + groups * strips::scale_bytes(l.scale) * minima);
}

}  // namespace

bool strip_layout(const PackedRows& w, StripLayout& layout) {
  StripLayout l;
  const bool found = strips::with_type(w, [&](const auto& type) {
    l.bits = type.bits();
    l.table = type.table(l.code_of);
    l.offset = type.offset();
    l.scale = type.scale();
  });
  if (!found) return false;
  l.group = w.layout.group;
  l.has_min = w.layout.has_min;
  // The shortest unit whose header needs no padding; a super-block is one unit.
  l.unit = strips::is_super(l.scale) ? 256 : l.group < 64 ? 64 : l.group;
  while (l.unit < 256 && header_bytes(l) % 64) l.unit *= 2;
  l.header = (header_bytes(l) + 63) / 64 * 64;
  l.unit_bytes = l.header + l.unit * l.bits * 2;
  layout = l;
  return true;
}

}  // namespace gemloupe
