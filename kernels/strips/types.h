// How the rows of each type come apart into indices and raw scale fields. Each type is described once, as moves between a block
// and a row's part of a unit; Take makes them from the block to the part, Put the other way, so the two are inverse.
// Only this room includes it.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/codes/codes.h"
#include "kernels/codes/scales.h"
#include "kernels/strips/strips.h"

namespace gemloupe::strips {

inline constexpr uint64_t kEachByte = 0x0101010101010101;  // once in every byte

// Eight fields of `bits` bits, the first one lowest, to eight bytes; and back.
[[gnu::always_inline]] inline uint64_t spread(uint64_t fields, int bits) {
  if (bits == 1) {  // a byte to every byte, its own bit of it, and that moved down
    const uint64_t own = fields * kEachByte & 0x8040201008040201;
    return (own + 0x7f7f7f7f7f7f7f7f) >> 7 & kEachByte;
  }
  uint64_t bytes = 0;
  for (int i = 0; i < 8; ++i) bytes |= (fields >> bits * i & ((1u << bits) - 1)) << 8 * i;
  return bytes;
}
[[gnu::always_inline]] inline uint64_t collect(uint64_t bytes, int bits) {
  if (bits == 1) return bytes * 0x0102040810204080 >> 56;
  uint64_t fields = 0;
  for (int i = 0; i < 8; ++i) fields |= (bytes >> 8 * i & 255) << bits * i;
  return fields;
}

// The raw bits of what one row has in a unit's header, as far as its kind has it. For super4 `scale` is the whole byte.
struct Fields {
  uint32_t scale[16], min[16];
  uint32_t d, dmin;
};

// The moves. `at` is a byte of the block, `group` counts from the block's first group, `to` from its first index.
struct Take {
  const uint8_t* block;
  uint8_t* index;
  Fields& f;
  int first;  // group of the unit

  template <int bytes>
  void number(int at, uint32_t& field) {
    field = 0;
    std::memcpy(&field, block + at, bytes);
  }
  template <int bytes = 2>
  void scale(int group, int at) { number<bytes>(at, f.scale[first + group]); }
  template <int bytes = 2>
  void min(int group, int at) { number<bytes>(at, f.min[first + group]); }

  // `bits` bits from bit `shift` on of each of n bytes; an index gets them at bit `up`, and the lowest come first.
  [[gnu::always_inline]] void lanes(int n, int at, int shift, int bits, int to, int up = 0) {
    const uint64_t mask = kEachByte * ((1u << bits) - 1);
    for (int i = 0; i < n; i += 8) {
      uint64_t v = (codes::u64_at(block + at + i) >> shift & mask) << up;
      if (up) v |= codes::u64_at(index + to + i);
      std::memcpy(index + to + i, &v, 8);
    }
  }
  // n fields of `bits` bits, one after the other.
  [[gnu::always_inline]] void run(int n, int64_t at, int bits, int to, int up = 0) {
    for (int i = 0; i < n; i += 8, at += bits) {
      uint64_t v = 0;
      std::memcpy(&v, block + at, static_cast<size_t>(bits));
      v = spread(v, bits) << up;
      if (up) v |= codes::u64_at(index + to + i);
      std::memcpy(index + to + i, &v, 8);
    }
  }
  // Signed bytes; the index is 128 more.
  void signed_bytes(int n, int at, int to) {
    for (int i = 0; i < n; ++i) index[to + i] = block[at + i] ^ 0x80;
  }

  void k_scales(int at) {
    uint64_t scales, minima;
    codes::k_scales(block + at, scales, minima);
    for (int g = 0; g < 8; ++g) f.scale[g] = scales >> 8 * g & 63, f.min[g] = minima >> 8 * g & 63;
  }
  void q3_k_scales(int at) {
    uint64_t low, high;
    codes::q3_k_scales(block + at, low, high);
    for (int g = 0; g < 16; ++g) f.scale[g] = static_cast<uint8_t>(((g < 8 ? low : high) >> 8 * (g % 8) & 63) - 32);
  }
  void iq4_xs_scales(int low, int high) {
    for (int g = 0; g < 8; ++g) {
      const unsigned six = (block[low + g / 2] >> 4 * (g % 2) & 15) | (codes::u16_at(block + high) >> 2 * g & 3) << 4;
      f.scale[g] = static_cast<uint8_t>(six - 32);
    }
  }
};

// The same moves backwards, into a block of zeros.
struct Put {
  uint8_t* block;
  const uint8_t* index;
  const Fields& f;
  int first;

