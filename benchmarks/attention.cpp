// attention/ARITHMETIC.VARIANT/MODEL.LAYER/ROWS/KEYS: the last ROWS of KEYS positions, float16 cache.
//
// Rates count what a row sees: two multiply-adds a query head, key and column; the bytes of the keys and values of all rows
// read once. The roof is that of float32 multiply-adds, or of the arithmetic bf16.
#include "benchmarks/rows.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/bf16.h"
#include "kernels/common/half.h"

namespace gemloupe {
namespace {

struct Layer {
  const char* name;
  int heads, kv_heads, head_dim;
  int64_t window;
};
constexpr Layer kLayers[] = {{"270M.sliding", 4, 1, 256, 512},
                             {"E2B.sliding", 8, 1, 256, 512},
                             {"E2B.full", 8, 1, 512, 0},
                             {"12B.sliding", 16, 8, 256, 1024},
                             {"26B.full", 16, 2, 512, 0}};

void rows_and_keys(benchmark::State& state, const Variant<Attention>& variant, Attention* reference, const Layer& layer,
                   double (*roof)(Isa)) {
  const int64_t rows = state.range(0), keys = state.range(1), width = int64_t{layer.kv_heads} * layer.head_dim;
  Rows q(rows, int64_t{layer.heads} * layer.head_dim, 1, 2.0f / std::sqrt(static_cast<float>(layer.head_dim)));
  Rows some(1024, width, 2), y(rows, q.cols, 3), expected(rows, q.cols, 4);
  std::vector<uint16_t> cached(keys * width), values(keys * width);
  for (int64_t i = 0; i < keys * width; ++i) {
    cached[i] = float_to_f16(some.data[i * 7 % some.data.size()]);
    values[i] = float_to_f16(some.data[i * 11 % some.data.size()]);
  }
  const KeyValues cache{cached.data(), values.data(), keys, 0, keys, true, width, width};
  const auto run = [&](Attention* attend, int64_t first, int64_t count, Rows& out) {
    attend({q.view().row(first), count, q.cols}, keys - rows + first, cache, layer.heads, layer.kv_heads, layer.head_dim, 1.0f,
           layer.window, {out.view().row(first), count, q.cols});
  };
  run(variant.run, 0, rows, y);
  const int64_t checked = rows - 1;  // the last row alone: the reference is too slow for all, and a row's bits are its own
  run(reference, checked, 1, expected);
  if (std::memcmp(y.view().row(checked), expected.view().row(checked), q.cols * sizeof(float)))
    return state.SkipWithError("disagrees with the reference");
  double seen = 0;
  for (int64_t t = 0; t < rows; ++t) {
    const Visible v = visible(keys - rows + t, layer.window, 0, keys);
    seen += static_cast<double>(v.last - v.first);
  }
  const double read = layer.window ? std::min<double>(static_cast<double>(keys), static_cast<double>(layer.window + rows))
                                   : static_cast<double>(keys);
  const double operations = 4.0 * seen * layer.heads * layer.head_dim;
  time(state, {4.0 * read * width, operations, operations, roof(variant.needs)}, [&] { run(variant.run, 0, rows, y); });
}

}  // namespace

void register_all() {
  const auto add = [](const char* arithmetic, const Kernel<Attention>& kernel, double (*roof)(Isa), bool decodes) {
    Attention* const reference = kernel.runnable().front().run;
    for (const auto& variant : kernel.runnable())
      for (const Layer& layer : kLayers) {
        if (variant.needs == Isa::reference) continue;
        if (extent != Extent::all && std::strcmp(layer.name, "E2B.full") && variant.run != kernel.runnable().back().run) continue;
        if (extent == Extent::quick && std::strcmp(layer.name, "E2B.full")) continue;
        const std::string name = std::string("attention/") + arithmetic + "." + variant.name + "/" + layer.name;
        auto* b = benchmark::RegisterBenchmark(name.c_str(), rows_and_keys, variant, reference, layer, roof);
        b->UseRealTime()->MinTime(0.05);
        if (decodes) b->Args({1, 512})->Args({1, 8192})->Args({8, 8192});
        if (decodes && !layer.window) b->Args({1, 2048})->Args({1, 32768});
        b->Args({512, 512});
        if (variant.run == kernel.runnable().back().run) b->Args({512, 8192});
      }
  };
  add("exact", attention, roof::fma, true);
  add("bf16", attention_bf16, roof::bf16, false);
}

}  // namespace gemloupe
