#include <doctest/doctest.h>

#include <numeric>

#include "kernels/common/math.h"
#include "kernels/common/sum.h"
#include "kernels/route/route.h"
#include "tests/kernels/rows.h"

namespace gemloupe {
namespace {

using namespace tests;

const Routing kRoutings[] = {Routing::softmax, Routing::softmax_renormalised, Routing::top_k_softmax,
                             Routing::sigmoid_renormalised};

struct Routed {
  std::vector<int32_t> experts;
  Rows weights;
  int64_t k;
  Routed(int64_t rows, int64_t k) : experts(rows * k, -7), weights(rows, k, 5), k(k) {}
  void run(TopK* top, Rows& scores, Routing routing, const float* bias, const float* scale) {
    top(scores.view(), routing, bias, scale, {experts.data(), static_cast<int64_t>(experts.size()) / k, k}, weights.view());
  }
};

TEST_SUITE("route") {
  TEST_CASE("variants agree") {
    for (const int64_t n : {int64_t{1}, int64_t{8}, int64_t{15}, int64_t{17}, int64_t{128}, int64_t{257}})
      for (const int64_t k : {int64_t{1}, int64_t{2}, int64_t{8}, int64_t{20}})
        for (const Routing routing : kRoutings)
          for (const bool extras : {false, true}) {
            const int64_t rows = 40;
            Rows scores(rows, n, 1, 2.0f), bias(1, n, 2, 0.1f), factor(1, n, 3);
            scores.at(1, n / 2) = NAN;
            for (int64_t e = 0; e < n; ++e) scores.at(2, e) = NAN;
            for (int64_t e = 0; e < n; ++e) scores.at(3, e) = 1.5f;
            scores.at(4, n - 1) = INFINITY;
            scores.at(5, 0) = -INFINITY;
            const float* b = extras ? bias.view().data : nullptr;
            const float* f = extras ? factor.view().data : nullptr;
            Routed expected(rows, k);
            expected.run(reference::top_k, scores, routing, b, f);
            for (const auto& variant : top_k.runnable()) {
              Threads team(some_threads());
              Routed got(rows, k);
              got.run(variant.run, scores, routing, b, f);
              CAPTURE(variant.name);
              CAPTURE(n);
              CAPTURE(k);
              CHECK(got.experts == expected.experts);
              CHECK(same_bits(got.weights.view(), expected.weights.view()));
              CHECK(got.weights.gaps_untouched());
            }
          }
  }

  TEST_CASE("Gemma 4's rule against double") {
    Rows scores(20, 128, 7, 2.0f), factor(1, 128, 8);
    for (const auto& variant : top_k.runnable()) {
      Routed got(20, 8);
      got.run(variant.run, scores, Routing::softmax_renormalised, nullptr, factor.view().data);
      for (int64_t t = 0; t < 20; ++t) {
        std::vector<int32_t> order(128);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return scores.at(t, a) > scores.at(t, b); });
        double total = 0;
        for (int i = 0; i < 8; ++i) total += std::exp(static_cast<double>(scores.at(t, order[i])));
        for (int i = 0; i < 8; ++i) {
          CHECK(got.experts[t * 8 + i] == order[i]);
          const double expected = std::exp(static_cast<double>(scores.at(t, order[i]))) / total * factor.at(0, order[i]);
          // The score's difference (up to 16 in size) rounds once; exp_ two, two quotients, the sum of 8 three, the factor one:
          // on both sides of the quotient.
          CHECK(std::fabs(got.weights.at(t, i) - expected) <= std::fabs(expected) * 2 * (16 + 8) * 0x1p-24);
        }
      }
    }
  }

