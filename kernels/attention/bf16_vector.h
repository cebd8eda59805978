// The loops of attention_bf16; a variant includes it after its Words and its product().
//
// The queries of a key-value head (its rows times the heads that share it) are the rows of two matrix products: scores = queries
// times keys, and y += weights times values. A stretch of keys and values is first turned into tiles for all queries. Then a
// panel of queries, as many as fit the second-level cache with a block of keys and values, goes through the blocks of the stretch,
// 32 queries at a time. Threads share the tiles to make, then the panels.
#pragma once

#include "kernels/attention/bf16_tiles.h"
#include "kernels/common/scratch.h"
#include "kernels/common/team.h"

namespace gemloupe {
namespace {

constexpr int kRowsAbreast = 32;  // queries that meet a block of keys together

// A thread's work space. Matrices are tiles of 16 rows: of 32 cells or of 16 floats.
struct Panel {
  float* y;        // [panel, width], not yet divided by the sum
  float* scores;   // [32, 256]
  Cell* q;         // [panel, width]
  Cell* weights;   // [32, 256]
  Visible* seen;
  float *largest, *sum;
  bool* begun;                 // of 32 queries each: whether their y holds anything yet
  int64_t y_stride, q_stride;  // to the next 16 rows
  bool tiny;                   // a query has elements below kTinyQuery
  Ahead ahead;

