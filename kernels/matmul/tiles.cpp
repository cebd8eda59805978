#include "kernels/matmul/tiles.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "kernels/common/scratch.h"
#include "kernels/common/team.h"

namespace gemloupe::matmul {
namespace {

// Columns in a tile at most: 16 rows of codes and the activations of 8 rows, 32 KiB each, stay in the second cache and
// near the first. 1024 and 4096 are within a few percent.
constexpr int64_t kChunk = 2048;
// Bytes of packed weights a task streams through, and multiply-adds that are worth another thread.
constexpr int64_t kTaskBytes = 64 << 10, kWork = 1 << 19;

Known known(const PackedRows& w) {
  static const char* const kNames[kKnown] = {"", "Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q6_K"};
  static const auto decoders = [] {
    std::array<const Kernel<DecodeCodes>*, kKnown> found{};
    for (int k = 1; k < kKnown; ++k)
      if (const PackedType* type = packed_type(kNames[k])) found[k] = type->decode;
    return found;
  }();
  if (w.cols % w.layout.block) return Known::none;
  for (int k = 1; k < kKnown; ++k)
    if (w.decode == decoders[k]) return static_cast<Known>(k);
  return Known::none;
}

// The scratch of one thread.
struct Tile {
  uint8_t *staged, *codes;
  float *scale_rows, *min_rows, *scale, *min;
  int64_t chunk, groups;  // the most it can take

  static Tile sizes(const PackedRows& w) {
    Tile tile{};
    tile.chunk = std::max<int64_t>(w.layout.block, up(std::min(kChunk, w.cols), w.layout.block));
    tile.groups = up(tile.chunk / w.layout.group, 16);
    return tile;
  }
  int64_t stride() const { return up(chunk, 64) + 64; }  // 64: rows must not meet in the same cache sets
  int64_t bytes(int lanes) const {
    return 2 * Pieces::bytes<uint8_t>(lanes * stride()) + 4 * Pieces::bytes<float>(lanes * groups);
  }
  void place(Pieces pieces, int lanes) {
    staged = pieces.take<uint8_t>(lanes * stride()), codes = pieces.take<uint8_t>(lanes * stride());
    scale_rows = pieces.take<float>(lanes * groups), min_rows = pieces.take<float>(lanes * groups);
    scale = pieces.take<float>(lanes * groups), min = pieces.take<float>(lanes * groups);
  }
};

// Decodes columns [begin, begin + cols), whole blocks, of `used` rows and interleaves them. Unused lanes repeat the last row.
void fill(const Steps& steps, const Tile& tile, const PackedRows& w, int64_t row, int used, int64_t begin, int64_t cols) {
  const CodesLayout& layout = w.layout;
  const int64_t at = begin / layout.block * layout.block_bytes, ahead = cols / layout.block * layout.block_bytes;
  for (int l = 0; l < steps.lanes; ++l) {
    const uint8_t* blocks = w.data + (row + std::min(l, used - 1)) * w.row_bytes + at;
    // The next tile follows in memory. Over all rows and chunks of this one, all of it is asked for, into the second cache.
    const uint8_t* next = w.data + (row + steps.lanes) * w.row_bytes + steps.lanes * at + l * ahead;
    for (int64_t b = 0; b < ahead; b += 64) __builtin_prefetch(next + b, 0, 2);
    (*w.decode)(w.context, blocks, cols, tile.staged + l * tile.stride(), tile.scale_rows + l * tile.groups,
                layout.has_min ? tile.min_rows + l * tile.groups : nullptr);
  }
  const int64_t groups = cols / layout.group;
  steps.interleave(tile.staged, tile.stride(), up(cols, 64), tile.codes);
  steps.turn(tile.scale_rows, tile.groups, up(groups, 16), tile.scale);
  if (layout.has_min) steps.turn(tile.min_rows, tile.groups, up(groups, 16), tile.min);
}

}  // namespace

void multiply(const Steps& steps, const Batch& batch, const Job* jobs, int64_t count) {
  if (count == 0 || batch.rows == 0) return;
  const PackedRows& any = jobs[0].w;
  const int group = any.layout.group;
  const int64_t padded = up(up(std::max<int64_t>(any.cols, 1), any.layout.block), 64);
  const int64_t runs_a_group = (group + kRun - 1) / kRun;
  Quantized q(any.cols, padded, group);

  // Tasks are runs of tiles; task_end[j] counts those of jobs 0..j.
  int64_t work = 0, tasks = 0;
  const int64_t task_rows = std::max<int64_t>(1, kTaskBytes / std::max<int64_t>(1, steps.lanes * any.row_bytes)) * steps.lanes;
  for (int64_t j = 0; j < count; ++j) {
    work += jobs[j].w.rows * any.cols * (jobs[j].rows + 2);
    tasks += (jobs[j].w.rows + task_rows - 1) / task_rows;
  }
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>({threads(), tasks, work / kWork}));