  template <int bytes>
  void number(int at, const uint32_t& field) { std::memcpy(block + at, &field, bytes); }
  template <int bytes = 2>
  void scale(int group, int at) { number<bytes>(at, f.scale[first + group]); }
  template <int bytes = 2>
  void min(int group, int at) { number<bytes>(at, f.min[first + group]); }

  [[gnu::always_inline]] void lanes(int n, int at, int shift, int bits, int to, int up = 0) {
    const uint64_t mask = kEachByte * ((1u << bits) - 1);
    for (int i = 0; i < n; i += 8) {
      const uint64_t v = (codes::u64_at(index + to + i) >> up & mask) << shift | codes::u64_at(block + at + i);
      std::memcpy(block + at + i, &v, 8);
    }
  }
  [[gnu::always_inline]] void run(int n, int64_t at, int bits, int to, int up = 0) {
    for (int i = 0; i < n; i += 8, at += bits) {
      const uint64_t v = collect(codes::u64_at(index + to + i) >> up & kEachByte * ((1u << bits) - 1), bits);
      std::memcpy(block + at, &v, static_cast<size_t>(bits));
    }
  }
  void signed_bytes(int n, int at, int to) {
    for (int i = 0; i < n; ++i) block[at + i] = index[to + i] ^ 0x80;
  }

  void k_scales(int at) {
    uint32_t low[3] = {};
    for (int g = 0; g < 4; ++g) {
      low[0] |= (f.scale[g] | (f.scale[g + 4] & 0x30) << 2) << 8 * g;
      low[1] |= (f.min[g] | (f.min[g + 4] & 0x30) << 2) << 8 * g;
      low[2] |= ((f.scale[g + 4] & 15) | (f.min[g + 4] & 15) << 4) << 8 * g;
    }
    std::memcpy(block + at, low, 12);
  }
  void q3_k_scales(int at) {
    for (int g = 0; g < 16; ++g) {
      const unsigned six = (f.scale[g] + 32) & 63;
      block[at + g % 8] |= static_cast<uint8_t>((six & 15) << 4 * (g / 8));
      block[at + 8 + g % 4] |= static_cast<uint8_t>((six >> 4) << 2 * (g / 4));
    }
  }
  void iq4_xs_scales(int low, int high) {
    for (int g = 0; g < 8; ++g) {
      const unsigned six = (f.scale[g] + 32) & 63;
      block[low + g / 2] |= static_cast<uint8_t>((six & 15) << 4 * (g % 2));
      block[high + g / 4] |= static_cast<uint8_t>((six >> 4) << 2 * (g % 4));
    }
  }
};

// GGML's types: what the header holds, how long an index is, and the moves of a block.
template <StripScale scale_, int bits_, const auto&... level>
struct Type {
  static constexpr StripScale scale = scale_;
  static constexpr int bits = bits_;
  // Whether there are levels; with the format's offset they are the codes of the indices.
  static bool table(uint8_t* code_of, [[maybe_unused]] int offset) {
    for (int i = 0; i < 1 << bits; ++i) ((code_of[i] = static_cast<uint8_t>(level[i] + offset)), ...);
    return sizeof...(level);
  }
};

inline constexpr int8_t kSigns[2] = {-1, 1};

struct Q4_0 : Type<StripScale::f16, 4> {
  static constexpr char name[] = "Q4_0";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.scale(0, 0);
    m.lanes(16, 2, 0, 4, 0);
    m.lanes(16, 2, 4, 4, 16);
  }
};
struct Q4_1 : Type<StripScale::f16, 4> {
  static constexpr char name[] = "Q4_1";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.scale(0, 0);
    m.min(0, 2);
    m.lanes(16, 4, 0, 4, 0);
    m.lanes(16, 4, 4, 4, 16);
  }
};
struct Q5_0 : Type<StripScale::f16, 5> {
  static constexpr char name[] = "Q5_0";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.scale(0, 0);
    m.lanes(16, 6, 0, 4, 0);
    m.lanes(16, 6, 4, 4, 16);
    m.run(32, 2, 1, 0, 4);
  }
};
struct Q5_1 : Type<StripScale::f16, 5> {
  static constexpr char name[] = "Q5_1";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.scale(0, 0);
    m.min(0, 2);
    m.lanes(16, 8, 0, 4, 0);
    m.lanes(16, 8, 4, 4, 16);
    m.run(32, 4, 1, 0, 4);
  }
};
struct Q8_0 : Type<StripScale::f16, 8> {
  static constexpr char name[] = "Q8_0";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.scale(0, 0);
    m.signed_bytes(32, 2, 0);
  }
};
struct Q1_0 : Type<StripScale::f16, 1, kSigns> {
  static constexpr char name[] = "Q1_0";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.scale(0, 0);
    m.run(128, 2, 1, 0);
  }
};
struct Q2_0 : Type<StripScale::f16, 2> {
  static constexpr char name[] = "Q2_0";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.scale(0, 0);
    m.run(64, 2, 2, 0);
  }
};

