// matmul/VARIANT/MODEL.WEIGHT/TYPE/ROWS: y = x Wᵀ for ROWS activation rows over weights in rows, on the real shapes.
//
// What weights in strips cost is in strips.cpp and bf16.cpp; this is what a weight costs that cannot be rearranged, what plain
// floats cost, and what Eigen and oneDNN make of those.
#include "benchmarks/weights.h"
#include "kernels/common/bf16.h"
#include "kernels/matmul/float.h"

#if defined(GEMLOUPE_HAVE_EIGEN)
#include <Eigen/Dense>
#endif
#if defined(GEMLOUPE_HAVE_ONEDNN)
#include <dnnl.hpp>
#endif

namespace gemloupe {
namespace {

void exact(benchmark::State& state, const Variant<MatmulExact>& variant, const PackedType& type, const shapes::Shape& shape) {
  const int64_t tokens = state.range(0), rows = shape.rows;
  const auto w = random_weight(type, shape, Form::rows);
  const std::vector<float> x = random_rows(tokens * shape.cols);
  const Matrix<const float> xs(x.data(), tokens, shape.cols);
  std::vector<float> y(tokens * rows), expected(tokens * kChecked);
  const Matrix<float> ys(y.data(), tokens, rows);
  const OnlyIsa only(variant.needs);
  const int64_t checked = std::min(rows, kChecked), few = std::min<int64_t>(tokens, 9);
  variant.run(xs, w->rows, ys);
  for (const int64_t first : {int64_t{0}, rows - checked}) {
    matmul_exact.runnable().front().run({x.data(), few, shape.cols}, w->rows.slice(first, checked), {expected.data(), few, checked});
    if (!same_bits({expected.data(), few, checked}, {y.data() + first, few, checked, rows}, checked))
      return state.SkipWithError("disagrees with the reference");
  }
  const double bytes = static_cast<double>(rows * w->rows.row_bytes), operations = 2.0 * tokens * rows * shape.cols;
  time_cold(state, exact_cost(variant.needs, bytes, operations), [&](int64_t i) { variant.run(xs, w->copy(i), ys); });
}

// A weight of plain numbers, row by row, and its cold copies.
template <class T>
struct Floats {
  int64_t size, copies;
  std::shared_ptr<T> data;
  const T* copy(int64_t i) const { return data.get() + i % copies * size; }
};

template <class T>
std::shared_ptr<const Floats<T>> float_weight(const shapes::Shape& shape, const char* type, T (*narrow)(float)) {
  return kept(std::string(shape.name) + "/" + type, [&] {
    const int64_t size = shape.rows * shape.cols, copies = std::max<int64_t>(1, kCold / (size * static_cast<int64_t>(sizeof(T))));
    Floats<T> w{size, copies, large<T>(copies * size)};
    const std::vector<float> some = random_rows(size);
    for (int64_t i = 0; i < size; ++i) w.data.get()[i] = narrow(some[i]);
    for (int64_t i = 1; i < copies; ++i) std::memcpy(w.data.get() + i * size, w.data.get(), size * sizeof(T));
    return w;
  });
}
float same(float v) { return v; }

template <class T, class Fn>
void floats(benchmark::State& state, const Kernel<Fn>& kernel, const Variant<Fn>& variant, const shapes::Shape& shape, const char* type,
            T (*narrow)(float)) {
  const int64_t tokens = state.range(0), rows = shape.rows, cols = shape.cols;
  const auto w = float_weight(shape, type, narrow);
  const std::vector<float> x = random_rows(tokens * cols);
  const Matrix<const float> xs(x.data(), tokens, cols);
  std::vector<float> y(tokens * rows), expected(tokens * kChecked);
  const Matrix<float> ys(y.data(), tokens, rows);
  const int64_t checked = std::min(rows, kChecked), few = std::min<int64_t>(tokens, 9);
  variant.run(xs, {w->copy(0), rows, cols}, ys);
  kernel.runnable().front().run({x.data(), few, cols}, {w->copy(0), checked, cols}, {expected.data(), few, checked});
  if (!same_bits({expected.data(), few, checked}, {y.data(), few, checked, rows}, checked))
    return state.SkipWithError("disagrees with the reference");
  const double operations = 2.0 * tokens * rows * cols;
  time_cold(state, {static_cast<double>(rows * cols * sizeof(T)), operations, operations, roof::fma(variant.needs)},
            [&](int64_t i) { variant.run(xs, {w->copy(i), rows, cols}, ys); });
}

#if defined(GEMLOUPE_HAVE_EIGEN)
void eigen(benchmark::State& state, const shapes::Shape& shape) {
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const int64_t tokens = state.range(0);
  const auto w = float_weight(shape, "F32", same);
  const std::vector<float> x = random_rows(tokens * shape.cols);
  Rows y(tokens, shape.rows);
  const Eigen::Map<const Rows> xs(x.data(), tokens, shape.cols);
  const double operations = 2.0 * tokens * w->size;
  Eigen::setNbThreads(threads());
  const double seconds = best_seconds(state, [&](int64_t i) {
    y.noalias() = xs * Eigen::Map<const Rows>(w->copy(i), shape.rows, shape.cols).transpose();
    benchmark::DoNotOptimize(y.data());
  });
  state_rates(state, {4.0 * w->size, operations, operations, roof::fma(detected_isa())}, seconds, true);
}
#endif

#if defined(GEMLOUPE_HAVE_ONEDNN)
// A product in float32 or in bfloat16, with its operands; oneDNN is given the weight in the layout that it likes best.
struct OneDnn {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul product;
  dnnl::memory x, y;
  std::vector<dnnl::memory> w;
  std::shared_ptr<uint8_t> places;

