// gather/VARIANT/COLS/ROWS, from a table of 65536 rows
#include "kernels/gather/gather.h"

#include "benchmarks/rows.h"

namespace gemloupe {
namespace {

void gather_rows(benchmark::State& state, const Variant<Gather>& variant) {
  const int64_t cols = state.range(0), rows = state.range(1);
  static Rows table(65536, 640, 1);
  const Matrix<const float> from(table.data.data(), table.rows * table.cols / cols, cols);
  std::mt19937 random(2);
  std::vector<int32_t> ids(rows);
  for (auto& id : ids) id = static_cast<int32_t>(random() % from.rows);
  Rows y(rows, cols, 3), expected(rows, cols, 4);
  reference::gather(from, ids.data(), 39.2f, expected.view());
  variant.run(from, ids.data(), 39.2f, y.view());
  if (!y.same_bits(expected)) return state.SkipWithError("disagrees with the reference");
  time(state, variant.needs, 8.0 * rows * cols, 0, [&] { variant.run(from, ids.data(), 39.2f, y.view()); });
}

}  // namespace

void register_all() {
  for (const auto& variant : gather.runnable())
    benchmark::RegisterBenchmark((std::string("gather/") + variant.name).c_str(), gather_rows, variant)
        ->ArgsProduct({{640, 1536}, {1, 512}})
        ->UseRealTime();
}

}  // namespace gemloupe
