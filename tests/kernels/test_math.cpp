// exp_, tanh_ and sincos_ against double, and their vector versions (seen through kernels) against the scalar ones.
#include <doctest/doctest.h>

#include "kernels/common/math.h"
#include "kernels/gelu_gate/gelu_gate.h"
#include "kernels/rope/rope.h"
#include "kernels/sample/sample.h"
#include "kernels/softcap/softcap.h"
#include "tests/kernels/rows.h"

namespace gemloupe {
namespace {

using namespace tests;

const float kOdd[] = {0.0f,           -0.0f,           INFINITY,      -INFINITY,      NAN,       1e-45f,      -1e-45f,
                      1.1754942e-38f, -1.1754942e-38f, 3.4028235e38f, -3.4028235e38f, 0.625f,    0.62499994f, -0.625f,
                      -87.33654f,     -87.33655f,      -87.3f,        88.72283f,      88.72284f, 88.5f,       -103.0f,
                      9.0f,           10.0f,           -10.0f};

// Every 1021st float, the odd ones too: a prime step visits every exponent with ever different fractions.
template <class Body>
void for_floats(Body&& body) {
  for (const float x : kOdd) body(x);
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 1021) body(bits_to_float(static_cast<uint32_t>(bits)));
}

TEST_SUITE("math") {
  TEST_CASE("exp_ is within one ulp where the result is a normal number") {
    double worst = 0;
    for_floats([&](float x) {
      const float got = exp_(x);
      if (x < math::kExpLow) {
        if (got != 0.0f) worst = INFINITY;
      } else {
        worst = std::max(
            worst,
            ulps(got, std::exp(static_cast<double>(x)) > 3.4028235677973366e38 ? INFINITY : std::exp(static_cast<double>(x))));
      }
    });
    CHECK(worst < 1.0);
    CHECK(std::signbit(exp_(-INFINITY)) == false);
    CHECK(exp_(0.0f) == 1.0f);
    CHECK(exp_(-0.0f) == 1.0f);
    CHECK(std::exp(static_cast<double>(math::kExpLow)) < 1.17549436e-38);  // nothing that rounds to a normal number is dropped
  }

  TEST_CASE("tanh_ is within two ulps, odd, and keeps the sign of zero") {
    double worst = 0;
    bool odd = true;
    for_floats([&](float x) {
      worst = std::max(worst, ulps(tanh_(x), std::tanh(static_cast<double>(x))));
      odd = odd && same_bits(tanh_(-x), -tanh_(x));
    });
    CHECK(worst < 2.0);
    CHECK(odd);
    CHECK(float_to_bits(tanh_(-0.0f)) == 0x80000000u);
    CHECK(tanh_(INFINITY) == 1.0f);
    CHECK(tanh_(-INFINITY) == -1.0f);
  }

  TEST_CASE("tanh_ and exp_ never step down") {
    float t = tanh_(0.5f), e = exp_(-1.0f);
    int down = 0;
    for (uint32_t bits = float_to_bits(0.5f); bits < float_to_bits(1.0f); ++bits) {
      const float next = tanh_(bits_to_float(bits));
      down += next < std::nextafter(std::nextafter(t, 0.0f), 0.0f);  // errors under two ulps may cross, no more
      t = next;
      const float next_e = exp_(bits_to_float(bits) - 1.5f);
      down += next_e < std::nextafter(std::nextafter(e, 0.0f), 0.0f) && bits > float_to_bits(0.5f);
      e = next_e;
    }
    CHECK(down == 0);
  }

  TEST_CASE("sincos_ rounds the true values") {
    double worst = 0;
    std::mt19937 random(1);
    std::uniform_real_distribution<float> angle(0, 300000);
    for (int i = 0; i < 200000; ++i) {
      const float x = i % 3 == 0 ? angle(random) / 1e5f : i % 3 == 1 ? angle(random) : static_cast<float>(i);
      float sine, cosine;
      sincos_(i % 2 ? x : -x, sine, cosine);
      worst = std::max(worst, ulps(sine, std::sin(static_cast<double>(i % 2 ? x : -x))));
      worst = std::max(worst, ulps(cosine, std::cos(static_cast<double>(x))));
    }
    CHECK(worst < 0.5001);
    float sine, cosine;
    sincos_(0.0f, sine, cosine);
    CHECK(float_to_bits(sine) == 0u);
    CHECK(cosine == 1.0f);
    sincos_(INFINITY, sine, cosine);
    CHECK(std::isnan(sine));
    CHECK(std::isnan(cosine));
  }

  TEST_CASE("vector versions have the scalar bits") {
    std::vector<float> x;
    for_floats([&](float v) { x.push_back(v); });
    const int64_t n = static_cast<int64_t>(x.size());
    std::vector<float> ones(n, 1.0f), y(n);
    for (const auto& variant : softcap.runnable()) {
      CAPTURE(variant.name);
      variant.run({x.data(), 1, n}, 1.0f, {y.data(), 1, n});  // x / 1 and 1 * tanh are exact
      int64_t wrong = 0;
      for (int64_t i = 0; i < n; ++i) wrong += !same_bits(y[i], tanh_(x[i]));
      CHECK(wrong == 0);
    }
    for (const auto& variant : gelu_gate.runnable()) {
      CAPTURE(variant.name);
      variant.run({x.data(), 1, n}, {ones.data(), 1, n}, {y.data(), 1, n});
      int64_t wrong = 0;
      for (int64_t i = 0; i < n; ++i) wrong += !same_bits(y[i], gelu_(x[i]));
      CHECK(wrong == 0);
    }
    for (const auto& variant : mass.runnable()) {
      CAPTURE(variant.name);
      int64_t wrong = 0;
      for (int64_t i = 0; i < n; ++i) {
        if (!(std::fabs(x[i]) < 200)) continue;
        wrong += variant.run(&x[i], 1, 0.0f, 1.0f) != static_cast<double>(exp_(x[i]));
      }
      CHECK(wrong == 0);
    }
    // Positions of 1 make the frequencies the angles; (1, 0) turns into (cos, sin).
    const int heads = 40, pairs = heads * 1000;
    std::vector<float> in(2 * pairs, 0.0f), out(2 * pairs);
    std::fill_n(in.begin(), pairs, 1.0f);
    const int32_t one = 1;
    for (const auto& variant : rope.runnable()) {
      CAPTURE(variant.name);
      variant.run({in.data(), 1, 2 * pairs}, &one, x.data() + n / 4, 2 * pairs, {out.data(), 1, 2 * pairs});
      int64_t wrong = 0;
      for (int64_t i = 0; i < pairs; ++i) {
        float sine, cosine;
        sincos_(x[n / 4 + i], sine, cosine);
        wrong += !same_bits(out[i], std::fma(1.0f, cosine, -(0.0f * sine))) ||
                 !same_bits(out[i + pairs], std::fma(0.0f, cosine, sine));
      }
      CHECK(wrong == 0);
    }
  }
}

}  // namespace
}  // namespace gemloupe
