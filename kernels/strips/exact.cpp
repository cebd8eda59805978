#include "kernels/strips/exact.h"

#include <algorithm>
#include <atomic>

#include "kernels/common/scratch.h"
#include "kernels/common/team.h"

namespace gemloupe::strips {
namespace {

using matmul::Pieces;

// Multiply-adds that are worth another thread, and bytes that are worth a piece of their own.
constexpr int64_t kWork = 1 << 17, kWorthAPiece = 56 << 10;

// Panels begin with a page, for a variant that lays its stores beside them.
constexpr int64_t kPanelAlign = 4096;

// Strips [first, first + count) of a job. Stream s walks its share of them, one after the other.
struct Piece {
  int64_t job = 0, first = 0, count = 0;

  int64_t begin(int s) const { return first + count / kStreams * s + std::min<int64_t>(s, count % kStreams); }
  int64_t rounds() const { return (count + kStreams - 1) / kStreams; }
  int streams(int64_t round) const { return static_cast<int>(round < count / kStreams ? kStreams : count % kStreams); }
};

// Results of few activation rows wait near their thread until some rounds are done. Stored to y one by one between the weights,
// each would wait for its line of memory, and the weights with it: that costs a tenth of the speed.
class Kept {
 public:
  static constexpr int64_t kMostRows = 16;
  static int64_t bytes() { return Pieces::bytes<float>(kLines * kStripRows) + Pieces::bytes<float*>(kMostRows); }

  explicit Kept(void* memory) {
    Pieces pieces(memory);
    lines_ = pieces.take<float>(kLines * kStripRows);
    row_ = pieces.take<float*>(kMostRows);
  }

  void open(int64_t rows) {
    rows_ = rows, rounds_ = kLines / kStreams / rows;
    for (int64_t t = 0; t < rows; ++t) row_[t] = lines_ + t * rounds_ * kStreams * kStripRows;
  }
  float* const* rows() const { return row_; }
  // Where in each of them the results of stream s go.
  int64_t at(int s, int64_t round) const { return (s * rounds_ + round % rounds_) * kStripRows; }
  bool full(int64_t round) const { return round % rounds_ == rounds_ - 1; }

  // Stores what has come since it was full, the rounds up to `round`.
  void store(const Piece& piece, int64_t round, int64_t cols, float* const* y) const {
    const int64_t from = round / rounds_ * rounds_;
    for (int s = 0; s < piece.streams(from); ++s) {
      const int64_t first = (piece.begin(s) + from) * kStripRows, count = round - from + (s < piece.streams(round) ? 1 : 0);
      for (int64_t t = 0; t < rows_; ++t)
        std::copy_n(row_[t] + at(s, from), std::min(count * kStripRows, cols - first), y[t] + first);
    }
  }

