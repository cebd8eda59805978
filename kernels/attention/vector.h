// The vector loops of attention; avx2.cpp and avx512.cpp include it after their Lanes.
//
// A block is up to 32 queries of one key-value head: some rows times the query heads that share the head. Keys are taken in
// tiles of 64 positions; inside a tile a few queries meet a few keys at a time, so every load is used several times. Many
// blocks go to the threads whole. Few blocks (one decoded row) are shared inside: scores by tiles of keys, the exponentials by
// queries, the mix of the values by columns, none of which splits a sum.
#pragma once

#include "kernels/attention/attention.h"
#include "kernels/common/scratch.h"
#include "kernels/common/team.h"

namespace gemloupe {
namespace {

constexpr int kBlock = 32, kTile = 64, kNear = 16;

struct Task {
  Matrix<const float> q;
  int64_t first_position;
  KeyValues cache;
  int group, head_dim;
  float scale;
  int64_t window;
  Matrix<float> y;
};

struct Block {
  int queries = 0;
  int64_t column = 0;    // of the key-value head in a row of the cache
  Visible all = {0, 0};  // the union of what they see
  int64_t base = 0;      // the position of e[j][0], a multiple of kTile
  const float* q[kBlock];
  float* y[kBlock];
  float* e[kBlock];  // the scores of a query, later their exponentials
  Visible seen[kBlock];
  float sum[kBlock];
};

[[gnu::always_inline]] inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
[[gnu::always_inline]] inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
[[gnu::always_inline]] inline int64_t tiles(const Block& b) {
  return b.queries ? (b.all.last - b.base + kTile - 1) / kTile : 0;
}

// Rows first_row .. first_row + rows - 1 and the heads first_head .. first_head + heads - 1 of key-value head kv.
inline void set_block(const Task& task, int64_t first_row, int rows, int kv, int first_head, int heads, float* e,
                      int64_t length, Block& b) {
  b.queries = 0;
  b.column = int64_t{kv} * task.head_dim;
  b.all = {INT64_MAX, INT64_MIN};
  for (int r = 0; r < rows; ++r) {
    const Visible seen = visible(task.first_position + first_row + r, task.window, task.cache.first, task.cache.last);
    const int64_t at = (int64_t{kv} * task.group + first_head) * task.head_dim;
    for (int h = 0; h < heads; ++h) {
      float* y = task.y.row(first_row + r) + at + int64_t{h} * task.head_dim;
      for (int d = 0; d < task.head_dim; ++d) y[d] = 0.0f;
      if (seen.first >= seen.last) continue;
      const int j = b.queries++;
      b.q[j] = task.q.row(first_row + r) + at + int64_t{h} * task.head_dim;
      b.y[j] = y;
      b.e[j] = e + j * length;
      b.seen[j] = seen;
      b.all = {least(b.all.first, seen.first), most(b.all.last, seen.last)};
    }
  }
  if (b.queries == 0) b.all = {0, 0};
  b.base = b.all.first / kTile * kTile;
}

// Rows of a ring that come later, fetched a line at a time in the order in which they lie, so that memory is read evenly while
// numbers are made. They may lie outside the ring, where a prefetch does nothing.
class Fetch {
 public:
  template <class T>
  [[gnu::always_inline]] Fetch(const T* row, int64_t rows_ahead, int64_t width_stride, int64_t width, int passes)
      : row_(reinterpret_cast<uintptr_t>(row) + static_cast<uintptr_t>(rows_ahead * width_stride) * sizeof(T)),
        stride_(static_cast<uintptr_t>(width_stride) * sizeof(T)),
        width_(static_cast<uintptr_t>(width) * sizeof(T)),
        passes_(passes) {}

  // As many as `bytes` of the rows at hand are used, in one of the passes over them.
  [[gnu::always_inline]] void step(int bytes) {
    for (due_ += bytes; due_ >= 64 * passes_; due_ -= 64 * passes_) {
      __builtin_prefetch(reinterpret_cast<const void*>(row_ + at_), 0, 2);
      if ((at_ += 64) >= width_) {
        at_ = 0;
        row_ += stride_;
      }
    }
  }

