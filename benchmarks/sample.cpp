// argmax, candidates (64), mass: VARIANT over Gemma's 262144 logits; draw: temperature 1 with and without top-k and top-p
#include "kernels/sample/sample.h"

#include "benchmarks/rows.h"

namespace gemloupe {
namespace {

constexpr int64_t kVocabulary = 262144;

Rows& logits() {
  static Rows row(1, kVocabulary, 1, 3.0f);
  return row;
}

}  // namespace

void register_all() {
  for (const auto& variant : argmax.runnable())
    benchmark::RegisterBenchmark((std::string("argmax/") + variant.name).c_str(), [variant](benchmark::State& state) {
      const float* row = logits().data.data();
      if (variant.run(row, kVocabulary) != reference::argmax(row, kVocabulary))
        return state.SkipWithError("disagrees with the reference");
      time(state, {4.0 * kVocabulary}, [&] { benchmark::DoNotOptimize(variant.run(row, kVocabulary)); });
    })->UseRealTime()->MinTime(0.05);
  for (const auto& variant : top_candidates.runnable())
    benchmark::RegisterBenchmark((std::string("candidates/") + variant.name).c_str(), [variant](benchmark::State& state) {
      const float* row = logits().data.data();
      Candidate best[64], expected[64];
      reference::top_candidates(row, kVocabulary, 64, expected);
      variant.run(row, kVocabulary, 64, best);
      if (std::memcmp(best, expected, sizeof best)) return state.SkipWithError("disagrees with the reference");
      time(state, {4.0 * kVocabulary}, [&] { variant.run(row, kVocabulary, 64, best); });
    })->UseRealTime()->MinTime(0.05);
  for (const auto& variant : mass.runnable())
    benchmark::RegisterBenchmark((std::string("mass/") + variant.name).c_str(), [variant](benchmark::State& state) {
      const float* row = logits().data.data();
      if (variant.run(row, kVocabulary, 12.0f, 1.0f) != reference::mass(row, kVocabulary, 12.0f, 1.0f))
        return state.SkipWithError("disagrees with the reference");
      time(state, {4.0 * kVocabulary},
           [&] { benchmark::DoNotOptimize(variant.run(row, kVocabulary, 12.0f, 1.0f)); });
    })->UseRealTime()->MinTime(0.05);
  const std::pair<const char*, Sampling> settings[] = {
      {"draw/all", {}}, {"draw/top_k_64.top_p_0.95", {1.0f, 64, 0.95f, 0.0f}}, {"draw/top_p_0.95", {1.0f, 0, 0.95f, 0.0f}}};
  for (const auto& [name, sampling] : settings)
    benchmark::RegisterBenchmark(name, [sampling = sampling](benchmark::State& state) {
      double uniform = 0;
      time(state, {4.0 * kVocabulary}, [&] {
        uniform += 0.618;
        uniform -= uniform >= 1;
        benchmark::DoNotOptimize(draw(logits().data.data(), kVocabulary, sampling, uniform));
      });
    })->UseRealTime()->MinTime(0.05);
}

}  // namespace gemloupe