 private:
  static constexpr int64_t kLines = 128;
  float* lines_;
  float** row_;
  int64_t rows_ = 0, rounds_ = 1;
};

// Strips of the smallest piece.
int64_t least_strips(int64_t strip_bytes) { return std::clamp<int64_t>(kWorthAPiece / std::max<int64_t>(1, strip_bytes), 1, kStreams); }

// Cuts the strips of all jobs into pieces: each three quarters of a fair share of what is left, in whole rounds, and at the end
// down to `least` strips. Calls take(piece) for each.
template <class Take>
void cut(int64_t jobs, int64_t strips, int64_t team, int64_t least, Take&& take) {
  for (int64_t j = 0; j < jobs; ++j)
    for (int64_t first = 0; first < strips;) {
      const int64_t left = (jobs - j) * strips - first, fair = 3 * left / (4 * team);
      const int64_t count = std::min(strips - first, fair < kStreams ? std::max(least, fair) : fair / kStreams * kStreams);
      take(Piece{j, first, count});
      first += count;
    }
}

}  // namespace

void multiply(const Steps& steps, const matmul::Batch& batch, const Strips& w, int64_t first_row, const Job* jobs, int64_t count) {
  const int64_t strips = (batch.y.cols + kStripRows - 1) / kStripRows, first_strip = first_row / kStripRows;
  if (count == 0 || batch.rows == 0 || strips == 0) return;
  const StripLayout& layout = w.layout;
  const int64_t padded = std::max<int64_t>(1, w.units()) * layout.unit;

  int64_t work = 0, most = 0, pieces_count = 0;
  for (int64_t j = 0; j < count; ++j) {
    work += batch.y.cols * w.cols * (jobs[j].rows + 2);
    most = std::max(most, jobs[j].rows);
  }
  const int64_t team = std::max<int64_t>(1, std::min<int64_t>({threads(), count * strips, work / kWork}));
  const int64_t strip_bytes = w.strip_bytes(), of_a_part = w.strips_per_part();
  const int64_t least = least_strips(strip_bytes);
  cut(count, strips, team, least, [&](const Piece&) { ++pieces_count; });

  matmul::Quantized q(w.cols, padded, layout.group);
  q.one = batch.x.rows == 1;
  const int64_t acc_floats = kStreams * (most + kSlack) * kStripRows;
  int64_t panel_bytes = 0;
  const auto panels_of = [&](const Job& job) { return steps.panels ? steps.panels(job.rows, padded, layout) : Panels{}; };
  for (int64_t j = 0; j < count; ++j) panel_bytes += panels_of(jobs[j]).blocks * panels_of(jobs[j]).bytes_a_block;
  const int64_t bytes = q.bytes(batch.rows + kSlack) + Pieces::bytes<uint8_t>(panel_bytes + kPanelAlign) + Pieces::bytes<uint8_t*>(count) +
                        Pieces::bytes<Piece>(pieces_count) + team * (Pieces::bytes<float>(acc_floats) + Kept::bytes());
  Pieces memory(scratch(bytes / static_cast<int64_t>(sizeof(float))));
  q.place(memory, batch.rows + kSlack);
  uint8_t* panels = memory.take<uint8_t>(panel_bytes + kPanelAlign);
  panels += -reinterpret_cast<uintptr_t>(panels) % kPanelAlign;
  uint8_t** panel = memory.take<uint8_t*>(count);
  Piece* pieces = memory.take<Piece>(pieces_count);
  float* acc = memory.take<float>(team * Pieces::bytes<float>(acc_floats) / static_cast<int64_t>(sizeof(float)));
  uint8_t* kept_memory = memory.take<uint8_t>(team * Kept::bytes());

  Piece* last = pieces;
  cut(count, strips, team, least, [&](const Piece& piece) { *last++ = piece; });
  q.fill(steps.quantize, batch, layout.offset, team > 1);
  const auto fill = [&](int64_t j, int64_t begin, int64_t end) {
    const Panels shape = panels_of(jobs[j]);
    for (int64_t b = begin; b < std::min(end, shape.blocks); ++b)
      steps.fill(shape, b, q.planes + jobs[j].first * q.plane_step(), q.plane_step(), jobs[j].rows, padded, layout.group,
                 panel[j] + b * shape.bytes_a_block);
  };
  for (int64_t j = 0; j < count; ++j) {
    panel[j] = panels;
    panels += panels_of(jobs[j]).blocks * panels_of(jobs[j]).bytes_a_block;
  }
  if (panel_bytes && (team == 1 || count > 1))
    share(team == 1 ? 1 : count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t j = team == 1 ? 0 : begin; j < (team == 1 ? count : end); ++j) fill(j, 0, batch.rows);
    });
  else if (panel_bytes)
    share(panels_of(jobs[0]).blocks, 1, [&](int64_t begin, int64_t end) { fill(0, begin, end); });

  std::atomic<int64_t> next{0};
  share(team, 1, [&](int64_t own, int64_t) {
    Lockstep step;
    step.layout = layout;
    step.units = w.units(), step.groups = q.runs;
    step.plane_stride = q.plane_step(), step.run_stride = q.run_step();
    step.acc_rows = most + kSlack;
    step.acc = acc + own * Pieces::bytes<float>(acc_floats) / static_cast<int64_t>(sizeof(float));
    Kept kept(kept_memory + own * Kept::bytes());
    const auto at = [&](const Piece& piece, int s) {
      return w.data + (jobs[piece.job].part * of_a_part + first_strip + piece.begin(s)) * strip_bytes;
    };
    for (int64_t now = next.fetch_add(1), then; now < pieces_count; now = then) {
      then = pieces_count;
      const Piece& piece = pieces[now];
      const Job& job = jobs[piece.job];
      step.rows = job.rows;
      step.planes = q.planes + job.first * q.plane_step();
      step.panels = panel[piece.job];
      step.correction = q.correction + job.first * q.run_step(), step.sums = q.sums + job.first * q.run_step();
      step.row_scale = q.row_scale + job.first, step.y = q.y + job.first;
      const bool keep = job.rows <= Kept::kMostRows;
      if (keep) kept.open(job.rows), step.y = kept.rows();
      const uint8_t* begin[kStreams + 1];
      for (int s = 0; s < kStreams; ++s) begin[s] = at(piece, s);
      begin[kStreams] = begin[0] + piece.count * strip_bytes;
      if (steps.open) steps.open(step);
      for (int64_t round = 0; round < piece.rounds(); ++round) {
        // The next piece is claimed before the last round, so that its beginning is on the way when this one ends.
        if (round + 1 == piece.rounds()) then = next.fetch_add(1);
        step.streams = piece.streams(round);
        for (int s = 0; s < step.streams; ++s) {
          const int64_t strip = piece.begin(s) + round;
          step.strip[s] = begin[s] + round * strip_bytes;
          step.end[s] = begin[s + 1];
          // Behind the last piece there is nothing to ask for but what is in the cache already.
          step.next[s] = then < pieces_count ? at(pieces[then], s) : step.strip[s];
          step.y_first[s] = keep ? kept.at(s, round) : strip * kStripRows;
          step.used[s] = static_cast<int>(std::min<int64_t>(kStripRows, batch.y.cols - strip * kStripRows));
        }
        steps.multiply(step);
        if (keep && (kept.full(round) || round + 1 == piece.rounds())) kept.store(piece, round, batch.y.cols, q.y + job.first);
      }
      if (steps.close) steps.close();
    }
  });
}

}  // namespace gemloupe::strips

namespace gemloupe {

void expect_product(const Strips& w) {
  // Each thread begins with the piece of its number; a quarter of what the second cache holds is more than it has time for.
  constexpr int64_t kMost = 256 << 10;
  const int64_t strips = w.strips_per_part(), bytes = w.strip_bytes(), team = threads();
  if (team == 1 || strips == 0) return;
  int thread = 0;
  strips::cut(1, strips, team, strips::least_strips(bytes), [&](const strips::Piece& piece) {
    if (thread == team) return;
    Expected what;
    for (int s = 0; s < strips::kStreams; ++s) what.stream[s] = w.strip(0, piece.begin(s));
    what.bytes = std::min(kMost / strips::kStreams, piece.rounds() * bytes);
    expect(thread++, what);
  });
}

}  // namespace gemloupe