struct Q2_K : Type<StripScale::super4, 2> {
  static constexpr char name[] = "Q2_K";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.template number<2>(80, m.f.d);
    m.template number<2>(82, m.f.dmin);
    for (int g = 0; g < 16; ++g) m.template scale<1>(g, g);
    for (int j = 0; j < 8; ++j) m.lanes(32, 16 + 32 * (j / 4), 2 * (j % 4), 2, 32 * j);
  }
};
struct Q3_K : Type<StripScale::super, 3> {
  static constexpr char name[] = "Q3_K";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.template number<2>(108, m.f.d);
    m.q3_k_scales(96);
    for (int j = 0; j < 8; ++j) m.lanes(32, 32 + 32 * (j / 4), 2 * (j % 4), 2, 32 * j);
    for (int j = 0; j < 8; ++j) m.lanes(32, 0, j, 1, 32 * j, 2);
  }
};
struct Q4_K : Type<StripScale::super, 4> {
  static constexpr char name[] = "Q4_K";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.template number<2>(0, m.f.d);
    m.template number<2>(2, m.f.dmin);
    m.k_scales(4);
    for (int j = 0; j < 8; ++j) m.lanes(32, 16 + 32 * (j / 2), 4 * (j % 2), 4, 32 * j);
  }
};
struct Q5_K : Type<StripScale::super, 5> {
  static constexpr char name[] = "Q5_K";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.template number<2>(0, m.f.d);
    m.template number<2>(2, m.f.dmin);
    m.k_scales(4);
    for (int j = 0; j < 8; ++j) m.lanes(32, 48 + 32 * (j / 2), 4 * (j % 2), 4, 32 * j);
    for (int j = 0; j < 8; ++j) m.lanes(32, 16, j, 1, 32 * j, 4);
  }
};
struct Q6_K : Type<StripScale::super, 6> {
  static constexpr char name[] = "Q6_K";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.template number<2>(208, m.f.d);
    for (int g = 0; g < 16; ++g) m.template scale<1>(g, 192 + g);
    for (int j = 0; j < 8; ++j) m.lanes(32, 64 * (j / 4) + 32 * (j % 2), 4 * (j / 2 % 2), 4, 32 * j);
    for (int j = 0; j < 8; ++j) m.lanes(32, 128 + 32 * (j / 4), 2 * (j % 4), 2, 32 * j, 4);
  }
};

struct IQ4_NL : Type<StripScale::f16, 4, codes::kNonLinear> {
  static constexpr char name[] = "IQ4_NL";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) { Q4_0::move(m); }
};
struct IQ4_XS : Type<StripScale::super, 4, codes::kNonLinear> {
  static constexpr char name[] = "IQ4_XS";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.template number<2>(0, m.f.d);
    m.iq4_xs_scales(4, 2);
    for (int j = 0; j < 16; ++j) m.lanes(16, 8 + 16 * (j / 2), 4 * (j % 2), 4, 16 * j);
  }
};
struct MXFP4 : Type<StripScale::e8m0, 4, codes::kE2m1Doubled> {
  static constexpr char name[] = "MXFP4";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.template scale<1>(0, 0);
    m.lanes(16, 1, 0, 4, 0);
    m.lanes(16, 1, 4, 4, 16);
  }
};
struct NVFP4 : Type<StripScale::ue4m3, 4, codes::kE2m1Doubled> {
  static constexpr char name[] = "NVFP4";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    for (int g = 0; g < 4; ++g) m.template scale<1>(g, g);
    for (int j = 0; j < 8; ++j) m.lanes(8, 4 + 8 * (j / 2), 4 * (j % 2), 4, 8 * j);
  }
};
struct TQ2_0 : Type<StripScale::f16, 2> {
  static constexpr char name[] = "TQ2_0";
  template <class Move>
  [[gnu::always_inline]] static void move(Move m) {
    m.scale(0, 64);
    for (int j = 0; j < 8; ++j) m.lanes(32, 32 * (j / 4), 2 * (j % 4), 2, 32 * j);
  }
};