 private:
  uintptr_t row_;
  const uintptr_t stride_, width_;
  uintptr_t at_ = 0;
  const int passes_;
  int due_ = 0;
};

[[gnu::always_inline]] inline int passes(const Block& b) { return (b.queries + kQueries - 1) / kQueries; }

// Calls take(j, Q) for queries j .. j + Q - 1, until all have had their turn; Q is a constant.
template <int Q>
struct Count {
  static constexpr int value = Q;
};
template <class Take>
[[gnu::always_inline]] inline void for_queries(const Block& b, const Take& take) {
  int j = 0;
  for (; j + kQueries <= b.queries; j += kQueries) take(j, Count<kQueries>());
  if (kQueries > 2 && j + 2 <= b.queries) {
    take(j, Count<2>());
    j += 2;
  }
  for (; j < b.queries; ++j) take(j, Count<1>());
}

// e[j][at + i] = scale * (q[j] . key[i])
template <int Q, class T>
[[gnu::always_inline]] inline void score(const float* const* q, const T* const* key, int n, float scale, float* const* e,
                                         int64_t at, Fetch& ahead) {
  constexpr int K = kKeys<Q>;
  Lanes s[Q][K];
  for (int j = 0; j < Q; ++j)
    for (int i = 0; i < K; ++i) s[j][i] = fill(0.0f);
  int d = 0;
  for (; d + kLanes <= n; d += kLanes) {
    ahead.step(K * kLanes * static_cast<int>(sizeof(T)));
    Lanes k[K];
    for (int i = 0; i < K; ++i) k[i] = load(key[i] + d);
    for (int j = 0; j < Q; ++j) {
      const Lanes x = load(q[j] + d);
      for (int i = 0; i < K; ++i) s[j][i] = fma(x, k[i], s[j][i]);
    }
  }
  // Lanes behind the tail add +0: at most a -0 becomes +0, which no exponential tells apart.
  if (const int rest = n - d) {
    for (int i = 0; i < K; ++i) {
      const Lanes k = load(key[i] + d, rest);
      for (int j = 0; j < Q; ++j) s[j][i] = fma(load(q[j] + d, rest), k, s[j][i]);
    }
  }
  store_folds<Q>(s, scale, e, at);
}

// Scores of all queries with the keys of one tile, a few keys at a time so that they stay near. Places of the tile that no query
// sees borrow a neighbour's key; what they give is overwritten by exponentials() or never read.
template <class T>
[[gnu::always_inline]] inline void score_keys(const Task& task, const Block& b, int64_t tile) {
  const int64_t start = b.base + tile * kTile, first = most(start, b.all.first), last = least(start + kTile, b.all.last);
  const T* key[kTile];
  int64_t slot = first % task.cache.capacity;
  const T* at = static_cast<const T*>(task.cache.keys) + b.column;
  for (int64_t p = start; p < start + kTile; ++p) {
    key[p - start] = at + slot * task.cache.key_width_stride;
    if (p >= first && p + 1 < last && ++slot == task.cache.capacity) slot = 0;
  }
  Fetch ahead(key[first - start], kNear, task.cache.key_width_stride, task.head_dim, passes(b));
  for (int64_t near = (first - start) / kNear * kNear; near < last - start; near += kNear)
    for_queries(b, [&](int j, auto count) __attribute__((always_inline)) {
      constexpr int Q = decltype(count)::value;
      for (int64_t i = near; i < least(near + kNear, last - start); i += kKeys<Q>)
        score<Q>(b.q + j, key + i, task.head_dim, task.scale, b.e + j, start - b.base + i, ahead);
    });
}

// Scores become exponentials, and their sum is made: e[j][0] is at a multiple of 16, so a lane is a position mod 16.
[[gnu::always_inline]] inline void exponentials(Block& b, int j) {
  float* const e = b.e[j];
  const int64_t first = b.seen[j].first - b.base, last = b.seen[j].last - b.base;
  const int64_t begin = first / kLanes * kLanes, end = (last + kLanes - 1) / kLanes * kLanes;
  for (int64_t i = begin; i < first; ++i) e[i] = -__builtin_inff();
  for (int64_t i = last; i < end; ++i) e[i] = -__builtin_inff();
  Lanes top = fill(-__builtin_inff());
  for (int64_t i = begin; i < end; i += kLanes) top = larger(load(e + i), top);
  const Lanes m = fill(largest(top));
  Lanes sum = fill(0.0f);
  for (int64_t i = begin; i < end; i += kLanes) {
    const Lanes x = exp_(load(e + i) - m);
    store(e + i, x);
    sum = sum + x;
  }
  b.sum[j] = fold(sum);
}

// y[j][0 ..] += e[j][i] * value[i] for `count` keys from `slot` on, D Lanes abreast, or the first `rest` elements of one.
template <int Q, int D, bool kPart, class T>
[[gnu::always_inline]] inline void mix(const T* values, int64_t stride, int64_t slot, int64_t capacity, int64_t count,
                                       float* const* e, int64_t at, float* const* y, int64_t d, int rest, Fetch& ahead) {
  Lanes sum[Q][D];
  for (int j = 0; j < Q; ++j)
    for (int w = 0; w < D; ++w) sum[j][w] = kPart ? load(y[j] + d, rest) : load(y[j] + d + w * kLanes);
  while (count > 0) {
    const int64_t run = least(count, capacity - slot);
    const T* v = values + slot * stride + d;
    for (int64_t i = 0; i < run; ++i, v += stride, ++at) {
      ahead.step(D * kLanes * static_cast<int>(sizeof(T)));
      Lanes x[D];
      for (int w = 0; w < D; ++w) x[w] = kPart ? load(v, rest) : load(v + w * kLanes);
      for (int j = 0; j < Q; ++j) {
        const Lanes p = fill(e[j][at]);
        for (int w = 0; w < D; ++w) sum[j][w] = fma(p, x[w], sum[j][w]);
      }
    }
    count -= run;
    slot = 0;
  }
  for (int j = 0; j < Q; ++j)
    for (int w = 0; w < D; ++w) {
      if constexpr (kPart) store(y[j] + d, sum[j][w], rest);
      else store(y[j] + d + w * kLanes, sum[j][w]);
    }
}

// The columns first_column .. last_column - 1 of queries j .. j + Q - 1, with the keys at positions first .. last - 1.
template <int Q, class T>
[[gnu::always_inline]] inline void mix_columns(const Task& task, const Block& b, int j, int64_t first, int64_t last,
                                               int64_t first_column, int64_t last_column, Fetch& ahead) {
  if (first >= last) return;
  const KeyValues& c = task.cache;
  const T* values = static_cast<const T*>(c.values) + b.column;
  const int64_t slot = first % c.capacity, count = last - first, at = first - b.base;
  int64_t d = first_column;
  for (; d + kWide * kLanes <= last_column; d += kWide * kLanes)
    mix<Q, kWide, false>(values, c.value_width_stride, slot, c.capacity, count, b.e + j, at, b.y + j, d, 0, ahead);
  for (; d + kLanes <= last_column; d += kLanes)
    mix<Q, 1, false>(values, c.value_width_stride, slot, c.capacity, count, b.e + j, at, b.y + j, d, 0, ahead);
  if (d < last_column)
    mix<Q, 1, true>(values, c.value_width_stride, slot, c.capacity, count, b.e + j, at, b.y + j, d,
                    static_cast<int>(last_column - d), ahead);
}

// Queries that see the same keys of a tile but for a few at its edges: the edges are taken one query at a time.
template <int Q, class T>
[[gnu::always_inline]] inline void mix_queries(const Task& task, const Block& b, int j, int64_t start, int64_t first_column,
                                               int64_t last_column, Fetch& ahead) {
  int64_t first = start, last = start + kTile;
  for (int i = j; i < j + Q; ++i) {
    first = most(first, b.seen[i].first);
    last = least(last, b.seen[i].last);
  }
  if (first >= last) first = last = start + kTile;
  for (int i = j; i < j + Q; ++i)
    mix_columns<1, T>(task, b, i, most(start, b.seen[i].first), least(first, b.seen[i].last), first_column, last_column, ahead);
  mix_columns<Q, T>(task, b, j, first, last, first_column, last_column, ahead);
  for (int i = j; i < j + Q; ++i)
    mix_columns<1, T>(task, b, i, most(last, b.seen[i].first), least(start + kTile, b.seen[i].last), first_column, last_column, ahead);
}

// The columns of y: the mix of the values divided by the sum.
template <class T>
[[gnu::always_inline]] inline void mix_values(const Task& task, const Block& b, int64_t first_column, int64_t last_column) {
  const KeyValues& c = task.cache;
  for (int64_t tile = 0; tile < tiles(b); ++tile) {
    const int64_t start = b.base + tile * kTile;
    const T* const next = static_cast<const T*>(c.values) + b.column + start % c.capacity * c.value_width_stride + first_column;
    Fetch ahead(next, kTile, c.value_width_stride, last_column - first_column, passes(b));
    for (int64_t d = first_column; d < last_column; d += kWide * kLanes)
      for_queries(b, [&](int j, auto count) __attribute__((always_inline)) {
        mix_queries<decltype(count)::value, T>(task, b, j, start, d, least(d + kWide * kLanes, last_column), ahead);
      });
  }
  for (int j = 0; j < b.queries; ++j)
    for (int64_t d = first_column; d < last_column; ++d) b.y[j][d] /= b.sum[j];
}

template <class T>
[[gnu::always_inline]] inline void attend(const Task& task, int kv_heads) {
  // Heads of a group in parts of at most a block, and as many rows as fill it.
  const int parts = (task.group + kBlock - 1) / kBlock, heads = (task.group + parts - 1) / parts;
  const int rows = kBlock / heads;
  const int64_t row_blocks = (task.q.rows + rows - 1) / rows, blocks = row_blocks * kv_heads * parts;
  const int64_t present = most(0, task.cache.last - task.cache.first);
  const int64_t keys = task.window > 0 ? least(present, task.window + rows) : present;
  const int64_t length = (keys + kTile - 1) / kTile * kTile + 2 * kTile;  // base may lie almost a tile before the first key
  const int64_t work = keys * heads * rows * task.head_dim;               // multiply-adds of a block
  constexpr int64_t kWorth = 1 << 17;                                     // and those worth a thread

  const auto set = [&](int64_t item, float* e, Block& b) {
    const int64_t across = int64_t{kv_heads} * parts;
    const int kv = static_cast<int>(item % across / parts), head = static_cast<int>(item % parts) * heads;
    // Later rows see more keys: from both ends in turn, so that every part of the list has its share of them.
    const int64_t i = item / across, row_block = i % 2 ? row_blocks - 1 - i / 2 : i / 2;
    const int64_t row = row_block * rows;
    set_block(task, row, static_cast<int>(least(rows, task.q.rows - row)), kv, head,
              static_cast<int>(least(heads, task.group - head)), e, length, b);
  };

  const int team = threads();
  const int64_t rounds = (blocks + team - 1) / team;
  if (team == 1 || rounds * team * 4 <= blocks * 5) {
    float* const all = scratch(least(team, blocks) * kBlock * length);
    int taken = 0;
    share(blocks, 1 + kWorth / (work + 1), [&](int64_t first, int64_t last) {
      float* const e = all + __atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED) * kBlock * length;
      Block b;
      for (int64_t item = first; item < last; ++item) {
        set(item, e, b);
        for (int64_t tile = 0; tile < tiles(b); ++tile) score_keys<T>(task, b, tile);
        for (int j = 0; j < b.queries; ++j) exponentials(b, j);
        mix_values<T>(task, b, 0, task.head_dim);
      }
    });
    return;
  }
  float* const e = scratch(kBlock * length);
  Block b;
  for (int64_t item = 0; item < blocks; ++item) {
    set(item, e, b);
    const int64_t tile_work = int64_t{kTile} * b.queries * task.head_dim;
    share(tiles(b), 1 + kWorth / (tile_work + 1), [&](int64_t first, int64_t last) {
      for (int64_t tile = first; tile < last; ++tile) score_keys<T>(task, b, tile);
    });
    share(b.queries, 1 + 16384 / (b.all.last - b.all.first + 1), [&](int64_t first, int64_t last) {
      for (int64_t j = first; j < last; ++j) exponentials(b, static_cast<int>(j));
    });
    constexpr int64_t kColumns = kWide * kLanes;
    const int64_t column_work = (b.all.last - b.all.first) * b.queries * kColumns;
    share((task.head_dim + kColumns - 1) / kColumns, 1 + kWorth / (column_work + 1), [&](int64_t first, int64_t last) {
      mix_values<T>(task, b, first * kColumns, least(last * kColumns, task.head_dim));
    });
  }
}

[[gnu::always_inline]] inline void attention_lanes(Matrix<const float> q, int64_t first_position, const KeyValues& cache,
                                                   int heads, int kv_heads, int head_dim, float scale, int64_t window,
                                                   Matrix<float> y) {
  const Task task{q, first_position, cache, heads / kv_heads, head_dim, scale, window, y};
  if (cache.half) attend<uint16_t>(task, kv_heads);
  else attend<float>(task, kv_heads);
}

[[gnu::always_inline]] inline void cache_write_lanes(Matrix<const float> rows, int64_t first_position, void* ring,
                                                     int64_t capacity, int64_t width_stride, bool half) {
  const int64_t skipped = rows.rows > capacity ? rows.rows - capacity : 0, full = rows.cols / kLanes * kLanes;
  const int rest = static_cast<int>(rows.cols - full);
  const int64_t grain = (int64_t{1} << 15) / (rows.cols + 1) + 1;
  share(rows.rows - skipped, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = skipped + begin; t < skipped + end; ++t) {
      const int64_t at = (first_position + t) % capacity * width_stride;
      const float* in = rows.row(t);
      const auto write = [&](auto* out) __attribute__((always_inline)) {
        for (int64_t i = 0; i < full; i += kLanes) store(out + i, load(in + i));
        if (rest) store(out + full, load(in + full, rest), rest);
      };
      half ? write(static_cast<uint16_t*>(ring) + at) : write(static_cast<float*>(ring) + at);
    }
  });
}

}  // namespace
}  // namespace gemloupe
