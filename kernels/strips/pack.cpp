#include <algorithm>
#include <cstring>

#include "kernels/common/team.h"
#include "kernels/strips/layout.h"
#include "kernels/strips/planes.h"

namespace gemloupe {
namespace {

constexpr int kMostIndices = kStripRows * 256;  // of a unit: [16][unit]

template <class Type>
void pack_strip(const Type& type, const PackedRows& w, const Strips& strips, int64_t first_row, int rows, uint8_t* to) {
  const StripLayout& l = strips.layout;
  alignas(64) uint8_t indices[kMostIndices] = {};
  uint8_t* const index = indices;
  for (int64_t c = 0; c < w.cols; c += l.unit, to += l.unit_bytes) {
    const int count = static_cast<int>(std::min<int64_t>(l.unit, w.cols - c));
    std::memset(to, 0, static_cast<size_t>(l.header));
    for (int r = 0; r < rows; ++r) {
      strips::Fields f;
      uint8_t* row = index + r * l.unit;
      if (count < l.unit) {
        std::memset(row, 0, static_cast<size_t>(l.unit));
        f = {};
      }
      type.take(w.data + (first_row + r) * w.row_bytes, c, count, row, f);
      strips::put_fields(l, to, r, f);
    }
    strips::to_planes(index, l.unit, l.bits, to + l.header);
  }
}

template <class Type>
void unpack_strip(const Type& type, const Strips& strips, const uint8_t* unit, int first, int rows, int64_t row_bytes, uint8_t* to) {
  const StripLayout& l = strips.layout;
  alignas(64) uint8_t indices[kMostIndices];
  uint8_t* const index = indices;
  std::memset(to, 0, static_cast<size_t>(rows * row_bytes));
  for (int64_t c = 0; c < strips.cols; c += l.unit, unit += l.unit_bytes) {
    const int count = static_cast<int>(std::min<int64_t>(l.unit, strips.cols - c));
    strips::from_planes(unit + l.header, l.unit, l.bits, index);
    for (int r = 0; r < rows; ++r) {
      strips::Fields f;
      strips::get_fields(l, unit, first + r, f);
      type.put(to + r * row_bytes, c, count, index + (first + r) * l.unit, f);
    }
  }
}

constexpr int64_t kWorthAThread = 1 << 16;  // bytes

}  // namespace

void pack_strips(const PackedRows& w, const Strips& strips, uint8_t* to) {
  const int64_t bytes = strips.strip_bytes(), each = strips.strips_per_part();
  if (!bytes) return;
  strips::with_type(w, [&](const auto& type) {
    deal(strips.parts * each, 1 + kWorthAThread / bytes, [&](int64_t first, int64_t last) {
      for (int64_t s = first; s < last; ++s) {
        const int64_t row = s % each * kStripRows;
        pack_strip(type, w, strips, s / each * strips.rows + row, static_cast<int>(std::min<int64_t>(kStripRows, strips.rows - row)),
                   to + s * bytes);
      }
    });
  });
}

void unpack_strips(const Strips& strips, const PackedRows& w, int64_t first, int64_t count, uint8_t* rows) {
  const int64_t bytes = strips.strip_bytes(), each = strips.strips_per_part(), end = first + count;
  if (!count || !bytes) return;
  const auto strip_of = [&](int64_t row) { return row / strips.rows * each + row % strips.rows / kStripRows; };
  strips::with_type(w, [&](const auto& type) {
    const int64_t begin = strip_of(first);
    deal(strip_of(end - 1) + 1 - begin, 1 + kWorthAThread / bytes, [&](int64_t from, int64_t to) {
      for (int64_t s = begin + from; s < begin + to; ++s) {
        const int64_t part = s / each, start = part * strips.rows + s % each * kStripRows;
        const int64_t top = std::max(first, start), bottom = std::min({end, start + kStripRows, (part + 1) * strips.rows});
        unpack_strip(type, strips, strips.data + s * bytes, static_cast<int>(top - start), static_cast<int>(bottom - top), w.row_bytes,
                     rows + (top - first) * w.row_bytes);
      }
    });
  });
}

}  // namespace gemloupe