  const Direct direct = steps.direct ? steps.direct[static_cast<int>(known(any))] : Direct{nullptr, nullptr};
  Tile tile = Tile::sizes(any);
  const int64_t tile_bytes = tile.bytes(steps.lanes);
  const int64_t bytes = q.bytes(batch.rows) + Pieces::bytes<int64_t>(count) + parts * tile_bytes;
  Pieces pieces(scratch(bytes / static_cast<int64_t>(sizeof(float))));
  q.place(pieces, batch.rows);
  int64_t* task_end = pieces.take<int64_t>(count);
  uint8_t* tiles = pieces.take<uint8_t>(parts * tile_bytes);

  for (int64_t j = 0, end = 0; j < count; ++j) task_end[j] = end += (jobs[j].w.rows + task_rows - 1) / task_rows;

  q.fill(steps.quantize, batch, any.layout.offset, parts > 1);

  std::atomic<int64_t> next{0};
  share(parts, 1, [&](int64_t part, int64_t) {
    Tile own = tile;
    own.place(Pieces(tiles + part * tile_bytes), steps.lanes);
    for (int64_t task; (task = next.fetch_add(1)) < tasks;) {
      const int64_t j = std::upper_bound(task_end, task_end + count, task) - task_end;
      const Job& job = jobs[j];
      const int64_t begin = (task - (j ? task_end[j - 1] : 0)) * task_rows, end = std::min(job.w.rows, begin + task_rows);
      Product product;
      product.codes = own.codes, product.scale = own.scale, product.min = own.min;
      product.group = group, product.has_min = any.layout.has_min;
      product.rows = job.rows, product.plane_stride = q.plane_stride(), product.run_stride = q.runs;
      product.row_scale = q.row_scale + job.first, product.y = q.y + job.first;
      for (int64_t r = begin; r < end; r += steps.lanes) {
        product.used = static_cast<int>(std::min<int64_t>(steps.lanes, end - r)), product.y_first = r;
        const bool straight = product.used == steps.lanes && any.cols > 0;
        const uint8_t *rows = job.w.data + r * job.w.row_bytes, *next = rows + steps.lanes * job.w.row_bytes;
        if (direct.dot && straight && job.rows == 1) {
          product.planes = q.planes + job.first * q.plane_stride();
          product.correction = q.correction + job.first * q.runs, product.sums = q.sums + job.first * q.runs;
          direct.dot(rows, job.w.row_bytes, any.cols / any.layout.block, product);
          continue;
        }
        for (int64_t c = 0; c == 0 || c < any.cols; c += own.chunk) {
          const int64_t cols = std::min(own.chunk, any.cols - c), at = c / any.layout.block * any.layout.block_bytes;
          if (direct.fill && straight)
            direct.fill(rows + at, job.w.row_bytes, cols / any.layout.block, next + steps.lanes * at, own.codes,
                        own.scale, own.min);
          else if (cols > 0)
            fill(steps, own, job.w, r, product.used, c, up(cols, any.layout.block));
          product.cols = cols;
          product.first = c == 0, product.last = c + cols >= any.cols;
          product.planes = q.planes + job.first * q.plane_stride() + 2 * c;
          product.correction = q.correction + job.first * q.runs + c / group * runs_a_group;
          product.sums = q.sums + job.first * q.runs + c / group * runs_a_group;
          steps.multiply(product);
        }
      }
    }
  });
}

}  // namespace gemloupe::matmul
