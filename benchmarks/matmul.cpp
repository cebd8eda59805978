// matmul/VARIANT/MODEL.WEIGHT/TYPE/ROWS: y = x Wᵀ for ROWS activation rows, on the real shapes.
//
// Each weight is there so often that a pass over all copies leaves nothing of the first one in any cache. Rates are those
// of the fastest call, since other programs only ever add time; Google Benchmark's own columns are means.
//   bytes/s, of_dram     packed weight bytes read, and their share of the measured memory roof
//   op/s                 useful operations, a multiply-add being two
//   of_pipe              share of the measured integer (or fma) roof; `exact` needs two int8 products a weight on avx512
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/roof.h"
#include "benchmarks/shapes.h"
#include "kernels/codes/codes.h"
#include "kernels/common/half.h"
#include "kernels/experts/experts.h"
#include "kernels/matmul/exact.h"
#include "kernels/matmul/float.h"

#if defined(GEMLOUPE_HAVE_EIGEN)
#include <Eigen/Dense>
#endif
#if defined(GEMLOUPE_HAVE_ONEDNN)
#include <dnnl.hpp>
#endif

namespace gemloupe {
namespace {

constexpr int64_t kCold = int64_t{384} << 20;  // bytes of weights that are cycled through

std::vector<float> random_rows(int64_t n) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

// Random codes under finite random scales: the two bytes of every half in a block's header get a sane exponent.
std::vector<uint8_t> random_blocks(const PackedType& type, int64_t bytes) {
  std::vector<uint8_t> blocks(bytes);
  std::mt19937_64 random(11);
  for (int64_t i = 0; i + 8 <= bytes; i += 8) {
    const uint64_t v = random();
    std::memcpy(&blocks[i], &v, 8);
  }
  const std::string name = type.name;
  const int at = name == "Q6_K" ? 208 : 0;
  const bool has_second = name == "Q4_K" || name == "Q5_K";
  for (int64_t b = 0; b < bytes; b += type.layout.block_bytes)
    for (int h = 0; h <= static_cast<int>(has_second); ++h) {
      const uint16_t half = float_to_f16(std::ldexp(1.0f + static_cast<float>(random() % 1024) / 1024, -9));
      std::memcpy(&blocks[b + at + 2 * h], &half, 2);
    }
  return blocks;
}

// Calls work(i) for weights 0, 1, ... in turn, and states the rates of the fastest call.
void time(benchmark::State& state, int64_t copies, double weight_bytes, double operations, double pipe_operations,
          double pipe_roof, const std::function<void(int64_t)>& work) {
  double best = 1e30;
  int64_t i = 0;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    work(i++ % copies);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  state.counters["bytes/s"] = weight_bytes / best;
  state.counters["of_dram"] = weight_bytes / best / roof::dram();
  state.counters["op/s"] = operations / best;
  if (pipe_roof > 0) state.counters["of_pipe"] = pipe_operations / best / pipe_roof;
  state.counters["best_us"] = best * 1e6;
}

bool same_bits(Matrix<const float> a, Matrix<const float> b, int64_t cols) {
  for (int64_t t = 0; t < a.rows; ++t)
    if (std::memcmp(a.row(t), b.row(t), cols * sizeof(float))) return false;
  return true;
}

// The first and the last weight rows of the product against the reference, which is too slow for all of them.
constexpr int64_t kChecked = 19;

void exact(benchmark::State& state, const Variant<MatmulExact>& variant, const PackedType& type, const shapes::Shape& shape) {
  const int64_t tokens = state.range(0), rows = shape.rows;
  const int64_t row_bytes = shape.cols / type.layout.block * type.layout.block_bytes;
  const int64_t copies = std::max<int64_t>(1, kCold / (rows * row_bytes));
  const std::vector<uint8_t> bytes = random_blocks(type, copies * rows * row_bytes);
  const PackedRows all{bytes.data(), copies * rows, shape.cols, row_bytes, type.layout, type.decode, nullptr};
  const std::vector<float> x = random_rows(tokens * shape.cols);
  const Matrix<const float> xs(x.data(), tokens, shape.cols);
  std::vector<float> y(tokens * rows), expected(tokens * kChecked);

  limit_isa(variant.needs);
  const Matrix<float> ys(y.data(), tokens, rows);
  const int64_t checked = std::min(rows, kChecked), few = std::min<int64_t>(tokens, 9);
  variant.run(xs, all.slice(0, rows), ys);
  for (const int64_t first : {int64_t{0}, rows - checked}) {
    matmul_exact.runnable().front().run({x.data(), few, shape.cols}, all.slice(first, checked),
                                        {expected.data(), few, checked});
    if (!same_bits({expected.data(), few, checked}, {y.data() + first, few, checked, rows}, checked)) {
      limit_isa(detected_isa());
      return state.SkipWithError("disagrees with the reference");
    }
  }
  const double operations = 2.0 * tokens * rows * shape.cols;
  time(state, copies, rows * row_bytes, operations, variant.needs >= Isa::avx512 ? 2 * operations : operations,
       roof::integer(variant.needs), [&](int64_t i) { variant.run(xs, all.slice(i * rows, rows), ys); });
  limit_isa(detected_isa());
}

template <class T, class Fn>
void floats(benchmark::State& state, const Kernel<Fn>& kernel, const Variant<Fn>& variant, const shapes::Shape& shape,
            const std::function<T(float)>& narrow) {
  const int64_t tokens = state.range(0), rows = shape.rows, cols = shape.cols;
  const int64_t copies = std::max<int64_t>(1, kCold / (rows * cols * static_cast<int64_t>(sizeof(T))));
  const std::vector<float> x = random_rows(tokens * cols), some = random_rows(rows * cols);
  std::vector<T> w(copies * rows * cols);
  for (size_t i = 0; i < w.size(); ++i) w[i] = narrow(some[i % some.size()]);
  const Matrix<const float> xs(x.data(), tokens, cols);
  std::vector<float> y(tokens * rows), expected(tokens * kChecked);
  const Matrix<float> ys(y.data(), tokens, rows);
  const int64_t checked = std::min(rows, kChecked), few = std::min<int64_t>(tokens, 9);
  variant.run(xs, {w.data(), rows, cols}, ys);
  kernel.runnable().front().run({x.data(), few, cols}, {w.data(), checked, cols}, {expected.data(), few, checked});
  if (!same_bits({expected.data(), few, checked}, {y.data(), few, checked, rows}, checked))
    return state.SkipWithError("disagrees with the reference");
  const double operations = 2.0 * tokens * rows * cols;
  time(state, copies, rows * cols * sizeof(T), operations, operations, roof::fma(variant.needs),
       [&](int64_t i) { variant.run(xs, {w.data() + i * rows * cols, rows, cols}, ys); });
}

// `tokens` rows, eight experts each.
void experts(benchmark::State& state, const Variant<MatmulExperts>& variant, const PackedType& type,
             const shapes::Shape& shape) {
  const int64_t rows = shape.rows, tokens = state.range(0) * 8;
  const int64_t row_bytes = shape.cols / type.layout.block * type.layout.block_bytes;
  const std::vector<uint8_t> bytes = random_blocks(type, shape.experts * rows * row_bytes);
  const PackedRows stack{bytes.data(), shape.experts * rows, shape.cols, row_bytes, type.layout, type.decode, nullptr};
  const std::vector<float> x = random_rows(tokens * shape.cols);
  const Matrix<const float> xs(x.data(), tokens, shape.cols);
  std::vector<float> y(tokens * rows), expected(kChecked);
  std::mt19937 random(5);
  constexpr int64_t kDraws = 16;
  std::vector<int32_t> expert(kDraws * tokens);
  for (size_t i = 0; i < expert.size(); ++i)  // the eight of a token differ
    expert[i] = i % 8 ? (expert[i - 1] + 13) % shape.experts : static_cast<int32_t>(random() % shape.experts);
  double used = 0;
  for (int64_t draw = 0; draw < kDraws; ++draw) {
    std::vector<bool> seen(shape.experts);
    for (int64_t t = 0; t < tokens; ++t) seen[expert[draw * tokens + t]] = true;
    for (const bool s : seen) used += s;
  }
  limit_isa(variant.needs);
  const Matrix<float> ys(y.data(), tokens, rows);
  variant.run(xs, expert.data(), rows, stack, ys);
  for (const int64_t t : {int64_t{0}, tokens - 1}) {
    matmul_exact.runnable().front().run({xs.row(t), 1, shape.cols}, stack.slice(expert[t] * rows, kChecked),
                                        {expected.data(), 1, kChecked});
    if (!same_bits({expected.data(), 1, kChecked}, {ys.row(t), 1, kChecked}, kChecked)) {
      limit_isa(detected_isa());
      return state.SkipWithError("disagrees with the reference");
    }
  }
  const double operations = 2.0 * tokens * rows * shape.cols;
  time(state, kDraws, used / kDraws * rows * row_bytes, operations, variant.needs >= Isa::avx512 ? 2 * operations : operations,
       roof::integer(variant.needs), [&](int64_t i) { variant.run(xs, expert.data() + i * tokens, rows, stack, ys); });
  limit_isa(detected_isa());
}

#if defined(GEMLOUPE_HAVE_EIGEN)
void eigen(benchmark::State& state, const shapes::Shape& shape) {
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const int64_t tokens = state.range(0), size = shape.rows * shape.cols, copies = std::max<int64_t>(1, kCold / (4 * size));
  const std::vector<float> x = random_rows(tokens * shape.cols), some = random_rows(size);
  std::vector<float> w(copies * size);
  for (size_t i = 0; i < w.size(); ++i) w[i] = some[i % size];
  Rows y(tokens, shape.rows);
  const Eigen::Map<const Rows> xs(x.data(), tokens, shape.cols);
  const double operations = 2.0 * tokens * size;
  time(state, copies, 4.0 * size, operations, operations, roof::fma(detected_isa()), [&](int64_t i) {
    y.noalias() = xs * Eigen::Map<const Rows>(w.data() + i * size, shape.rows, shape.cols).transpose();
    benchmark::DoNotOptimize(y.data());
  });
}
#endif

#if defined(GEMLOUPE_HAVE_ONEDNN)
void onednn(benchmark::State& state, const shapes::Shape& shape) {
  using tag = dnnl::memory::format_tag;
  using type = dnnl::memory::data_type;
  const int64_t tokens = state.range(0), size = shape.rows * shape.cols, copies = std::max<int64_t>(1, kCold / (4 * size));
  std::vector<float> x = random_rows(tokens * shape.cols), some = random_rows(size), w(copies * size), y(tokens * shape.rows);
  for (size_t i = 0; i < w.size(); ++i) w[i] = some[i % size];
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const dnnl::memory::desc x_desc({tokens, shape.cols}, type::f32, tag::ab),
      w_desc({shape.cols, shape.rows}, type::f32, tag::ba),
      y_desc({tokens, shape.rows}, type::f32, tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul product(dnnl::matmul::primitive_desc(engine, x_desc, w_desc, y_desc));
#else
  const dnnl::matmul product(dnnl::matmul::primitive_desc(dnnl::matmul::desc(x_desc, w_desc, y_desc), engine));
#endif
  dnnl::memory x_memory(x_desc, engine, x.data()), y_memory(y_desc, engine, y.data());
  const double operations = 2.0 * tokens * size;
  time(state, copies, 4.0 * size, operations, operations, roof::fma(detected_isa()), [&](int64_t i) {
    product.execute(stream, {{DNNL_ARG_SRC, x_memory}, {DNNL_ARG_WEIGHTS, dnnl::memory(w_desc, engine, w.data() + i * size)},
                             {DNNL_ARG_DST, y_memory}});
    stream.wait();
  });
}
#endif

// Which shapes stand for the others: narrow and deep, wide, the widest.
bool typical(const std::string& name) {
  for (const char* n : {"270M.ffn_gate", "E2B.attn_k", "E2B.ffn_gate", "E2B.ffn_down_wide", "26B.ffn_gate", "31B.ffn_down"})
    if (name == n) return true;
  return false;
}

void register_all() {
  const auto name = [](const std::string& variant, const shapes::Shape& shape, const std::string& type) {
    return "matmul/" + variant + "/" + shape.name + "/" + type;
  };
  for (const shapes::Shape& shape : shapes::kAll) {
    if (shape.experts) {
      for (const auto& variant : matmul_experts.runnable()) {
        if (variant.needs == Isa::reference) continue;
        const PackedType& type = *packed_type("Q4_0");
        benchmark::RegisterBenchmark(("experts/" + std::string(variant.name) + "/" + shape.name + "/" + type.name).c_str(),
                                     [=, &type](benchmark::State& s) { experts(s, variant, type, shape); })
            ->Arg(1)->Arg(32)->Arg(512)->UseRealTime()->MinTime(0.2);
      }
      continue;
    }
    const bool often = typical(shape.name);
    for (const auto& variant : matmul_exact.runnable()) {
      if (variant.needs == Isa::reference && std::string(shape.name) != "270M.ffn_gate") continue;  // a minute each otherwise
      for (const char* type_name : {"Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q6_K"}) {
        const PackedType& type = *packed_type(type_name);
        if (shape.cols % type.layout.block) continue;
        auto* b = benchmark::RegisterBenchmark(name(variant.name, shape, type.name).c_str(),
                                               [=, &type](benchmark::State& s) { exact(s, variant, type, shape); });
        b->Arg(1)->UseRealTime()->MinTime(0.2);
        if (often) b->Arg(4)->Arg(8)->Arg(64)->Arg(512);
      }
    }
    if (!often) continue;
    for (const auto& variant : matmul_float.runnable())
      benchmark::RegisterBenchmark(name(variant.name, shape, "F32").c_str(), [=](benchmark::State& s) {
        floats<float>(s, matmul_float, variant, shape, [](float v) { return v; });
      })->Arg(1)->Arg(64)->Arg(512)->UseRealTime()->MinTime(0.2);
    for (const auto& variant : matmul_bf16.runnable())
      benchmark::RegisterBenchmark(name(variant.name, shape, "BF16").c_str(), [=](benchmark::State& s) {
        floats<uint16_t>(s, matmul_bf16, variant, shape, float_to_bf16);
      })->Arg(1)->Arg(64)->Arg(512)->UseRealTime()->MinTime(0.2);
#if defined(GEMLOUPE_HAVE_EIGEN)
    benchmark::RegisterBenchmark(name("eigen", shape, "F32").c_str(), [=](benchmark::State& s) { eigen(s, shape); })
        ->Arg(1)->Arg(64)->Arg(512)->UseRealTime()->MinTime(0.2);
#endif
#if defined(GEMLOUPE_HAVE_ONEDNN)
    benchmark::RegisterBenchmark(name("onednn", shape, "F32").c_str(), [=](benchmark::State& s) { onednn(s, shape); })
        ->Arg(1)->Arg(64)->Arg(512)->UseRealTime()->MinTime(0.2);
#endif
  }
}

}  // namespace
}  // namespace gemloupe

// Registered here and not by static objects, since the kernels' tables are static objects themselves.
int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  gemloupe::register_all();
  benchmark::RunSpecifiedBenchmarks();
}
