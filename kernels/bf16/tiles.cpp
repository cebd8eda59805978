#include "kernels/bf16/tiles.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "kernels/common/scratch.h"
#include "kernels/common/team.h"

namespace gemloupe::tiles {
namespace {

// Blocks of a panel: two strips of them, and the activations that pass by, share the first cache. Whole units.
constexpr int64_t kPanelBlocks = 16;
// Activation rows that are worked on together, and bytes of unfinished sums of a group of strips: with a panel's columns of
// the rows they fill the second cache.
constexpr int64_t kChunkRows = 512, kSumBytes = 512 << 10;
// Multiply-adds that are worth another thread; tasks a thread, so that none waits long for another at the end.
constexpr int64_t kWork = 1 << 20, kTasksPerThread = 4;
constexpr int64_t kExpandTiles = 3;  // to expand a block of a strip takes about as long as so many products with it

int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to; }

// Strips [begin, end) of a job.
struct Task {
  int64_t job, begin, end;
};

class Multiplication {
 public:
  Multiplication(const Steps& steps, const Batch& batch, const TileWeight& w, int64_t first, const Job* jobs, int64_t count)
      : steps_(steps), batch_(batch), w_(w), first_row_(first), jobs_(jobs, jobs + count) {}
  void run();

 private:
  const Steps& steps_;
  const Batch batch_;
  const TileWeight w_;
  const int64_t first_row_;
  const std::vector<Job> jobs_;

  const int64_t blocks_ = up(w_.cols, kTileBlock), strips_ = up(batch_.y.cols, kTile);
  const bool called_ = !w_.strips && !w_.half;
  const int64_t panel_blocks_ = called_ ? blocks_ : std::min(blocks_, kPanelBlocks);

  std::vector<Task> tasks_;
  std::vector<const float*> from_;
  std::vector<float*> to_;
  std::vector<uint8_t*> packed_;  // of each job; null: the thread that takes it packs it

