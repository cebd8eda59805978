// rms_norm, gelu_gate, softcap, add, scale and ple_combine: variants against the reference, and what must hold anyway.
#include <doctest/doctest.h>

#include "kernels/add/add.h"
#include "kernels/gelu_gate/gelu_gate.h"
#include "kernels/ple/ple.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/softcap/softcap.h"
#include "tests/kernels/rows.h"

namespace gemloupe {
namespace {

using namespace tests;

// Runs every variant with 1, 2 and 5 threads over awkward shapes; call(run, x, z, y) fills y from the inputs x and z.
template <class Fn, class Call>
void agree(const Kernel<Fn>& kernel, Call call) {
  for (const int64_t cols :
       {int64_t{1}, int64_t{15}, int64_t{16}, int64_t{17}, int64_t{255}, int64_t{257}, int64_t{640}, int64_t{5000}})
    for (const int64_t rows : {int64_t{0}, int64_t{1}, int64_t{7}, int64_t{70}}) {
      Rows x(rows, cols, 1, 3.0f), z(rows, cols, 2), expected(rows, cols);
      if (rows > 2) x.at(2, cols / 2) = NAN;
      if (rows > 3) x.at(3, cols - 1) = -INFINITY;
      if (rows > 4) x.at(4, 0) = 1e-42f;
      call(kernel.runnable().front().run, x.view(), z.view(), expected.view());
      for (const auto& variant : kernel.runnable()) {
        Threads team(some_threads());
        Rows y(rows, cols, 3);
        call(variant.run, x.view(), z.view(), y.view());
        CAPTURE(variant.name);
        CAPTURE(cols);
        CAPTURE(rows);
        CHECK(same_bits(y.view(), expected.view()));
        CHECK(y.gaps_untouched());
        Rows in_place(rows, cols, 1, 3.0f);
        for (int64_t t = 0; t < rows; ++t)
          for (int64_t i = 0; i < cols; ++i) in_place.at(t, i) = x.at(t, i);
        call(variant.run, in_place.view(), z.view(), in_place.view());
        CHECK(same_bits(in_place.view(), expected.view()));
      }
    }
}

TEST_SUITE("rms_norm") {
  TEST_CASE("variants agree") {
    Rows scale(1, 5000, 9);
    for (const float factor : {1.0f, 0.125f}) {
      agree(rms_norm, [&](RmsNorm* run, auto x, auto, auto y) { run(x, scale.view().data, 1e-6f, factor, y); });
      agree(rms_norm, [&](RmsNorm* run, auto x, auto, auto y) { run(x, nullptr, 1e-6f, factor, y); });
    }
  }

  TEST_CASE("the result has mean square one, whatever the size of the input") {
    for (const float spread : {1e-2f, 1.0f, 1e5f}) {
      Rows x(3, 640, 11, spread), y(3, 640);
      rms_norm(x.view(), nullptr, 0.0f, 1.0f, y.view());
      for (int64_t t = 0; t < 3; ++t) {
        double squares = 0;
        for (int64_t i = 0; i < 640; ++i) squares += static_cast<double>(y.at(t, i)) * y.at(t, i);
        // 40 fused additions a lane, 4 folds, and division, root, reciprocal, product: each rounds by 2^-24 at most.
        CHECK(std::fabs(squares / 640 - 1) < 2 * (44 + 4) * 0x1p-24);
      }
    }
  }

  TEST_CASE("a power of two as factor only moves the exponent; zeros stay zeros") {
    Rows x(2, 33, 12), a(2, 33), b(2, 33);
    rms_norm(x.view(), nullptr, 1e-6f, 1.0f, a.view());
    rms_norm(x.view(), nullptr, 1e-6f, 0.25f, b.view());
    for (int64_t i = 0; i < 33; ++i) CHECK(b.at(1, i) == 0.25f * a.at(1, i));
    Rows zeros(1, 33, 0, 0.0f);
    rms_norm(zeros.view(), nullptr, 1e-6f, 1.0f, a.view());
    CHECK(a.at(0, 7) == 0.0f);
  }
}

TEST_SUITE("gelu_gate") {
  TEST_CASE("variants agree") {
    agree(gelu_gate, [](GeluGate* run, auto x, auto z, auto y) { run(x, z, y); });
    agree(gelu_gate, [](GeluGate* run, auto x, auto z, auto y) { run(z, x, y); });
  }

  TEST_CASE("gelu is the identity far above zero, zero far below, and a half of both at zero's sides") {
    const float gates[] = {0.0f, 20.0f, -20.0f, 1.0f, -1.0f};
    const float up[] = {2.0f, 2.0f, 2.0f, 1.0f, 1.0f};
    float y[5];
    gelu_gate(Matrix<const float>{gates, 1, 5}, Matrix<const float>{up, 1, 5}, Matrix<float>{y, 1, 5});
    CHECK(y[0] == 0.0f);
    CHECK(y[1] == 40.0f);
    CHECK(y[2] == 0.0f);
    CHECK(y[3] + y[4] == doctest::Approx(0.8411919906 - 0.1588080094).epsilon(1e-6));  // gelu(1) + gelu(-1), six roundings
  }
}

TEST_SUITE("softcap") {
  TEST_CASE("variants agree") {
    agree(softcap, [](Softcap* run, auto x, auto, auto y) { run(x, 30.0f, y); });
  }

  TEST_CASE("the result stays within the cap, and small values pass") {
    const float x[] = {1e30f, -INFINITY, 1e-20f, 31.0f};
    float y[4];
    softcap(Matrix<const float>{x, 1, 4}, 30.0f, Matrix<float>{y, 1, 4});
    CHECK(y[0] == 30.0f);
    CHECK(y[1] == -30.0f);
    CHECK(y[2] == doctest::Approx(1e-20f).epsilon(1e-6));
    CHECK(y[3] < 30.0f);
  }
}

TEST_SUITE("add") {
  TEST_CASE("variants agree") {
    agree(add, [](Add* run, auto x, auto z, auto y) { run(x, z, y); });
    agree(add, [](Add* run, auto x, auto z, auto y) { run(z, x, y); });
    agree(scale, [](Scale* run, auto x, auto, auto y) { run(x, 0.3f, y); });
  }
}

TEST_SUITE("ple") {
  TEST_CASE("variants agree") {
    agree(ple_combine, [](PleCombine* run, auto x, auto z, auto y) { run(x, z, y); });
  }

  TEST_CASE("the sum of two unit vectors at right angles keeps its length") {
    const float a[] = {1, 0}, b[] = {0, 1};
    float y[2];
    ple_combine(Matrix<const float>{a, 1, 2}, Matrix<const float>{b, 1, 2}, Matrix<float>{y, 1, 2});
    CHECK(std::fabs(y[0] * y[0] + y[1] * y[1] - 1) <= 4 * 0x1p-24);
  }
}

}  // namespace
}  // namespace gemloupe
