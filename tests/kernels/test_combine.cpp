#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "kernels/common/half.h"
#include "kernels/experts/combine.h"

using namespace gemloupe;

TEST_SUITE("experts") {
  TEST_CASE("combine_experts: variants give the reference's bits") {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (const int64_t cols : {1, 7, 16, 31, 48, 100, 513})
      for (const int64_t rows : {1, 2, 37})
        for (const int64_t slots : {1, 2, 8}) {
          INFO(rows, " rows of ", cols, ", slots ", slots);
          std::vector<float> x(rows * slots * cols), weights(rows * slots), expected(rows * cols);
          std::vector<int32_t> experts(rows * slots);
          for (float& v : x) v = normal(random);
          for (float& v : weights) v = normal(random);
          for (int32_t& e : experts) e = static_cast<int32_t>(random() % 5) - 1;
          for (int64_t i = 0; i < rows * slots; ++i)  // what an unused slot holds must not matter
            if (experts[i] < 0) x[i * cols] = bits_to_float(0x7fc00000);
          const auto combine = [&](CombineExperts* run, std::vector<float>& y) {
            run({x.data(), rows * slots, cols}, {experts.data(), rows, slots}, {weights.data(), rows, slots}, {y.data(), rows, cols});
          };
          combine(reference::combine_experts, expected);
          double sum = 0;
          for (int64_t s = 0; s < slots; ++s)
            if (experts[s] >= 0) sum += static_cast<double>(weights[s]) * x[s * cols];
          CHECK(expected[0] == doctest::Approx(sum).epsilon(1e-5));
          for (const auto& variant : combine_experts.runnable()) {
            CAPTURE(variant.name);
            std::vector<float> y(rows * cols, 1.0f);
            combine(variant.run, y);
            CHECK(y == expected);
          }
        }
  }
}