  int64_t x_stride() const { return blocks_ * steps_.x_tile; }
  void plan(int64_t threads);
  void pack(const Job& job, int64_t tile, uint8_t* to) const;
  void expand(int64_t part, int64_t strip, int64_t block, int64_t blocks, uint16_t* panel, float* rows) const;
  struct Own;
  void multiply(const Task& task, const Own& own) const;
};

// A thread's memory.
struct Multiplication::Own {
  uint8_t* x;
  uint16_t* panel;
  float *sums, *rows;
};

void Multiplication::plan(int64_t threads) {
  int64_t work = 0;
  const auto cost = [&](const Job& job) { return strips_ * (up(job.rows, kTile) + kExpandTiles); };
  for (const Job& job : jobs_) work += cost(job);
  const int64_t most = std::max<int64_t>(1, work / (threads * kTasksPerThread));
  const int64_t pairs = up(strips_, 2);
  for (size_t j = 0; j < jobs_.size(); ++j) {
    const int64_t pieces = threads == 1 ? 1 : std::min(pairs, up(cost(jobs_[j]), most));
    for (int64_t i = 0; i < pieces; ++i)
      tasks_.push_back({static_cast<int64_t>(j), pairs * i / pieces * 2, std::min(strips_, pairs * (i + 1) / pieces * 2)});
  }
  std::stable_sort(tasks_.begin(), tasks_.end(), [&](const Task& a, const Task& b) {
    return (a.end - a.begin) * jobs_[a.job].rows > (b.end - b.begin) * jobs_[b.job].rows;
  });
}

void Multiplication::pack(const Job& job, int64_t tile, uint8_t* to) const {
  const int64_t first = tile * kTile;
  steps_.pack(&from_[job.first + first], static_cast<int>(std::min<int64_t>(kTile, job.rows - first)), w_.cols, to);
}

void Multiplication::expand(int64_t part, int64_t strip, int64_t block, int64_t blocks, uint16_t* panel, float* rows) const {
  const int64_t column = block * kTileBlock, cols = std::min(w_.cols - column, blocks * kTileBlock);
  if (w_.strips) {
    const StripLayout& layout = w_.strips->layout;
    steps_.strip(layout, w_.strips->strip(part, first_row_ / kTile + strip) + column / layout.unit * layout.unit_bytes, blocks, panel);
    if (const int64_t used = cols % kTileBlock) {  // columns past the end are zeros
      uint16_t* last = panel + (blocks - 1) * kLines;
      if (used % 2)
        for (int r = 0; r < kTile; ++r) last[used / 2 * kTileBlock + 2 * r + 1] = 0;
      std::fill(last + up(used, 2) * kTileBlock, last + kLines, uint16_t{0});
    }
    return;
  }
  const int64_t row = first_row_ + strip * kTile, first = part * w_.rows + row;
  const auto count = static_cast<int>(std::min<int64_t>(kTile, w_.rows - row));
  if (w_.half) {
    const uint16_t* at = w_.half + first * w_.stride + column;
    (w_.is_bf16 ? steps_.bf16 : steps_.half)(at, w_.stride, count, cols, panel);
  } else {
    w_.unpack(w_.context, first, count, rows);
    steps_.single(rows, w_.cols, count, cols, panel);
  }
}

void Multiplication::multiply(const Task& task, const Own& own) const {
  const Job& job = jobs_[task.job];
  const uint8_t* x = packed_[task.job];
  if (!x) {
    for (int64_t t = 0; t < up(job.rows, kTile); ++t) pack(job, t, own.x + t * x_stride());
    x = own.x;
  }
  // Plain and packed weights are expanded once for every chunk of rows, others once.
  const int64_t chunk = called_ ? job.rows : up(up(job.rows, up(job.rows, kChunkRows)), kTile) * kTile;
  const bool whole = panel_blocks_ == blocks_;
  const int64_t group = whole ? 2 : std::max<int64_t>(2, kSumBytes / (up(chunk, kTile) * kSums * 4) / 2 * 2);
  Product p;
  p.x_stride = x_stride(), p.panel = own.panel;
  for (int64_t row = 0; row < job.rows; row += chunk)
    for (int64_t begin = task.begin; begin < task.end; begin += group)
      for (int64_t block = 0; block < blocks_; block += panel_blocks_)
        for (int64_t s = begin; s < std::min(task.end, begin + group); s += 2) {
          p.strips = static_cast<int>(std::min<int64_t>(2, task.end - s)), p.blocks = std::min(panel_blocks_, blocks_ - block);
          p.panel_stride = p.blocks * kLines;
          for (int i = 0; i < p.strips; ++i)
            expand(job.part, s + i, block, p.blocks, own.panel + i * p.panel_stride, own.rows);
          p.x = x + row / kTile * x_stride() + block * steps_.x_tile;
          p.rows = std::min(chunk, job.rows - row);
          p.first = block == 0, p.last = block + p.blocks == blocks_;
          p.sums = own.sums + (s - begin) * up(p.rows, kTile) * kSums;
          p.y = &to_[job.first + row];
          p.y_first = s * kTile, p.y_cols = std::min<int64_t>(p.strips * kTile, batch_.y.cols - p.y_first);
          steps_.multiply(p);
        }
}

void Multiplication::run() {
  int64_t rows = 0, most_rows = 0, own_rows = 0, work = 0;
  for (const Job& job : jobs_) {
    rows = std::max(rows, job.first + job.rows), most_rows = std::max(most_rows, job.rows);
    work += (job.rows + kTile) * batch_.y.cols * w_.cols;
  }
  plan(std::min<int64_t>(threads(), std::max<int64_t>(1, work / kWork)));
  const int64_t parts = std::min<int64_t>(threads(), static_cast<int64_t>(tasks_.size()));

  std::vector<int64_t> pieces(jobs_.size());
  for (const Task& task : tasks_) ++pieces[task.job];
  int64_t ahead = 0;  // bytes of the jobs that several threads share
  for (size_t j = 0; j < jobs_.size(); ++j) {
    if (pieces[j] > 1) ahead += up(jobs_[j].rows, kTile) * x_stride();
    else own_rows = std::max(own_rows, jobs_[j].rows);
  }
  const int64_t own_x = up(own_rows, kTile) * x_stride(), own_panel = 2 * panel_blocks_ * kLines * 2;
  const int64_t own_sums = std::max(kSumBytes, 2 * up(most_rows, kTile) * kSums * 4);
  const int64_t own_floats = called_ ? up(kTile * w_.cols * 4, 64) * 64 : 0;
  const int64_t own_bytes = own_x + own_panel + own_sums + own_floats;
  auto* memory = reinterpret_cast<uint8_t*>(scratch((ahead + parts * own_bytes) / 4));

  from_.resize(rows), to_.resize(rows), packed_.resize(jobs_.size());
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t t = batch_.order ? batch_.order[i] : i;
    from_[i] = batch_.x.row(t), to_[i] = batch_.y.row(t);
  }
  uint8_t* next_packed = memory + parts * own_bytes;
  for (size_t j = 0; j < jobs_.size(); ++j)
    if (pieces[j] > 1) {
      uint8_t* to = packed_[j] = next_packed;
      const int64_t tiles = up(jobs_[j].rows, kTile);
      share(tiles, 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) pack(jobs_[j], t, to + t * x_stride());
      });
      next_packed += tiles * x_stride();
    }

  std::atomic<size_t> next{0};
  share(parts, 1, [&](int64_t part, int64_t) {
    uint8_t* mine = memory + part * own_bytes;
    const Own own{mine, reinterpret_cast<uint16_t*>(mine + own_x), reinterpret_cast<float*>(mine + own_x + own_panel),
                  reinterpret_cast<float*>(mine + own_x + own_panel + own_sums)};
    steps_.begin();
    for (size_t task; (task = next.fetch_add(1)) < tasks_.size();) multiply(tasks_[task], own);
    steps_.end();
  });
}

}  // namespace

void multiply(const Steps& steps, const Batch& batch, const TileWeight& w, int64_t first, const Job* jobs, int64_t count) {
  if (w.cols == 0)
    for (int64_t t = 0; t < batch.y.rows; ++t) std::fill(batch.y.row(t), batch.y.row(t) + batch.y.cols, 0.0f);
  else
    Multiplication(steps, batch, w, first, jobs, count).run();
}

}  // namespace gemloupe::tiles
