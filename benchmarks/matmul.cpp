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

template <class T, class Fn>
void floats(benchmark::State& state, const Kernel<Fn>& kernel, const Variant<Fn>& variant, const shapes::Shape& shape,
            const std::function<T(float)>& narrow) {
  const int64_t tokens = state.range(0), rows = shape.rows, cols = shape.cols;
  const int64_t copies = std::max<int64_t>(1, kCold / (rows * cols * static_cast<int64_t>(sizeof(T))));
  const std::vector<float> x = random_rows(tokens * cols), some = random_rows(rows * cols);
  const auto w = large<T>(copies * rows * cols);
  for (int64_t i = 0; i < copies * rows * cols; ++i) w.get()[i] = narrow(some[i % (rows * cols)]);
  const Matrix<const float> xs(x.data(), tokens, cols);
  std::vector<float> y(tokens * rows), expected(tokens * kChecked);
  const Matrix<float> ys(y.data(), tokens, rows);
  const int64_t checked = std::min(rows, kChecked), few = std::min<int64_t>(tokens, 9);
  variant.run(xs, {w.get(), rows, cols}, ys);
  kernel.runnable().front().run({x.data(), few, cols}, {w.get(), checked, cols}, {expected.data(), few, checked});
  if (!same_bits({expected.data(), few, checked}, {y.data(), few, checked, rows}, checked))
    return state.SkipWithError("disagrees with the reference");
  const double operations = 2.0 * tokens * rows * cols;
  time_cold(state, {static_cast<double>(rows * cols * sizeof(T)), operations, operations, roof::fma(variant.needs)},
            [&](int64_t i) { variant.run(xs, {w.get() + i % copies * rows * cols, rows, cols}, ys); });
}

#if defined(GEMLOUPE_HAVE_EIGEN)
void eigen(benchmark::State& state, const shapes::Shape& shape) {
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const int64_t tokens = state.range(0), size = shape.rows * shape.cols, copies = std::max<int64_t>(1, kCold / (4 * size));
  const std::vector<float> x = random_rows(tokens * shape.cols), some = random_rows(size);
  const auto w = large<float>(copies * size);
  for (int64_t i = 0; i < copies * size; ++i) w.get()[i] = some[i % size];
  Rows y(tokens, shape.rows);
  const Eigen::Map<const Rows> xs(x.data(), tokens, shape.cols);
  const double operations = 2.0 * tokens * size;
  time_cold(state, {4.0 * size, operations, operations, roof::fma(detected_isa())}, [&](int64_t i) {
    y.noalias() = xs * Eigen::Map<const Rows>(w.get() + i % copies * size, shape.rows, shape.cols).transpose();
    benchmark::DoNotOptimize(y.data());
  });
}
#endif

#if defined(GEMLOUPE_HAVE_ONEDNN)
// In float32 or in bfloat16; oneDNN is given the weight in the layout that it likes best.
void onednn(benchmark::State& state, const shapes::Shape& shape, dnnl::memory::data_type type) {
  using tag = dnnl::memory::format_tag;
  const int64_t tokens = state.range(0), size = shape.rows * shape.cols, element = type == dnnl::memory::data_type::f32 ? 4 : 2;
  const int64_t copies = std::max<int64_t>(1, kCold / (element * size));
  const std::vector<float> x = random_rows(tokens * shape.cols), some = random_rows(size, 8);
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const dnnl::memory::desc x_desc({tokens, shape.cols}, type, tag::ab), w_desc({shape.cols, shape.rows}, type, tag::any),
      y_desc({tokens, shape.rows}, type, tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc how(engine, x_desc, w_desc, y_desc);
#else
  const dnnl::matmul::primitive_desc how(dnnl::matmul::desc(x_desc, w_desc, y_desc), engine);
#endif
  const dnnl::matmul product(how);
  const auto convert = [&](dnnl::memory::desc from, const float* values, dnnl::memory::desc to, void* place) {
    dnnl::memory source(from, engine, const_cast<float*>(values)), target(to, engine, place);
    dnnl::reorder(source, target).execute(stream, source, target);
    stream.wait();
    return target;
  };
  const dnnl::memory::desc plain_x({tokens, shape.cols}, dnnl::memory::data_type::f32, tag::ab),
      plain_w({shape.cols, shape.rows}, dnnl::memory::data_type::f32, tag::ba);
  const int64_t each = (static_cast<int64_t>(how.weights_desc().get_size()) + 4095) / 4096 * 4096;
  const auto places = large<uint8_t>(copies * each);
  const dnnl::memory xs = convert(plain_x, x.data(), x_desc, DNNL_MEMORY_ALLOCATE), ys(y_desc, engine);
  std::vector<dnnl::memory> w;
  for (int64_t i = 0; i < copies; ++i) w.push_back(convert(plain_w, some.data(), how.weights_desc(), places.get() + i * each));
  const double operations = 2.0 * tokens * size;
  const double roof = element == 4 ? roof::fma(detected_isa()) : roof::bf16(detected_isa());
  time_cold(state, {static_cast<double>(element * size), operations, operations, roof}, [&](int64_t i) {
    product.execute(stream, {{DNNL_ARG_SRC, xs}, {DNNL_ARG_WEIGHTS, w[i % copies]}, {DNNL_ARG_DST, ys}});
    stream.wait();
  });
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
          floats<float>(s, matmul_float, variant, shape, [](float v) { return v; });
        }));
    for (const auto& variant : matmul_bf16.runnable())
      if (shown(matmul_bf16, variant, shape))
        sizes(add(variant.name, shape, "BF16", [=, &shape](benchmark::State& s) {
          floats<uint16_t>(s, matmul_bf16, variant, shape, float_to_bf16);
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
