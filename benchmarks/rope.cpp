// rope/VARIANT/HEAD_DIM/ROWS: the queries of E2B, 8 heads; 256 rotates whole (sliding layers), 512 a quarter (full layers)
#include "kernels/rope/rope.h"

#include "benchmarks/rows.h"

namespace gemloupe {
namespace {

void rope_rows(benchmark::State& state, const Variant<Rope>& variant) {
  const int head_dim = static_cast<int>(state.range(0));
  const int64_t rows = state.range(1), cols = 8 * head_dim;
  const RopeTable table = head_dim == 512 ? proportional_rope(512, 1e6, 128) : default_rope(head_dim, 1e4);
  std::vector<int32_t> positions(rows);
  for (int64_t t = 0; t < rows; ++t) positions[t] = static_cast<int32_t>(8000 + t);
  Rows x(rows, cols, 1), y(rows, cols, 2), expected(rows, cols, 3);
  reference::rope(x.view(), positions.data(), table.inv_freq.data(), head_dim, expected.view());
  variant.run(x.view(), positions.data(), table.inv_freq.data(), head_dim, y.view());
  if (!y.same_bits(expected)) return state.SkipWithError("disagrees with the reference");
  time(state, {8.0 * rows * cols},
       [&] { variant.run(x.view(), positions.data(), table.inv_freq.data(), head_dim, y.view()); });
}

}  // namespace

void register_all() {
  for (const auto& variant : rope.runnable())
    benchmark::RegisterBenchmark((std::string("rope/") + variant.name).c_str(), rope_rows, variant)
        ->ArgsProduct({{256, 512}, {1, 512}})
        ->UseRealTime()->MinTime(0.05);
}

}  // namespace gemloupe
