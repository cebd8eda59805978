#include "kernels/bf16/tiles.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <vector>

#include "kernels/common/scratch.h"
#include "kernels/common/team.h"

namespace gemloupe::tiles {
namespace {

// Blocks of a panel, whole units. With few activation rows this panel and the next one are in the first cache; with many the
// sums, which each panel loads and stores, are worth longer ones.
constexpr int64_t kFewRows = 192, kFewBlocks = 8, kManyBlocks = 16;
// Activation rows that are worked on together. Bytes of packed ones that the second cache keeps: with few rows, a pair of strips is
// then finished before the next. Bytes of unfinished sums.
constexpr int64_t kChunkRows = 512, kPackedBytes = 1024 << 10, kSumBytes = 512 << 10;
constexpr int64_t kLargeBytes = 1 << 20;  // a y that the second cache would not keep for its reader
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
  const Expansion& expansion_ = w_.strips ? steps_.strip[w_.strips->layout.bits][w_.strips->layout.has_min]
                                : w_.half ? (w_.is_bf16 ? steps_.bf16 : steps_.half)
                                          : steps_.single;
  const bool direct_ = steps_.stores_rows && !batch_.order;
  std::vector<Task> tasks_;
  std::vector<const float*> from_;
  std::vector<float*> to_;
  std::vector<uint8_t*> packed_;  // of each job; null: the thread that takes it packs it

  int64_t x_stride() const { return blocks_ * steps_.x_tile; }
  void plan(int64_t threads);
  void pack(const Job& job, int64_t tile, uint8_t* to) const;
  int64_t panel_blocks(int64_t rows) const;
  int64_t chunk_rows(int64_t rows) const;
  int64_t group_pairs(int64_t rows) const;
  int64_t sum_bytes(int64_t rows) const;
  Source source(int64_t part, int64_t strip, float* rows) const;
  struct Own;
  class Walk;
};

// A thread's memory.
struct Multiplication::Own {
  uint8_t* x;
  uint16_t* panel[2];
  float *sums, *rows;
};

// For `rows` activation rows at a time:
int64_t Multiplication::panel_blocks(int64_t rows) const {
  const int64_t some = rows <= kFewRows ? kFewBlocks : kManyBlocks;
  return called_ || blocks_ * 2 <= some * 3 ? blocks_ : some;
}
// Rows from a callback are asked for once, others are expanded again for every chunk.
int64_t Multiplication::chunk_rows(int64_t rows) const { return called_ ? rows : up(up(rows, up(rows, kChunkRows)), kTile) * kTile; }
// Pairs of strips whose sums wait while the activations' blocks pass; 1: the sums of a pair are finished first.
int64_t Multiplication::group_pairs(int64_t rows) const {
  const int64_t tiles = up(rows, kTile);
  if (rows <= kFewRows && tiles * x_stride() <= kPackedBytes) return 1;
  return std::clamp<int64_t>(kSumBytes / (2 * tiles * kSums * 4), 1, up(strips_, 2));
}
// Of two groups, where the sums of one are still being put to y while the next is worked on.
int64_t Multiplication::sum_bytes(int64_t rows) const {
  return (direct_ ? 1 : 2) * group_pairs(rows) * 2 * up(rows, kTile) * kSums * static_cast<int64_t>(sizeof(float));
}

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

Source Multiplication::source(int64_t part, int64_t strip, float* rows) const {
  Source s;
  s.expand = expansion_.expand;
  s.cols = w_.cols;
  if (w_.strips) {
    const StripLayout& layout = w_.strips->layout;
    s.data = w_.strips->strip(part, first_row_ / kTile + strip);
    s.layout = &layout;
    s.unit_shift = std::countr_zero(static_cast<unsigned>(layout.unit / kTileBlock));
    s.group_shift = std::countr_zero(static_cast<unsigned>(layout.group));
    for (int i = 0; i < kTile; ++i) {
      const int index = i & ((1 << std::min(layout.bits, 4)) - 1);
      s.level[i] = static_cast<float>((layout.table ? layout.code_of[index] : index) - layout.offset);
    }
    return s;
  }
  const int64_t row = first_row_ + strip * kTile, first = part * w_.rows + row;
  s.rows = static_cast<int>(std::min<int64_t>(kTile, w_.rows - row));
  if (w_.half) {
    s.data = w_.half + first * w_.stride, s.stride = w_.stride;
  } else {
    w_.unpack(w_.context, first, s.rows, rows);
    s.data = rows, s.stride = w_.cols;
  }
  return s;
}

// The panels of a task in turn, for every chunk of rows, group of pairs, run of blocks and pair. While one is multiplied the next
// is expanded.
class Multiplication::Walk {
 public:
  Walk(const Multiplication& all, const Task& task, const uint8_t* x, const Own& own)
      : all_(all), job_(all.jobs_[task.job]), task_(task), x_(x), own_(own), chunk_(all.chunk_rows(job_.rows)),
        blocks_(all.panel_blocks(chunk_)), group_(2 * all.group_pairs(chunk_)), slot_(2 * up(chunk_, kTile) * kSums) {}

  void run() {
    Place here{0, task_.begin, task_.begin, 0}, next = here;
    fill(here);
    finish(filling_);
    for (float* sums = own_.sums; here.row < job_.rows; here = next) {
      next = after(here);
      const uint16_t* panel = own_.panel[turn_];
      turn_ ^= 1;
      fill(next);
      multiply(here, panel, sums + (here.strip - here.group) / 2 * slot_);
      finish(filling_);
      if (all_.direct_ || (next.group == here.group && next.row == here.row)) continue;
      finish(putting_);
      put(here, sums);
      sums = sums == own_.sums ? sums + group_ / 2 * slot_ : own_.sums;
    }
    finish(putting_);
  }

