#include <doctest/doctest.h>

#include <map>

#include "kernels/common/math.h"
#include "kernels/sample/sample.h"
#include "tests/kernels/rows.h"

namespace gemloupe {
namespace {

using namespace tests;

std::vector<float> random_logits(int64_t n, uint32_t seed, int levels = 0) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(n);
  for (float& l : logits) l = levels ? std::round(normal(random) * levels) / levels : normal(random);
  return logits;
}

// The distribution by sorting everything, in double: what draw must follow.
std::vector<std::pair<int32_t, double>> sorted_distribution(const std::vector<float>& logits, const Sampling& s) {
  std::vector<std::pair<int32_t, double>> all;
  float largest = -INFINITY;
  for (const float l : logits) largest = l > largest ? l : largest;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > -INFINITY) all.push_back({static_cast<int32_t>(i), exp_((logits[i] - largest) / s.temperature)});
  std::stable_sort(all.begin(), all.end(), [&](auto& a, auto& b) { return logits[a.first] > logits[b.first]; });
  if (s.top_k > 0 && s.top_k < static_cast<int64_t>(all.size())) all.resize(s.top_k);
  double total = 0, before = 0;
  for (auto& c : all) total += c.second;
  size_t kept = 0;
  for (; kept < all.size(); ++kept) {
    const double w = all[kept].second;
    if (w == 0 || (kept && ((s.top_p < 1 && before >= s.top_p * total) || w < s.min_p))) break;
    before += w;
  }
  all.resize(kept);
  for (auto& c : all) c.second /= before;
  return all;
}

