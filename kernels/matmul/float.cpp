#include "kernels/matmul/float.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "kernels/common/half.h"
#include "kernels/common/scratch.h"
#include "kernels/common/sum.h"
#include "kernels/common/team.h"
#include "kernels/matmul/blocks.h"

namespace gemloupe {
namespace matmul {
namespace {

float widen_f32(const uint8_t* w) {
  float f;
  std::memcpy(&f, w, 4);
  return f;
}
uint16_t two_bytes(const uint8_t* w) {
  uint16_t u;
  std::memcpy(&u, w, 2);
  return u;
}
float widen_f16(const uint8_t* w) { return f16_to_float(two_bytes(w)); }
float widen_bf16(const uint8_t* w) { return bf16_to_float(two_bytes(w)); }

template <float (*widen)(const uint8_t*), int kBytes>
void readable(const float* const* x, int64_t tokens, const void* w, int64_t stride, int64_t rows, int64_t cols,
              float* const* y, int64_t y_first) {
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t* row = static_cast<const uint8_t*>(w) + r * stride * kBytes;
    for (int64_t t = 0; t < tokens; ++t) {
      float lanes[kLanes] = {};
      for (int64_t i = 0; i < cols; ++i) lanes[i % kLanes] = std::fma(x[t][i], widen(row + i * kBytes), lanes[i % kLanes]);
      y[t][y_first + r] = fold(lanes);
    }
  }
}

// A task reads about so many bytes of weights, or, where they meet many activation rows, keeps so many in the second cache while a
// part of those passes. It meets about so many bytes of activations at a time. Multiply-adds that are worth another thread.
constexpr int64_t kTaskBytes = 128 << 10, kKeptBytes = 768 << 10, kTokenBytes = 256 << 10, kWork = 1 << 18;
constexpr int64_t kRows = 16;  // a multiple of every block's rows, so only a weight's end has a rest
constexpr int64_t kMany = 64;

int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to; }

// How a job's weight rows and activation rows are cut into tasks.
struct Cut {
  int64_t rows, tokens;

  Cut(const FloatJob& job, int64_t row_bytes)
      : rows(std::max<int64_t>(1, (job.tokens < kMany ? kTaskBytes : kKeptBytes) / (kRows * row_bytes)) * kRows),
        tokens(job.tokens < kMany ? job.tokens : kMany) {}
  int64_t tasks(const FloatJob& job) const { return up(job.rows, rows) * up(job.tokens, tokens); }
};

}  // namespace

const Blocks reference_blocks = {readable<widen_f32, 4>, readable<widen_f16, 2>, readable<widen_bf16, 2>};

void multiply(Block* block, Matrix<const float> x, const int32_t* order, int64_t tokens, const FloatJob* jobs, int64_t count,
              int64_t stride, int bytes, Matrix<float> y) {
  if (count == 0 || tokens == 0) return;
  const int64_t row_bytes = std::max<int64_t>(1, x.cols * bytes);
  const int64_t at_once = std::max<int64_t>(1, kTokenBytes / std::max<int64_t>(1, 64 * x.cols)) * 16;
  int64_t work = 0, tasks = 0;
  for (int64_t j = 0; j < count; ++j) {
    work += jobs[j].rows * x.cols * (jobs[j].tokens + 1);
    tasks += Cut(jobs[j], row_bytes).tasks(jobs[j]);
  }
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>({threads(), tasks, work / kWork}));

  auto* memory = reinterpret_cast<int64_t*>(scratch(2 * (2 * tokens + count)));
  static_assert(sizeof(int64_t) == 2 * sizeof(float) && sizeof(float*) <= sizeof(int64_t));
  const float** from = reinterpret_cast<const float**>(memory);
  float** to = reinterpret_cast<float**>(memory + tokens);
  int64_t* task_end = memory + 2 * tokens;
  const int64_t each = y.rows / x.rows;
  for (int64_t i = 0; i < tokens; ++i) {
    const int64_t t = order ? order[i] : i;
    from[i] = x.row(t / each), to[i] = y.row(t);
  }
  for (int64_t j = 0, end = 0; j < count; ++j) task_end[j] = end += Cut(jobs[j], row_bytes).tasks(jobs[j]);

  std::atomic<int64_t> next{0};
  share(parts, 1, [&](int64_t, int64_t) {
    for (int64_t task; (task = next.fetch_add(1)) < tasks;) {
      const int64_t j = std::upper_bound(task_end, task_end + count, task) - task_end;
      const FloatJob& job = jobs[j];
      const Cut cut(job, row_bytes);
      const int64_t of_job = task - (j ? task_end[j - 1] : 0), pieces = up(job.tokens, cut.tokens);
      const int64_t begin = of_job / pieces * cut.rows, rows = std::min(job.rows - begin, cut.rows);
      const int64_t first = of_job % pieces * cut.tokens, last = std::min(job.tokens, first + cut.tokens);
      const void* w = static_cast<const uint8_t*>(job.w) + begin * stride * bytes;
      for (int64_t t = first; t < last; t += at_once)
        block(from + job.first + t, std::min(at_once, last - t), w, stride, rows, x.cols, to + job.first + t, begin);
    }
  });
}

}  // namespace matmul

namespace {

template <const matmul::Blocks& blocks>
void f32(Matrix<const float> x, Matrix<const float> w, Matrix<float> y) {
  const matmul::FloatJob job{w.data, w.rows, 0, x.rows};
  matmul::multiply(blocks.f32, x, nullptr, x.rows, &job, 1, w.stride, 4, y);
}
template <const matmul::Blocks& blocks>
void f16(Matrix<const float> x, Matrix<const uint16_t> w, Matrix<float> y) {
  const matmul::FloatJob job{w.data, w.rows, 0, x.rows};
  matmul::multiply(blocks.f16, x, nullptr, x.rows, &job, 1, w.stride, 2, y);
}
template <const matmul::Blocks& blocks>
void bf16(Matrix<const float> x, Matrix<const uint16_t> w, Matrix<float> y) {
  const matmul::FloatJob job{w.data, w.rows, 0, x.rows};
  matmul::multiply(blocks.bf16, x, nullptr, x.rows, &job, 1, w.stride, 2, y);
}

}  // namespace

const Kernel<MatmulFloat> matmul_float = {
    {"reference", Isa::reference, f32<matmul::reference_blocks>},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, f32<matmul::avx2_blocks>},
    {"avx512", Isa::avx512, f32<matmul::avx512_blocks>},
#endif
};

const Kernel<MatmulHalf> matmul_f16 = {
    {"reference", Isa::reference, f16<matmul::reference_blocks>},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, f16<matmul::avx2_blocks>},
    {"avx512", Isa::avx512, f16<matmul::avx512_blocks>},
#endif
};

const Kernel<MatmulHalf> matmul_bf16 = {
    {"reference", Isa::reference, bf16<matmul::reference_blocks>},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, bf16<matmul::avx2_blocks>},
    {"avx512", Isa::avx512, bf16<matmul::avx512_blocks>},
#endif
};

}  // namespace gemloupe
