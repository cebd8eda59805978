// Which type a weight's rows have, and where a unit's header keeps what belongs to a row. Only this room includes it.
#pragma once

#include <tuple>
#include <type_traits>

#include "kernels/strips/types.h"

namespace gemloupe::strips {

template <class T, class Run>
bool if_type(const PackedRows& w, Run&& run) {
  static const PackedType* const type = packed_type(T::name);
  if (w.decode != type->decode) return false;
  run(Blocks<T>{w.layout});
  return true;
}
template <class Run, class... T>
bool if_one_of(const PackedRows& w, Run&& run, std::tuple<T...>*) {
  return (if_type<T>(w, run) || ...);
}
using Types = std::tuple<Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q1_0, Q2_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4, NVFP4, TQ2_0>;

// run(Blocks<…> or Grid) for the type of these rows; false if it has no strips.
template <class Run>
bool with_type(const PackedRows& w, Run&& run) {
  if (w.decode != &decode_grid) return if_one_of(w, run, static_cast<Types*>(nullptr));
  const Grid grid{*static_cast<const GridRow*>(w.context), w.layout};
  if (!grid.fits()) return false;
  run(grid);
  return true;
}

inline int scale_bytes(StripScale scale) {
  return scale == StripScale::f32 ? 4 : scale == StripScale::f16 || scale == StripScale::bf16 ? 2 : 1;
}
inline bool is_super(StripScale scale) { return scale == StripScale::super || scale == StripScale::super4; }

// Calls move(place, field, number of bytes as a constant) for everything that row `row` has in a header.
template <int bytes, class Byte, class AnyFields, class Move>
[[gnu::always_inline]] inline void each_field(const StripLayout& l, Byte* header, int row, AnyFields& f, Move&& move) {
  constexpr std::integral_constant<int, 2> two;
  constexpr std::integral_constant<int, bytes> constant;
  const int groups = l.unit / l.group;
  if (is_super(l.scale)) {
    move(header + 2 * row, f.d, two);
    header += 2 * kStripRows;
    if (l.has_min) {
      move(header + 2 * row, f.dmin, two);
      header += 2 * kStripRows;
    }
  }
  header += bytes * row;
  for (int g = 0; g < groups; ++g) move(header + bytes * kStripRows * g, f.scale[g], constant);
  if (!l.has_min || l.scale == StripScale::super4) return;
  header += bytes * kStripRows * groups;
  for (int g = 0; g < groups; ++g) move(header + bytes * kStripRows * g, f.min[g], constant);
}

// Row `row` of a header, written and read. The header's padding is not touched.
[[gnu::always_inline]] inline void put_fields(const StripLayout& l, uint8_t* header, int row, const Fields& f) {
  const auto move = [](uint8_t* place, uint32_t field, auto bytes) { std::memcpy(place, &field, bytes); };
  switch (scale_bytes(l.scale)) {
    case 1: return each_field<1>(l, header, row, f, move);
    case 2: return each_field<2>(l, header, row, f, move);
    default: return each_field<4>(l, header, row, f, move);
  }
}
[[gnu::always_inline]] inline void get_fields(const StripLayout& l, const uint8_t* header, int row, Fields& f) {
  const auto move = [](const uint8_t* place, uint32_t& field, auto bytes) {
    field = 0;
    std::memcpy(&field, place, bytes);
  };
  switch (scale_bytes(l.scale)) {
    case 1: return each_field<1>(l, header, row, f, move);
    case 2: return each_field<2>(l, header, row, f, move);
    default: return each_field<4>(l, header, row, f, move);
  }
}

}  // namespace gemloupe::strips
