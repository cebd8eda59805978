#include <doctest/doctest.h>

#include "kernels/rope/rope.h"
#include "tests/kernels/rows.h"

namespace gemloupe {
namespace {

using namespace tests;

double dot(Rows& a, Rows& b, int64_t t, int64_t width) {
  double sum = 0;
  for (int64_t i = 0; i < width; ++i) sum += static_cast<double>(a.at(t, i)) * b.at(t, i);
  return sum;
}

TEST_SUITE("rope") {
  TEST_CASE("variants agree, also in place and with any number of threads") {
    for (const int head_dim : {2, 8, 24, 30, 34, 40, 72, 256, 512})
      for (const int heads : {1, 3}) {
        const RopeTable table = proportional_rope(head_dim, 1e6, head_dim / 2);
        const std::vector<int32_t> positions = {0, 1, 2, 511, 8191, 131071, 262143, 7, 16777216, 2147483647};
        const int64_t rows = static_cast<int64_t>(positions.size()), width = heads * head_dim;
        Rows x(rows, width, 1), expected(rows, width);
        reference::rope(x.view(), positions.data(), table.inv_freq.data(), head_dim, expected.view());
        for (const auto& variant : rope.runnable()) {
          Threads team(some_threads());
          CAPTURE(variant.name);
          CAPTURE(head_dim);
          Rows y(rows, width, 2), same(rows, width, 1);
          variant.run(x.view(), positions.data(), table.inv_freq.data(), head_dim, y.view());
          CHECK(same_bits(y.view(), expected.view()));
          CHECK(y.gaps_untouched());
          variant.run(same.view(), positions.data(), table.inv_freq.data(), head_dim, same.view());
          CHECK(same_bits(same.view(), expected.view()));
        }
      }
  }

  TEST_CASE("position 0 and frequency 0 change nothing") {
    const RopeTable table = proportional_rope(512, 1e6, 128);
    Rows x(2, 512, 3), y(2, 512);
    const int32_t positions[] = {0, 1000};
    rope(x.view(), positions, table.inv_freq.data(), 512, y.view());
    int rotated = 0;
    for (int i = 0; i < 512; ++i) {
      CHECK(y.at(0, i) == x.at(0, i));
      rotated += y.at(1, i) != x.at(1, i);
    }
    CHECK(rotated == 128);  // pairs (i, i + 256) for i < 64
    CHECK(y.at(1, 63) != x.at(1, 63));
    CHECK(y.at(1, 64) == x.at(1, 64));
    CHECK(y.at(1, 319) != x.at(1, 319));
    CHECK(y.at(1, 320) == x.at(1, 320));
  }

  TEST_CASE("lengths stay, and q . k depends on the distance alone") {
    const RopeTable table = default_rope(64, 10000);
    Rows q(4, 64, 4), k(4, 64, 5);
    for (int t = 1; t < 4; ++t)
      for (int i = 0; i < 64; ++i) {
        q.at(t, i) = q.at(0, i);
        k.at(t, i) = k.at(0, i);
      }
    double size = std::sqrt(dot(q, q, 0, 64) * dot(k, k, 0, 64));
    const int32_t at_q[] = {7, 57, 1007, 4103}, at_k[] = {3, 53, 1003, 4099};
    Rows rq(4, 64), rk(4, 64);
    rope(q.view(), at_q, table.inv_freq.data(), 64, rq.view());
    rope(k.view(), at_k, table.inv_freq.data(), 64, rk.view());
    for (int t = 0; t < 4; ++t) {
      CHECK(dot(rq, rq, t, 64) == doctest::Approx(dot(q, q, t, 64)).epsilon(64 * 0x1p-24));
      // An angle of up to 4103 is rounded to float by 2^-13 at most, on both sides.
      CHECK(std::fabs(dot(rq, rk, t, 64) - dot(rq, rk, 0, 64)) < size * 4 * 0x1p-13);
    }
  }

  TEST_CASE("tables are those of Transformers") {
    const RopeTable sliding = default_rope(256, 10000), full = proportional_rope(512, 1e6, 128),
                    linear = linear_rope(256, 1e6, 8);
    // Values of the specification, written by PyTorch in float32: each within an ulp.
    const auto near = [](float got, double expected) { return ulps(got, expected) <= 1.0; };
    CHECK(sliding.inv_freq.size() == 128);
    CHECK(sliding.inv_freq[0] == 1.0f);
    CHECK(near(sliding.inv_freq[1], 0.930572040929699));
    CHECK(near(sliding.inv_freq[127], 1.0746078283213174e-4));
    CHECK(full.inv_freq.size() == 256);
    CHECK(near(full.inv_freq[1], 0.9474635256553754));
    CHECK(near(full.inv_freq[32], 0.1778279410038923));
    CHECK(near(full.inv_freq[63], 0.033376246942920386));
    for (int i = 64; i < 256; ++i) CHECK(full.inv_freq[i] == 0.0f);
    CHECK(linear.inv_freq[0] == 0.125f);
    CHECK(linear.inv_freq[5] == default_rope(256, 1e6).inv_freq[5] / 8);
  }
}

}  // namespace
}  // namespace gemloupe