  static int64_t floats(int panel, int width) {
    return panel * width * 2 + kRowsAbreast * kKeyBlock * 2 + panel * 2 + panel * static_cast<int64_t>(sizeof(Visible) / 4) +
           panel / kRowsAbreast;
  }
  Panel(float* memory, int panel, int width) : y(memory), y_stride(16 * width), q_stride(16 * width) {
    scores = y + panel * width;
    q = reinterpret_cast<Cell*>(scores + kRowsAbreast * kKeyBlock);
    weights = reinterpret_cast<Cell*>(scores + kRowsAbreast * kKeyBlock + panel * width);
    seen = reinterpret_cast<Visible*>(scores + 2 * kRowsAbreast * kKeyBlock + panel * width);
    largest = reinterpret_cast<float*>(seen + panel);
    sum = largest + panel;
    begun = reinterpret_cast<bool*>(sum + panel);
  }
  // Where the tiles of a row begin: the next 16 floats, or 32 cells, of the row are kFloatTile or kCellTile further.
  float* y_row(int64_t j) const { return y + j / 16 * y_stride + j % 16 * 16; }
  Cell* q_row(int64_t j) const { return q + j / 16 * q_stride + j % 16 * 32; }
  float* scores_row(int64_t j) const { return scores + j / 16 % 2 * 16 * kKeyBlock + j % 16 * 16; }
  Cell* weights_row(int64_t j) const { return weights + j / 16 % 2 * 16 * kKeyBlock + j % 16 * 32; }
};
constexpr int kFloatTile = 256, kCellTile = 512;

[[gnu::always_inline]] inline int64_t column_of(const Task& task, int64_t kv, int64_t query) {
  return (kv * task.group + query % task.group) * task.head_dim;
}

[[gnu::always_inline]] inline Lanes load_some(const float* p, int n) { return n >= kLanes ? load(p) : load(p, n > 0 ? n : 0); }
[[gnu::always_inline]] inline void store_some(float* p, Lanes x, int n) {
  if (n >= kLanes) store(p, x);
  else if (n > 0) store(p, x, n);
}

inline void clear(const Task& task, const Panel& panel, int64_t j) {
  for (int d = 0; d < task.width; d += kLanes) store(panel.y_row(j) + d / 16 * kFloatTile, fill(0.0f));
}

// Queries first .. first + n - 1 of a key-value head as they were before this stretch.
inline void open_panel(const Task& task, Panel& panel, int64_t kv, int64_t first, int n, bool begin) {
  panel.tiny = false;
  const int64_t whole = up(n, 16);
  for (int64_t j = 0; j < whole; ++j) {
    const int64_t row = (first + j) / task.group;
    const float* const q = j < n ? task.q.row(row) + column_of(task, kv, first + j) : nullptr;
    for (int d = 0; d < task.width; d += kTileBlock) {
      const Stretch x = load_stretch(q, d, task.head_dim);
      store_rounded(panel.q_row(j) + d / 32 * kCellTile, x.a, x.b);
      if (!kFlushes) panel.tiny |= any_below(x, kTinyQuery);
    }
    panel.begun[j / kRowsAbreast] = !begin;
    if (!begin && j >= n) {
      clear(task, panel, j);
    } else if (!begin) {
      const float* const y = task.y.row(row) + column_of(task, kv, first + j);
      for (int d = 0; d < task.width; d += kLanes) store(panel.y_row(j) + d / 16 * kFloatTile, load_some(y + d, task.head_dim - d));
    }
    if (j >= n) {
      panel.seen[j] = {0, 0};
      panel.largest[j] = panel.sum[j] = 0.0f;
      continue;
    }
    panel.seen[j] = visible(task.first_position + row, task.window, task.cache.first, task.cache.last);
    panel.largest[j] = begin ? -__builtin_inff() : task.largest[kv * task.queries + first + j];
    panel.sum[j] = begin ? 0.0f : task.sum[kv * task.queries + first + j];
  }
}

inline void close_panel(const Task& task, const Panel& panel, int64_t kv, int64_t first, int n, bool end) {
  for (int j = 0; j < n; ++j) {
    float* const out = task.y.row((first + j) / task.group) + column_of(task, kv, first + j);
    if (!panel.begun[j / kRowsAbreast]) clear(task, panel, j);
    const bool none = panel.seen[j].first >= panel.seen[j].last;
    const Lanes share = fill(none ? 0.0f : 1.0f / panel.sum[j]);
    task.largest[kv * task.queries + first + j] = panel.largest[j];
    task.sum[kv * task.queries + first + j] = panel.sum[j];
    for (int d = 0; d < task.head_dim; d += kLanes) {
      Lanes y = load(panel.y_row(j) + d / 16 * kFloatTile);
      if (end) y = none ? fill(0.0f) : y * share + fill(0.0f);
      store_some(out + d, y, task.head_dim - d);
    }
  }
}

// Lane j of what comes out is lane 0 of x[j] combined with all its other lanes, in the order of sum.h.
template <class Combine>
[[gnu::always_inline]] inline Lanes fold_rows(const float (&x)[16][kLanes], Combine combine) {
  Words w[16];
  for (int j = 0; j < 16; ++j) w[j] = words(load(x[j]));
  transpose(w);
  Lanes s[16];
  for (int l = 0; l < 16; ++l) s[l] = lanes(w[l]);
  for (int half = 8; half; half /= 2)
    for (int l = 0; l < half; ++l) s[l] = combine(s[l], s[l + half]);
  return s[0];
}

// Of 16 scores only those from first to last - 1 stay.
[[gnu::always_inline]] inline void hide(float* s, int64_t first, int64_t last) {
  const unsigned before = (1u << most(0, least(first, kLanes))) - 1, seen = (1u << most(0, least(last, kLanes))) - 1;
  store(s, choose(seen & ~before, load(s), fill(-__builtin_inff())));
}

// The scores of queries j .. j + 15 with the keys at `start` + first .. last - 1, multiples of 32, become weights.
inline void weigh(const Task& task, const Panel& panel, int j, int64_t start, int64_t first, int64_t last) {
  float* const scores = panel.scores_row(j);
  Cell* const weights = panel.weights_row(j);
  alignas(64) float x[16][kLanes], now[kLanes], factor[kLanes];
  bool sees[16];
  for (int i = 0; i < 16; ++i) {
    float* const s = scores + i * kLanes;
    const int64_t begin = most(panel.seen[j + i].first - start, first), end = least(panel.seen[j + i].last - start, last);
    sees[i] = begin < end;
    Lanes top[2] = {fill(panel.largest[j + i]), fill(panel.largest[j + i])};
    if (sees[i]) {
      if (task.scale != 1.0f)
        for (int64_t k = first; k < last; k += kLanes) store(s + k * kLanes, load(s + k * kLanes) * fill(task.scale));
      for (int64_t k = first; k < begin; k += kLanes) hide(s + k * kLanes, begin - k, end - k);
      for (int64_t k = end / kLanes * kLanes; k < last; k += kLanes) hide(s + k * kLanes, begin - k, end - k);
      for (int64_t k = first; k < last; k += kTileBlock)
        for (int h = 0; h < 2; ++h) top[h] = larger(load(s + (k + h * kLanes) * kLanes), top[h]);
    }
    store(x[i], larger(top[0], top[1]));
  }
  const Lanes m = fold_rows(x, [](Lanes a, Lanes b) __attribute__((always_inline)) { return larger(a, b); });
  const Lanes before = load(panel.largest + j);
  const Lanes f = choose(equal(before, m), fill(1.0f), exp_(before - m));
  store(now, m);
  store(factor, f);
  for (int i = 0; i < 16; ++i) {
    Lanes sum = fill(0.0f);
    if (sees[i]) {
      const Lanes mine = fill(now[i]);
      for (int64_t k = first; k < last; k += kTileBlock)
        store_weights(weights + i * 32 + k / 32 * kCellTile, scores + (k + i) * kLanes, mine, sum);
    } else {
      for (int64_t k = first; k < last; k += kTileBlock) store_rounded(weights + i * 32 + k / 32 * kCellTile, fill(0.0f), fill(0.0f));
    }
    store(x[i], sum);
  }
  store(panel.sum + j, fma(load(panel.sum + j), f, fold_rows(x, [](Lanes a, Lanes b) __attribute__((always_inline)) { return a + b; })));
  // Before the first block there is no y.
  for (unsigned rows = ~equal(f, fill(1.0f)) & ~equal(before, fill(-__builtin_inff())) & 0xffff; rows; rows &= rows - 1) {
    const int i = __builtin_ctz(rows);
    float* const y = panel.y_row(j + i);
    for (int d = 0; d < task.width; d += kLanes) store(y + d * kLanes, flushed(load(y + d * kLanes) * fill(factor[i])));
  }
  store(panel.largest + j, m);
}

// y of query j += weights times values of one group of 32 keys, without those that the query does not see.
inline void mix_carefully(const Task& task, const Panel& panel, int j, int64_t start, const uint32_t* values) {
  const Cell* const p = panel.weights_row(j) + start % kKeyBlock / 32 * kCellTile;
  for (int d = 0; d < task.width; d += kLanes, values += kGroups * kTileWords) {
    Lanes sum[2] = {fill(0.0f), fill(0.0f)};
    for (int i = 0; i < kTileBlock; ++i) {
      if (start + i < panel.seen[j].first || start + i >= panel.seen[j].last) continue;
      const Words w = load_words(values + i / 2 * kLanes);
      sum[i % 2] = flushed(fma(fill(widened(p[i])), i % 2 ? high(w) : low(w), sum[i % 2]));
    }
    float* const y = panel.y_row(j) + d * kLanes;
    store(y, flushed(load(y) + flushed(sum[0] + sum[1])));
  }
}

// Queries j .. j + n - 1, at most 32, with one block of keys.
[[gnu::always_inline]] inline void meet(const Task& task, Panel& panel, int j, int n, int64_t kv, int64_t block) {
  const int64_t start = task.start + block * kKeyBlock, columns = task.width / kTileBlock;
  int64_t first = kKeyBlock, last = 0;
  for (int i = j; i < j + n; ++i) {
    if (panel.seen[i].first >= panel.seen[i].last) continue;
    first = least(first, panel.seen[i].first - start);
    last = most(last, panel.seen[i].last - start);
  }
  first = most(first, 0) / kTileBlock * kTileBlock;
  last = least(up(last, kTileBlock), kKeyBlock);
  if (first >= last) return;

  const int64_t at = kv * task.blocks + block;
  const uint32_t* const keys = task.keys + at * 2 * kGroups * columns * kTileWords;
  const uint32_t* const values = task.values + at * 2 * kGroups * columns * kTileWords;
  const uint8_t* const odd = task.odd + at * kGroups;
  uint8_t any = 0;
  for (int64_t g = first / kTileBlock; g < last / kTileBlock; ++g) any |= odd[g];

  product(panel.q_row(j), panel.q_stride, n, keys + first / kLanes * columns * kTileWords, columns * kTileWords, last - first,
          static_cast<int>(columns), panel.scores + first * kLanes, 16 * kKeyBlock, false, panel.tiny || (any & kTinyKeys), panel.ahead);
  for (int i = j; i < j + n; i += 16) weigh(task, panel, i, start, first, last);
  for (int64_t g = first / kTileBlock; g < last / kTileBlock;) {
    int64_t end = g;
    while (end < last / kTileBlock && !(odd[end] & kWildValues)) ++end;
    bool& begun = panel.begun[j / kRowsAbreast];
    if (end == g && !begun)
      for (int i = j; i < up(j + n, 16); ++i) clear(task, panel, i);
    if (end > g)
      product(panel.weights + g * kCellTile, 16 * kKeyBlock, n, values + g * kTileWords, kGroups * kTileWords, task.width,
              static_cast<int>(end - g), panel.y_row(j), panel.y_stride, begun, any & kTinyValues, panel.ahead);
    begun = true;
    g = end;
    for (; g < last / kTileBlock && (odd[g] & kWildValues); ++g)
      for (int i = j; i < j + n; ++i) mix_carefully(task, panel, i, start + g * kTileBlock, values + g * kTileWords);
  }
}

// The work of a stretch: its tiles, then every panel of queries with every block.
template <class T>
[[gnu::always_inline]] inline void attend_stretch(const Task& task, float* panels, bool begin, bool end) {
  const int64_t groups = task.blocks * kGroups;
  constexpr int64_t kWorth = 1 << 16;  // elements to round, or 16 multiply-adds each, that are worth a thread
  share(task.kv_heads * groups, 1 + kWorth / (2 * kTileBlock * task.width), [&](int64_t a, int64_t b) {
    for (int64_t i = a; i < b; ++i) make_tiles<T>(task, i / groups, i % groups);
  });
  const int64_t count = (task.queries + task.panel - 1) / task.panel;
  const int64_t floats = up(Panel::floats(task.panel, task.width), 16);
  int taken = 0;
  const int64_t panel_work = task.panel * task.blocks * kKeyBlock * task.width / 16;
  share(task.kv_heads * count, 1 + kWorth / (panel_work + 1), [&](int64_t a, int64_t b) {
    [[maybe_unused]] const TileSetting setting;
    Panel panel(panels + __atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED) * floats, task.panel, task.width);
    for (int64_t item = a; item < b; ++item) {
      // Later rows see more keys: from both ends in turn, so that every part of the list has its share of them.
      const int64_t kv = item % task.kv_heads, i = item / task.kv_heads, first = (i % 2 ? count - 1 - i / 2 : i / 2) * task.panel;
      const int n = static_cast<int>(least(task.panel, task.queries - first));
      open_panel(task, panel, kv, first, n, begin);
      const int64_t block_words = kKeyBlock * task.width / 2, parts = (n + kRowsAbreast - 1) / kRowsAbreast;
      for (int64_t block = 0; block < task.blocks; ++block) {
        const int64_t next = (kv * task.blocks + least(block + 1, task.blocks - 1)) * block_words;
        panel.ahead = {task.keys + next, task.values + next, static_cast<int>(most(1, 32 / parts))};
        for (int j = 0; j < n; j += kRowsAbreast) meet(task, panel, j, static_cast<int>(least(kRowsAbreast, n - j)), kv, block);
      }
      close_panel(task, panel, kv, first, n, end);
    }
  });
}

[[gnu::always_inline]] inline void attention_words(Matrix<const float> q, int64_t first_position, const KeyValues& cache, int heads,
                                                   int kv_heads, int head_dim, float scale, int64_t window, Matrix<float> y) {
  if (q.rows <= 0) return;
  Task task{};
  task.q = q;
  task.first_position = first_position;
  task.cache = cache;
  task.kv_heads = kv_heads;
  task.group = heads / kv_heads;
  task.head_dim = head_dim;
  task.width = static_cast<int>(up(head_dim, kTileBlock));
  task.scale = scale;
  task.window = window;
  task.y = y;
  task.queries = q.rows * task.group;

  // Half of a second-level cache of 2 MiB for the queries and their y; but every thread should have a panel.
  const int64_t team = threads(), room = (int64_t{3} << 18) / (task.width * 6), each = (task.queries * kv_heads + team - 1) / team;
  task.panel = static_cast<int>(most(kRowsAbreast, least(room / kRowsAbreast * kRowsAbreast, up(each, kRowsAbreast))));

  // The keys that any row sees, in stretches of at most 32 MiB of tiles.
  const int64_t first = visible(first_position, window, cache.first, cache.last).first / kKeyBlock * kKeyBlock;
  const int64_t last = most(visible(first_position + q.rows - 1, window, cache.first, cache.last).last, first + 1);
  const int64_t total = (last - first + kKeyBlock - 1) / kKeyBlock, block_words = int64_t{kKeyBlock} * task.width / 2;
  const int64_t stretch = least(total, most(1, (int64_t{1} << 23) / (2 * block_words * kv_heads)));
  const int64_t panels = least(team, kv_heads * ((task.queries + task.panel - 1) / task.panel));
  const int64_t states = kv_heads * task.queries, floats = up(Panel::floats(task.panel, task.width), 16);
  float* memory = scratch(2 * stretch * kv_heads * block_words + panels * floats + 2 * states + stretch * kv_heads * kGroups / 4 + 16);
  task.keys = reinterpret_cast<uint32_t*>(memory);
  task.values = task.keys + stretch * kv_heads * block_words;
  float* const work = memory + 2 * stretch * kv_heads * block_words;
  task.largest = work + panels * floats;
  task.sum = task.largest + states;
  task.odd = reinterpret_cast<uint8_t*>(task.sum + states);

  for (int64_t block = 0; block < total; block += stretch) {
    task.start = first + block * kKeyBlock;
    task.blocks = least(stretch, total - block);
    if (cache.half) attend_stretch<uint16_t>(task, work, block == 0, block + stretch >= total);
    else attend_stretch<float>(task, work, block == 0, block + stretch >= total);
  }
}

}  // namespace
}  // namespace gemloupe