// Whole blocks of one of these: a row's columns [first, first + count) as its part of a unit, and back.
template <class T>
struct Blocks {
  const CodesLayout l;

  StripScale scale() const { return T::scale; }
  int bits() const { return T::bits; }
  bool table(uint8_t* code_of) const { return T::table(code_of, l.offset); }
  int offset() const { return l.offset; }

  void take(const uint8_t* row, int64_t first, int count, uint8_t* index, Fields& f) const {
    row += first / l.block * l.block_bytes;
    for (int i = 0; i < count; i += l.block, row += l.block_bytes) T::move(Take{row, index + i, f, i / l.group});
  }
  void put(uint8_t* row, int64_t first, int count, const uint8_t* index, const Fields& f) const {
    row += first / l.block * l.block_bytes;
    for (int i = 0; i < count; i += l.block, row += l.block_bytes) T::move(Put{row, index + i, f, i / l.group});
  }
};

// Rows of a grid. A block may be longer than a unit: then its scale stands in several.
struct Grid {
  const GridRow& g;
  const CodesLayout l;
  const int number = g.scale == ScaleType::f32 ? 4 : 2;

  // Units are multiples of the group, and long indices have no table.
  bool fits() const { return 256 % l.group == 0 && (g.bits <= 4 || consecutive()); }

  StripScale scale() const {
    return g.scale == ScaleType::f32 ? StripScale::f32 : g.scale == ScaleType::bf16 ? StripScale::bf16 : StripScale::f16;
  }
  int bits() const { return g.bits == 7 ? 8 : g.bits; }
  // Consecutive levels need no table: the offset moves.
  bool consecutive() const {
    for (int i = 1; i < 1 << g.bits; ++i)
      if (g.code[i] != g.code[0] + i) return false;
    return g.code[0] <= 128;
  }
  bool table(uint8_t* code_of) const {
    if (consecutive() || g.bits > 4) return false;
    for (int i = 0; i < 1 << g.bits; ++i) code_of[i] = g.code[i];
    return true;
  }
  int offset() const { return consecutive() ? 128 - g.code[0] : 128; }

  void take(const uint8_t* row, int64_t first, int count, uint8_t* index, Fields& f) const {
    each_group(first, count, [&](int i, int64_t block, int64_t at) { move(Take{row + block, index + i, f, i / l.group}, at, count - i); });
    std::memset(index + count, 0, static_cast<size_t>((16 - count % 16) % 16));  // what pads a row
  }
  void put(uint8_t* row, int64_t first, int count, const uint8_t* index, const Fields& f) const {
    each_group(first, count, [&](int i, int64_t block, int64_t at) { move(Put{row + block, index + i, f, i / l.group}, at, count - i); });
  }

 private:
  template <class Each>
  void each_group(int64_t first, int count, Each&& each) const {
    for (int i = 0; i < count; i += l.group) each(i, (first + i) / l.block * l.block_bytes, (first + i) % l.block);
  }
  // The group that begins at element `at` of its block; `left` of its elements are in the row, or all.
  template <class Move>
  void move(Move m, int64_t at, int left) const {
    if (number == 4)
      m.template scale<4>(0, 0);
    else
      m.scale(0, 0);
    if (g.has_min && number == 4)
      m.template min<4>(0, 4);
    else if (g.has_min)
      m.min(0, 2);
    m.run(left < l.group ? left : l.group, (g.has_min ? 2 * number : number) + at * g.bits / 8, g.bits, 0);
  }
};

}  // namespace gemloupe::strips