 private:
  struct Place {
    int64_t row, group, strip, block;
  };

  Place after(Place p) const {
    if ((p.strip += 2) < std::min(task_.end, p.group + group_)) return p;
    if (p.strip = p.group, (p.block += blocks_) < all_.blocks_) return p;
    if (p.block = 0, p.strip = p.group += group_, p.group < task_.end) return p;
    return {p.row + chunk_, task_.begin, task_.begin, 0};
  }
  int64_t rows(const Place& p) const { return std::min(chunk_, job_.rows - p.row); }
  int64_t blocks(const Place& p) const { return std::min(blocks_, all_.blocks_ - p.block); }
  int strips(const Place& p) const { return static_cast<int>(std::min<int64_t>(2, task_.end - p.strip)); }

  int64_t group_end(const Place& p) const { return std::min(task_.end, p.group + group_); }

  void fill(const Place& p) {
    filling_.left = 0;
    if (p.row >= job_.rows) return;
    for (int s = 0; s < strips(p); ++s)
      source_[s] = all_.source(job_.part, p.strip + s, own_.rows + s * kTile * all_.w_.cols);
    filling_ = {source_, own_.panel[turn_], p.block, p.block + blocks(p), p.block, strips(p) * blocks(p)};
  }

  void put(const Place& here, const float* sums) {
    const int64_t column = here.group * kTile, pairs = up(group_end(here) - here.group, 2);
    const int64_t columns = std::min(group_end(here) * kTile, all_.batch_.y.cols) - column;
    const bool large = all_.batch_.y.rows * all_.batch_.y.cols * 4 > kLargeBytes;
    putting_ = {sums, slot_, pairs, &all_.to_[job_.first + here.row], column, columns, 0, 0, rows(here) * pairs, large};
  }

  template <class Work>
  void finish(Work& work) {
    while (work.left) work.step();
  }

  void multiply(const Place& here, const uint16_t* panel, float* sums) {
    Product p;
    p.x = x_ + here.row / kTile * all_.x_stride() + here.block * all_.steps_.x_tile, p.x_stride = all_.x_stride();
    p.rows = rows(here);
    p.panel = panel, p.strips = strips(here), p.blocks = blocks(here);
    p.first = here.block == 0, p.sums = sums;
    if (all_.direct_ && here.block + p.blocks == all_.blocks_) {
      p.y = all_.to_[job_.first + here.row] + here.strip * kTile, p.y_stride = all_.batch_.y.stride;
      p.columns = all_.batch_.y.cols - here.strip * kTile;
    }
    p.filling = &filling_, p.putting = &putting_;
    // What is being put has time until the group is finished.
    const int64_t pairs = up(group_end(here) - here.group, 2), runs = up(all_.blocks_ - here.block, blocks_);
    p.to_put = up(putting_.left, runs * pairs - (here.strip - here.group) / 2);
    all_.expansion_.multiply(p);
  }

  const Multiplication& all_;
  const Job& job_;
  const Task task_;
  const uint8_t* const x_;
  const Own& own_;
  const int64_t chunk_, blocks_, group_, slot_;  // rows, blocks of a panel, strips of a group, floats of a pair's sums
  int turn_ = 0;
  Source source_[2];
  Filling filling_;
  Putting putting_;
};

void Multiplication::run() {
  int64_t rows = 0, own_rows = 0, work = 0;
  for (const Job& job : jobs_) {
    rows = std::max(rows, job.first + job.rows);
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
  int64_t own_sums = 0, own_panel = 0;
  for (const Job& job : jobs_) {
    const int64_t chunk = chunk_rows(job.rows);
    own_sums = std::max(own_sums, sum_bytes(chunk));
    own_panel = std::max(own_panel, 2 * panel_blocks(chunk) * kLines * 2);
  }
  const int64_t own_x = up(own_rows, kTile) * x_stride(), own_floats = called_ ? up(2 * kTile * w_.cols * 4, 64) * 64 : 0;
  const int64_t own_bytes = own_x + 2 * own_panel + own_sums + own_floats;
  auto* memory = reinterpret_cast<uint8_t*>(scratch((ahead + parts * own_bytes) / 4));

  from_.resize(rows), to_.resize(rows), packed_.resize(jobs_.size());
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t t = batch_.order ? batch_.order[i] : i;
    from_[i] = batch_.x_row(t), to_[i] = batch_.y.row(t);
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
    uint8_t *mine = memory + part * own_bytes, *panels = mine + own_x, *sums = panels + 2 * own_panel;
    const Own own{mine,
                  {reinterpret_cast<uint16_t*>(panels), reinterpret_cast<uint16_t*>(panels + own_panel)},
                  reinterpret_cast<float*>(sums),
                  reinterpret_cast<float*>(sums + own_sums)};
    steps_.begin();
    for (size_t i; (i = next.fetch_add(1)) < tasks_.size();) {
      const Task& task = tasks_[i];
      const Job& job = jobs_[task.job];
      const uint8_t* x = packed_[task.job] ? packed_[task.job] : own.x;
      if (x == own.x)
        for (int64_t t = 0; t < up(job.rows, kTile); ++t) pack(job, t, own.x + t * x_stride());
      Walk(*this, task, x, own).run();
    }
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