  OneDnn(const shapes::Shape& shape, int64_t tokens, dnnl::memory::data_type type) {
    using tag = dnnl::memory::format_tag;
    const dnnl::memory::desc x_desc({tokens, shape.cols}, type, tag::ab), w_desc({shape.cols, shape.rows}, type, tag::any),
        y_desc({tokens, shape.rows}, type, tag::ab);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc how(engine, x_desc, w_desc, y_desc);
#else
    const dnnl::matmul::primitive_desc how(dnnl::matmul::desc(x_desc, w_desc, y_desc), engine);
#endif
    product = dnnl::matmul(how);
    const auto f32 = dnnl::memory::data_type::f32;
    const int64_t each = (static_cast<int64_t>(how.weights_desc().get_size()) + 4095) / 4096 * 4096;
    const int64_t copies = std::max<int64_t>(1, kCold / each);
    places = large<uint8_t>(copies * each);
    x = convert({{tokens, shape.cols}, f32, tag::ab}, random_rows(tokens * shape.cols), x_desc, DNNL_MEMORY_ALLOCATE);
    y = dnnl::memory(y_desc, engine);
    w.push_back(convert({{shape.cols, shape.rows}, f32, tag::ba}, random_rows(shape.rows * shape.cols, 8), how.weights_desc(), places.get()));
    for (int64_t i = 1; i < copies; ++i) {
      std::memcpy(places.get() + i * each, places.get(), each);
      w.emplace_back(how.weights_desc(), engine, places.get() + i * each);
    }
  }
  dnnl::memory convert(const dnnl::memory::desc& from, const std::vector<float>& values, const dnnl::memory::desc& to, void* place) {
    dnnl::memory source(from, engine, const_cast<float*>(values.data())), target(to, engine, place);
    dnnl::reorder(source, target).execute(stream, source, target);
    stream.wait();
    return target;
  }
  void run(int64_t i) const {
    dnnl::stream queue = stream;
    product.execute(queue, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w[i % w.size()]}, {DNNL_ARG_DST, y}});
    queue.wait();
  }
};

void onednn(benchmark::State& state, const shapes::Shape& shape, dnnl::memory::data_type type) {
  const int64_t tokens = state.range(0), size = shape.rows * shape.cols, element = type == dnnl::memory::data_type::f32 ? 4 : 2;
  const auto all = kept("onednn/" + std::string(shape.name) + "/" + std::to_string(element) + "/" + std::to_string(tokens),
                        [&] { return OneDnn(shape, tokens, type); });
  const double operations = 2.0 * tokens * size;
  const double roof = element == 4 ? roof::fma(detected_isa()) : roof::bf16(detected_isa());
  const double seconds = best_seconds(state, [&](int64_t i) { all->run(i); });
  state_rates(state, {static_cast<double>(element * size), operations, operations, roof}, seconds, true);
}
#endif

}  // namespace

void register_all() {
#if defined(GEMLOUPE_HAVE_ONEDNN) && DNNL_VERSION_MAJOR < 3
  dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_bf16);  // 2.6 dies in its AMX code; it has to hear this before anything else
#endif
  const auto add = [](const std::string& variant, const shapes::Shape& shape, const char* type, auto run) {
    auto* b = benchmark::RegisterBenchmark(("matmul/" + variant + "/" + shape.name + "/" + type).c_str(), run);
    b->UseRealTime()->MinTime(seconds_a_case());
    return b;
  };
  for (const shapes::Shape& shape : shapes::kAll) {
    if (shape.experts || !chosen(shape)) continue;
    for (const char* type_name : {"Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q6_K"}) {
      const PackedType& type = *packed_type(type_name);
      if (shape.cols % type.layout.block || (extent != Extent::all && std::strcmp(type_name, "Q4_0") && std::strcmp(type_name, "Q6_K")))
        continue;
      for (const auto& variant : matmul_exact.runnable()) {
        const bool slow = variant.needs == Isa::reference;  // a minute each, but on the smallest
        if (slow ? std::strcmp(shape.name, "270M.ffn_gate") != 0 : !shown(matmul_exact, variant, shape)) continue;
        auto* b = add(variant.name, shape, type.name, [=, &type, &shape](benchmark::State& s) { exact(s, variant, type, shape); });
        b->Arg(1);
        if (!slow) b->Arg(8)->Arg(64);
      }
    }
    if (!typical(shape)) continue;
    const auto sizes = [](auto* b) { b->Arg(1)->Arg(64)->Arg(512); };
    for (const auto& variant : matmul_float.runnable())
      if (shown(matmul_float, variant, shape))
        sizes(add(variant.name, shape, "F32", [=, &shape](benchmark::State& s) {
          floats<float>(s, matmul_float, variant, shape, "F32", same);
        }));
    for (const auto& variant : matmul_bf16.runnable())
      if (shown(matmul_bf16, variant, shape))
        sizes(add(variant.name, shape, "BF16", [=, &shape](benchmark::State& s) {
          floats<uint16_t>(s, matmul_bf16, variant, shape, "BF16", float_to_bf16);
        }));
#if defined(GEMLOUPE_HAVE_EIGEN)
    sizes(add("eigen", shape, "F32", [&shape](benchmark::State& s) { eigen(s, shape); }));
#endif
#if defined(GEMLOUPE_HAVE_ONEDNN)
    sizes(add("onednn", shape, "F32", [&shape](benchmark::State& s) { onednn(s, shape, dnnl::memory::data_type::f32); }));
    sizes(add("onednn", shape, "BF16", [&shape](benchmark::State& s) { onednn(s, shape, dnnl::memory::data_type::bf16); }));
#endif
  }
}

}  // namespace gemloupe
