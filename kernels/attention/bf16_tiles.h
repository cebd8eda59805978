// Keys and values of attention_bf16 as tiles: rounded, in pairs, once for all queries that see them. A variant's Words come before.
#pragma once

#include "kernels/attention/bf16.h"
#include "kernels/common/bf16.h"

namespace gemloupe {
namespace {

constexpr int kTileWords = 256;  // a tile of keys or values: 16 pairs of rows, 16 columns
constexpr int kGroups = kKeyBlock / kTileBlock;

[[gnu::always_inline]] inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
[[gnu::always_inline]] inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
[[gnu::always_inline]] inline int64_t up(int64_t a, int64_t unit) { return (a + unit - 1) / unit * unit; }

struct Task {
  Matrix<const float> q;
  int64_t first_position;
  KeyValues cache;
  int kv_heads, group, head_dim, width;  // width: head_dim up to a multiple of 32
  float scale;
  int64_t window;
  Matrix<float> y;
  int64_t queries;  // of one key-value head
  int panel;        // queries of a panel, a multiple of 32

  float* memory;
  // Tiles of positions start .. start + 256 * blocks - 1, for each key-value head and block of positions:
  // keys[16 keys][32 columns][tile], values[16 columns][32 keys][tile]; odd[32 keys].
  uint32_t *keys, *values;
  uint8_t* odd;
  int64_t start, blocks;
  float *largest, *sum;  // [kv_heads][queries], between two stretches
};

// Why a group of 32 keys needs care.
enum Odd : uint8_t {
  kTinyKeys = 1,    // below 2^-48: with a small query, a sum of products may fall below 2^-126
  kTinyValues = 2,  // below 2^-40: with a small weight the same
  kWildValues = 4   // infinite or NaN: rows that do not see the key must not meet it
};
constexpr float kTinyQuery = 0x1p-60f;

[[gnu::always_inline]] inline bool any_below(Lanes size, float limit) {
  return greater(fill(limit), size) & greater(size, fill(0.0f));
}

// 32 elements of a row at column d of head_dim; what is behind the last column, and every absent row, is 0.
struct Stretch {
  Lanes a, b;
};
template <class T>
[[gnu::always_inline]] inline Stretch load_stretch(const T* row, int d, int head_dim) {
  if (!row) return {fill(0.0f), fill(0.0f)};
  const int left = head_dim - d;
  if (left >= 2 * kLanes) return {load(row + d), load(row + d + kLanes)};
  if (left <= kLanes) return {load(row + d, left), fill(0.0f)};
  return {load(row + d), load(row + d + kLanes, left - kLanes)};
}
[[gnu::always_inline]] inline bool any_below(Stretch x, float limit) {
  return any_below(larger(x.a, -x.a), limit) || any_below(larger(x.b, -x.b), limit);
}

// 16 keys, the columns d .. d + 31: one tile.
template <class T>
[[gnu::always_inline]] inline uint8_t make_key_tile(const T* const* key, int d, int head_dim, uint32_t* tile) {
  Words w[kLanes];
  bool tiny = false;
  for (int k = 0; k < kLanes; ++k) {
    const Stretch x = load_stretch(key[k], d, head_dim);
    if (sizeof(T) == 4 && !kFlushes) tiny |= any_below(x, 0x1p-48f);
    w[k] = pack_rounded(x.a, x.b);
  }
  transpose(w);
  for (int p = 0; p < kLanes; ++p) store(tile + p * kLanes, w[p]);
  return tiny ? kTinyKeys : 0;
}

// 32 values, the columns d .. d + 31: two tiles, `stride` words apart.
template <class T>
[[gnu::always_inline]] inline uint8_t make_value_tiles(const T* const* value, int d, int head_dim, uint32_t* tile, int64_t stride) {
  bool tiny = false;
  Lanes size = fill(0.0f);
  for (int p = 0; p < kLanes; ++p) {
    const Stretch x = load_stretch(value[2 * p], d, head_dim), y = load_stretch(value[2 * p + 1], d, head_dim);
    if (sizeof(T) == 4 && !kFlushes) tiny |= any_below(x, 0x1p-40f) || any_below(y, 0x1p-40f);
    const Words a = pair_rounded(x.a, y.a), b = pair_rounded(x.b, y.b);
    // x * 0 is 0 or NaN.
    for (const Words w : {a, b}) size = fma(high(w), fill(0.0f), fma(low(w), fill(0.0f), size));
    store(tile + p * kLanes, a);
    store(tile + stride + p * kLanes, b);
  }
  const bool wild = equal(size, size) != 0xffff;
  return static_cast<uint8_t>((tiny ? kTinyValues : 0) | (wild ? kWildValues : 0));
}

// The tiles of 32 positions of one key-value head.
template <class T>
[[gnu::always_inline]] inline void make_tiles(const Task& task, int64_t kv, int64_t group) {
  const KeyValues& c = task.cache;
  const T *key[kTileBlock], *value[kTileBlock];
  const int64_t first = task.start + group * kTileBlock, column = kv * task.head_dim;
  for (int i = 0; i < kTileBlock; ++i) {
    const bool present = first + i >= c.first && first + i < c.last;
    const int64_t slot = (first + i) % c.capacity;
    key[i] = present ? static_cast<const T*>(c.keys) + slot * c.key_width_stride + column : nullptr;
    value[i] = present ? static_cast<const T*>(c.values) + slot * c.value_width_stride + column : nullptr;
  }
  const int64_t block = kv * task.blocks + group / kGroups, part = group % kGroups, columns = task.width / kTileBlock;
  uint32_t* const keys = task.keys + (block * 2 * kGroups + 2 * part) * columns * kTileWords;
  uint32_t* const values = task.values + (block * 2 * columns * kGroups + part) * kTileWords;
  uint8_t odd = 0;
  for (int64_t i = 0; i < columns; ++i) {
    const int d = static_cast<int>(i) * kTileBlock;
    odd |= make_key_tile(key, d, task.head_dim, keys + i * kTileWords);
    odd |= make_key_tile(key + kLanes, d, task.head_dim, keys + (columns + i) * kTileWords);
    odd |= make_value_tiles(value, d, task.head_dim, values + 2 * i * kGroups * kTileWords, kGroups * kTileWords);
  }
  task.odd[block * kGroups + part] = odd;
}

}  // namespace
}  // namespace gemloupe