TEST_SUITE("sample") {
  TEST_CASE("variants agree: argmax, candidates, mass") {
    for (const int64_t n : {int64_t{1}, int64_t{15}, int64_t{16}, int64_t{17}, int64_t{255}, int64_t{257}, int64_t{5001}})
      for (const int levels : {0, 1}) {  // one level gives thousands of equals
        std::vector<float> logits = random_logits(n, 3, levels);
        if (n > 16) logits[5] = NAN, logits[7] = -INFINITY, logits[9] = 0.0f, logits[10] = -0.0f;
        for (const auto& variant : argmax.runnable()) {
          CAPTURE(variant.name);
          CHECK(variant.run(logits.data(), n) == reference::argmax(logits.data(), n));
        }
        for (const auto& variant : mass.runnable()) {
          CAPTURE(variant.name);
          CHECK(variant.run(logits.data(), n, 9.0f, 0.7f) == reference::mass(logits.data(), n, 9.0f, 0.7f));
        }
        for (const int64_t k : {int64_t{0}, int64_t{1}, int64_t{16}, int64_t{64}, n, n + 5}) {
          std::vector<Candidate> expected(k), got(k);
          const int64_t found = reference::top_candidates(logits.data(), n, k, expected.data());
          for (const auto& variant : top_candidates.runnable()) {
            CAPTURE(variant.name);
            CAPTURE(n);
            CAPTURE(k);
            REQUIRE(variant.run(logits.data(), n, k, got.data()) == found);
            bool same = true;
            for (int64_t i = 0; i < found; ++i)
              same = same && got[i].id == expected[i].id && same_bits(got[i].logit, expected[i].logit);
            CHECK(same);
          }
        }
      }
  }

  TEST_CASE("ascending logits, the worst case of the bar, and equals go to the lower id") {
    std::vector<float> up(20000), flat(20000, 2.5f);
    for (size_t i = 0; i < up.size(); ++i) up[i] = static_cast<float>(i);
    for (const auto& variant : top_candidates.runnable()) {
      Candidate best[3];
      REQUIRE(variant.run(up.data(), 20000, 3, best) == 3);
      CHECK(best[0].id == 19999);
      CHECK(best[2].id == 19997);
      REQUIRE(variant.run(flat.data(), 20000, 3, best) == 3);
      for (int i = 0; i < 3; ++i) CHECK(best[i].id == i);
    }
    for (const auto& variant : argmax.runnable()) CHECK(variant.run(flat.data(), 20000) == 0);
  }

  TEST_CASE("nothing eligible gives -1, and NaN never wins") {
    const std::vector<float> none(40, -INFINITY), nan(40, NAN);
    for (const auto& variant : argmax.runnable()) {
      CHECK(variant.run(none.data(), 40) == -1);
      CHECK(variant.run(nan.data(), 40) == -1);
      CHECK(variant.run(nan.data(), 0) == -1);
    }
    CHECK(draw(none.data(), 40, {}, 0.5) == -1);
    CHECK(draw(nan.data(), 40, {}, 0.5) == -1);
    std::vector<float> some = nan;
    some[33] = -5;
    CHECK(draw(some.data(), 40, {}, 0.999) == 33);
    some[20] = INFINITY;
    CHECK(draw(some.data(), 40, {}, 0.999) == 20);
  }

  TEST_CASE("draw inverts the cumulative distribution of a full sort") {
    std::mt19937 random(5);
    std::uniform_real_distribution<double> uniform(0, 1);
    for (const int64_t n : {int64_t{3}, int64_t{100}, int64_t{5000}})
      for (const Sampling s : {Sampling{1.0f, 0, 1.0f, 0.0f}, Sampling{0.7f, 64, 0.95f, 0.0f}, Sampling{1.5f, 0, 0.9f, 0.0f},
                               Sampling{3.0f, 0, 1.0f, 0.01f}, Sampling{1.0f, 7, 1.0f, 0.2f}, Sampling{100.0f, 0, 1.0f, 0.0f},
                               Sampling{1.0f, 0, 0.0f, 0.0f}, Sampling{0.01f, 0, 1.0f, 0.0f}}) {
        std::vector<float> logits = random_logits(n, 11);
        logits[1] = -INFINITY;
        const auto expected = sorted_distribution(logits, s);
        std::vector<Candidate> kept(n);
        std::vector<double> p(n);
        const int64_t count = kept_candidates(logits.data(), n, s, n, kept.data(), p.data());
        REQUIRE(count == static_cast<int64_t>(expected.size()));
        for (int64_t i = 0; i < count; ++i) {
          CHECK(kept[i].id == expected[i].first);
          // Sums of n positive doubles in two orders, and differences of cumulative sums.
          CHECK(std::fabs(p[i] - expected[i].second) <= static_cast<double>(n) * 4 * 0x1p-53);
        }
        int wrong = 0;
        for (int i = 0; i < 200; ++i) {
          const double u = i == 0 ? 0.0 : i == 1 ? 0x1.fffffffffffffp-1 : uniform(random);
          const int32_t id = draw(logits.data(), n, s, u);
          double before = 0;
          size_t at = 0;
          while (at < expected.size() && expected[at].first != id) before += expected[at++].second;
          const double slack = static_cast<double>(n) * 4 * 0x1p-53;
          wrong += at == expected.size() || u < before - slack || u > before + expected[at].second + slack;
        }
        CHECK(wrong == 0);
      }
  }

  TEST_CASE("temperature zero and top-k one take the best; the best survives every cut") {
    const std::vector<float> logits = random_logits(1000, 13);
    const int32_t best = static_cast<int32_t>(argmax(logits.data(), int64_t{1000}));
    for (const double u : {0.0, 0.3, 0.99999}) {
      CHECK(draw(logits.data(), 1000, {0.0f, 0, 1.0f, 0.0f}, u) == best);
      CHECK(draw(logits.data(), 1000, {1.0f, 1, 1.0f, 0.0f}, u) == best);
      CHECK(draw(logits.data(), 1000, {1.0f, 0, 1e-9f, 0.0f}, u) == best);
      CHECK(draw(logits.data(), 1000, {1.0f, 0, 1.0f, 1.0f}, u) == best);
    }
  }

  TEST_CASE("draws follow the instruction set nowhere") {
    const std::vector<float> logits = random_logits(4000, 17);
    std::map<int32_t, int> seen;
    const Isa before = isa();
    for (int level = 0; level < kIsas; ++level) {
      limit_isa(static_cast<Isa>(level));
      for (int i = 0; i < 100; ++i) ++seen[draw(logits.data(), 4000, {1.3f, 0, 1.0f, 0.0f}, i / 100.0) * 100 + i];
    }
    limit_isa(before);
    CHECK(seen.size() == 100);
  }

  TEST_CASE("a penalty is taken once a token and moves both signs down") {
    float logits[] = {2, -2, 0, 4};
    const int32_t ids[] = {0, 1, 0, 0, -5, 99};
    penalise(logits, 4, ids, 2.0f);
    CHECK(logits[0] == 1.0f);
    CHECK(logits[1] == -4.0f);
    CHECK(logits[3] == 4.0f);
  }
}

}  // namespace
}  // namespace gemloupe