  TEST_CASE("softmax then top-k renormalised is top-k then softmax") {
    Rows scores(30, 64, 9, 2.0f);
    Routed a(30, 6), b(30, 6);
    a.run(reference::top_k, scores, Routing::softmax_renormalised, nullptr, nullptr);
    b.run(reference::top_k, scores, Routing::top_k_softmax, nullptr, nullptr);
    CHECK(a.experts == b.experts);
    for (int64_t t = 0; t < 30; ++t)
      for (int i = 0; i < 6; ++i)
        CHECK(std::fabs(a.weights.at(t, i) - b.weights.at(t, i)) <= 48 * 0x1p-24 * b.weights.at(t, i));
  }

  TEST_CASE("equals go to the lower index, NaN ranks last, missing experts are -1") {
    const float scores[] = {1, NAN, 3, 3, 1, -INFINITY};
    int32_t chosen[8];
    select(scores, 6, 8, chosen);
    const int32_t expected[] = {2, 3, 0, 4, 5, 1, -1, -1};
    for (int i = 0; i < 8; ++i) CHECK(chosen[i] == expected[i]);
    Rows nothing(1, 5);
    for (int e = 0; e < 5; ++e) nothing.at(0, e) = NAN;
    for (const auto& variant : top_k.runnable())
      for (const Routing routing : kRoutings) {
        Routed got(1, 3);
        got.run(variant.run, nothing, routing, nullptr, nullptr);
        CHECK(got.experts == std::vector<int32_t>{0, 1, 2});
        for (int i = 0; i < 3; ++i) CHECK(std::isnan(got.weights.at(0, i)));
      }
  }

  TEST_CASE("a bias chooses and does not weigh") {
    Rows scores(1, 4, 3, 0.5f);
    const float bias[] = {0, 0, 10, 0};
    Routed plain(1, 4), biased(1, 4);
    plain.run(top_k.runnable().back().run, scores, Routing::softmax, nullptr, nullptr);
    biased.run(top_k.runnable().back().run, scores, Routing::softmax, bias, nullptr);
    CHECK(biased.experts[0] == 2);
    const int64_t at = std::find(plain.experts.begin(), plain.experts.end(), 2) - plain.experts.begin();
    CHECK(biased.weights.at(0, 0) == plain.weights.at(0, at));
  }

  TEST_CASE("measures of even and of one-sided loads") {
    Rows flat(8, 4, 0, 0.0f);
    std::vector<int32_t> even = {0, 1, 2, 3, 0, 1, 2, 3}, one(8, 2);
    int64_t counts[4];
    load_counts({even.data(), 8, 1}, 4, counts);
    for (const int64_t c : counts) CHECK(c == 2);
    CHECK(balance_loss(flat.view(), {even.data(), 8, 1}) == doctest::Approx(1.0).epsilon(1e-12));
    CHECK(load_entropy(counts, 4) == doctest::Approx(std::log(4.0)).epsilon(1e-12));
    CHECK(max_violation(counts, 4) == doctest::Approx(0.0));
    CHECK(mean_entropy(flat.view()) == doctest::Approx(std::log(4.0)).epsilon(1e-12));
    CHECK(z_loss(flat.view()) == doctest::Approx(std::log(4.0) * std::log(4.0)).epsilon(1e-12));
    load_counts({one.data(), 8, 1}, 4, counts);
    CHECK(counts[2] == 8);
    CHECK(load_entropy(counts, 4) == 0.0);
    CHECK(max_violation(counts, 4) == doctest::Approx(3.0).epsilon(1e-12));
    for (int t = 0; t < 8; ++t) flat.at(t, 2) = 1000.0f;
    CHECK(balance_loss(flat.view(), {one.data(), 8, 1}) == doctest::Approx(4.0).epsilon(1e-12));
    CHECK(mean_entropy(flat.view()) == doctest::Approx(0.0));
    const std::vector<int32_t> unused = {-1, 7, 1, -1};
    load_counts({unused.data(), 4, 1}, 4, counts);
    CHECK(counts[0] + counts[1] + counts[2] + counts[3] == 1);
  }
}

}  // namespace
}  // namespace gemloupe
