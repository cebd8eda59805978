// Over 400 lines: one room, and every case checks several kernels side by side.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/codes/codes.h"
#include "kernels/common/half.h"
#include "kernels/common/sum.h"
#include "kernels/common/team.h"
#include "kernels/experts/experts.h"
#include "kernels/matmul/exact.h"
#include "kernels/matmul/float.h"

using namespace gemloupe;

namespace {

// A format for these tests: a row is whole groups, each a float scale, perhaps a float minimum, and a byte a code.
struct Plain {
  int group;
  bool has_min;
};

void decode_plain(const void* context, const uint8_t* at, int64_t cols, uint8_t* code, float* scale, float* min) {
  const Plain& plain = *static_cast<const Plain*>(context);
  for (int64_t g = 0; g < cols / plain.group; ++g) {
    std::memcpy(scale + g, at, 4);
    at += 4;
    if (plain.has_min) std::memcpy(min + g, at, 4), at += 4;
    std::memcpy(code + g * plain.group, at, plain.group);
    at += plain.group;
  }
}
const Kernel<DecodeCodes> plain_decoder = {{"reference", Isa::reference, decode_plain}};

struct Weights {
  Plain plain;
  std::vector<uint8_t> bytes;
  PackedRows rows;
};

void make(Weights& w, int64_t rows, int64_t cols, int group, int offset, bool has_min, std::mt19937& random) {
  w.plain = {group, has_min};
  const int header = has_min ? 8 : 4;
  const int64_t groups = (cols + group - 1) / group, row_bytes = groups * (header + group);
  w.bytes.resize(rows * row_bytes);
  std::normal_distribution<float> normal;
  uint8_t* at = w.bytes.data();
  for (int64_t g = 0; g < rows * groups; ++g) {
    const float values[2] = {normal(random) / 100, normal(random) / 10};
    std::memcpy(at, values, header);
    at += header;
    for (int i = 0; i < group; ++i) *at++ = static_cast<uint8_t>(std::min<int>(random() % 256, offset + 128));
  }
  w.rows = {w.bytes.data(), rows, cols, row_bytes, {group, group + header, group, offset, has_min}, &plain_decoder, &w.plain};
}

std::vector<float> random_rows(int64_t n, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

bool same_bits(float a, float b) { return (a != a && b != b) || float_to_bits(a) == float_to_bits(b); }

int64_t differing(const std::vector<float>& a, const std::vector<float>& b) {
  int64_t n = 0;
  for (size_t i = 0; i < a.size(); ++i) n += !same_bits(a[i], b[i]);
  return n;
}

// Strides that are no multiple of anything, and a sentinel in the gaps.
struct Output {
  std::vector<float> data;
  Matrix<float> view;
  Output(int64_t rows, int64_t cols, int64_t gap = 3)
      : data(rows * (cols + gap), -77.0f), view(data.data(), rows, cols, cols + gap) {}
};

struct Threads {
  int before = threads();
  explicit Threads(int n) { set_threads(n); }
  ~Threads() { set_threads(before); }
};

struct Shape {
  int64_t cols;
  int group, offset;
  bool has_min;
};
const Shape kShapes[] = {{16, 16, 8, false},     {48, 32, 0, true},     {72, 32, 128, false},  {256, 64, 16, false},
                         {640, 16, 32, false},   {640, 32, 0, true},    {1152, 128, 128, false}, {1152, 16, 0, true},
                         {2048, 32, 8, false},   {2063, 256, 128, true}, {3, 16, 128, false},  {2100, 32, 16, false},
                         {2063, 2064, 128, true}, {1500, 592, 0, false}, {1200, 1024, 8, true}};

}  // namespace

TEST_SUITE("matmul") {
  TEST_CASE("exact: every variant gives the reference's bits, whatever the threads") {
    std::mt19937 random(1);
    for (const Shape& shape : kShapes)
      for (const int64_t rows : {1, 15, 16, 17, 33, 257}) {
        Weights w;
        make(w, rows, shape.cols, shape.group, shape.offset, shape.has_min, random);
        for (const int64_t tokens : {1, 2, 3, 5, 17}) {
          const std::vector<float> data = random_rows(tokens * (shape.cols + 5) + 1, random);
          const Matrix<const float> x(data.data() + 1, tokens, shape.cols, shape.cols + 5);
          Output expected(tokens, rows);
          matmul_exact.runnable().front().run(x, w.rows, expected.view);
          for (const auto& variant : matmul_exact.runnable())
            for (const int team : {1, 2, 5}) {
              Threads limit(team);
              Output y(tokens, rows);
              variant.run(x, w.rows, y.view);
              INFO(variant.name, " cols ", shape.cols, " group ", shape.group, " rows ", rows, " tokens ", tokens);
              INFO("threads ", team);
              CHECK(differing(expected.data, y.data) == 0);
            }
        }
      }
  }

  TEST_CASE("exact: the formula, within the rounding of its floats") {
    std::mt19937 random(2);
    for (const Shape& shape : kShapes) {
      Weights w;
      make(w, 5, shape.cols, shape.group, shape.offset, shape.has_min, random);
      const std::vector<float> x = random_rows(shape.cols, random);
      Output y(1, 5, 0);
      matmul_exact.runnable().front().run({x.data(), 1, shape.cols}, w.rows, y.view);
      const int64_t groups = (shape.cols + shape.group - 1) / shape.group, runs = groups * ((shape.group + 255) / 256);
      std::vector<uint8_t> code(groups * shape.group);
      std::vector<float> scale(groups), min(groups);
      double largest = 0;
      for (const float v : x) largest = std::max(largest, std::fabs(static_cast<double>(v)));
      for (int r = 0; r < 5; ++r) {
        decode_plain(&w.plain, w.rows.data + r * w.rows.row_bytes, groups * shape.group, code.data(), scale.data(), min.data());
        double sum = 0, size = 0, weight_size = 0;
        for (int64_t i = 0; i < shape.cols; ++i) {
          const int64_t g = i / shape.group;
          const double difference = static_cast<double>(scale[g]) * (code[i] - shape.offset), low = shape.has_min ? min[g] : 0;
          sum += x[i] * (difference + low);
          size += std::fabs(x[i]) * (std::fabs(difference) + std::fabs(low));
          weight_size += std::fabs(difference + low);
        }
        // Half a step of the activation for every weight; then a rounding a run for S, one for each fma, two for s and y, and
        // three inside q (factor, product, s) that a half step does not cover.
        const double step = largest / 32639, eps = std::numeric_limits<float>::epsilon() / 2;
        const double bound = weight_size * step / 2 + (3.0 * runs + 8) * eps * (size + weight_size * step);
        CHECK(std::fabs(y.data[r] - sum) <= bound);
      }
    }
  }

  TEST_CASE("exact: integers come through without any error") {
    // x of multiples of m / 32639 with m = 32639, scales of powers of two: every operation is exact.
    const int64_t cols = 96;
    std::mt19937 random(3);
    Weights w;
    make(w, 17, cols, 32, 128, false, random);
    for (int r = 0; r < 17; ++r)
      for (int g = 0; g < 3; ++g) {
        const float scale = std::ldexp(1.0f, g - 1);
        std::memcpy(w.bytes.data() + r * w.rows.row_bytes + g * 36, &scale, 4);
      }
    std::vector<float> x(cols);
    for (float& v : x) v = static_cast<float>(static_cast<int>(random() % 201) - 100);
    x[5] = -32639;
    Output y(1, 17, 0);
    for (const auto& variant : matmul_exact.runnable()) {
      variant.run({x.data(), 1, cols}, w.rows, y.view);
      for (int r = 0; r < 17; ++r) {
        double sum = 0;
        for (int i = 0; i < cols; ++i)
          sum += x[i] * std::ldexp(1.0, i / 32 - 1) * (w.bytes[r * w.rows.row_bytes + i / 32 * 36 + 4 + i % 32] - 128);
        CHECK(y.data[r] == sum);
      }
    }
  }

  TEST_CASE("exact: the largest codes and activations do not overflow") {
    for (const int group : {16, 256, 512})
      for (const int sign : {1, -1}) {
        Weights w;
        std::mt19937 random(4);
        make(w, 16, 512, group, 0, true, random);
        const float scale = 1, min = 0;
        for (int r = 0; r < 16; ++r)
          for (int g = 0; g < 512 / group; ++g) {
            uint8_t* at = w.bytes.data() + r * w.rows.row_bytes + g * (group + 8);
            std::memcpy(at, &scale, 4), std::memcpy(at + 4, &min, 4), std::memset(at + 8, 255, group);
          }
        const std::vector<float> x(512, sign * 32639.0f);
        Output y(1, 16, 0);
        for (const auto& variant : matmul_exact.runnable()) {
          variant.run({x.data(), 1, 512}, w.rows, y.view);
          for (const float v : y.data) CHECK(v == doctest::Approx(sign * 512.0 * 255 * 32639).epsilon(1e-6));
        }
      }
  }

  TEST_CASE("exact: a row alone, in a batch of forty, and among odd neighbours has the same bits") {
    std::mt19937 random(5);
    const int64_t cols = 1152, rows = 49, tokens = 40;
    Weights w;
    make(w, rows, cols, 32, 8, false, random);
    std::vector<float> x = random_rows(tokens * cols, random);
    const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    x[3 * cols + 7] = inf, x[4 * cols + 1151] = nan, x[6 * cols] = -inf;
    std::fill_n(x.begin() + 5 * cols, cols, 0.0f);                           // zeros
    for (int64_t i = 0; i < cols; ++i) x[7 * cols + i] *= 1e-42f;            // denormal
    for (int64_t i = 0; i < cols; ++i) x[8 * cols + i] *= 1e37f;             // near the end of the range
    for (int64_t i = 0; i < cols; ++i) x[9 * cols + i] *= 0x1p-101f;         // partly below what counts as zero
    x[10 * cols] = 0x1p-100f;
    Output expected(tokens, rows);
    matmul_exact.runnable().front().run({x.data(), tokens, cols}, w.rows, expected.view);
    for (int64_t r = 0; r < rows; ++r) {
      for (const int64_t t : {3, 4, 6}) CHECK(std::isnan(expected.view.row(t)[r]));
      for (const int64_t t : {5, 7}) CHECK(expected.view.row(t)[r] == 0.0f);
      for (const int64_t t : {0, 2, 10, 39}) CHECK(std::isfinite(expected.view.row(t)[r]));
    }
    for (const auto& variant : matmul_exact.runnable()) {
      INFO(variant.name);
      Output all(tokens, rows);
      variant.run({x.data(), tokens, cols}, w.rows, all.view);
      CHECK(differing(expected.data, all.data) == 0);
      for (int64_t t = 0; t < tokens; ++t) {
        Output one(1, rows);
        variant.run({x.data() + t * cols, 1, cols}, w.rows, one.view);
        for (int64_t r = 0; r < rows; ++r) CHECK(same_bits(one.data[r], all.view.row(t)[r]));
      }
    }
  }

  TEST_CASE("exact: an infinite or NaN scale spoils its own row only") {
    std::mt19937 random(6);
    Weights w;
    make(w, 33, 256, 32, 0, true, random);
    const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(w.bytes.data() + 5 * w.rows.row_bytes, &inf, 4);
    std::memcpy(w.bytes.data() + 9 * w.rows.row_bytes + 4, &nan, 4);
    const std::vector<float> x = random_rows(3 * 256, random);
    Output expected(3, 33);
    matmul_exact.runnable().front().run({x.data(), 3, 256}, w.rows, expected.view);
    for (int r = 0; r < 33; ++r) CHECK(std::isfinite(expected.data[r]) == (r != 5 && r != 9));
    for (const auto& variant : matmul_exact.runnable()) {
      Output y(3, 33);
      variant.run({x.data(), 3, 256}, w.rows, y.view);
      CHECK(differing(expected.data, y.data) == 0);
    }
  }

  TEST_CASE("exact: nothing to do") {
    Weights w;
    std::mt19937 random(7);
    make(w, 3, 32, 32, 8, false, random);
    for (const auto& variant : matmul_exact.runnable()) {
      Output y(2, 3, 0);
      variant.run({nullptr, 0, 32}, w.rows, {y.data.data(), 0, 3});
      PackedRows none = w.rows;
      none.rows = 0;
      const std::vector<float> x(64, 1.0f);
      variant.run({x.data(), 2, 32}, none, {y.data.data(), 2, 0});
      for (const float v : y.data) CHECK(v == -77.0f);
      none = w.rows;
      none.cols = 0;
      variant.run({x.data(), 2, 0}, none, y.view);
      for (const float v : y.data) CHECK(float_to_bits(v) == 0);
    }
  }

  TEST_CASE("exact: the real types") {
    int count = 0;
    const PackedType* types = packed_types(count);
    std::mt19937 random(8);
    for (int n = 0; n < count; ++n) {
      const PackedType& type = types[n];
      // Random bytes: every code and every scale that a file may hold, infinities and NaNs among them.
      const int64_t cols = 1280, rows = 35, row_bytes = cols / type.layout.block * type.layout.block_bytes;
      std::vector<uint8_t> bytes(rows * row_bytes);
      for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
      const PackedRows w{bytes.data(), rows, cols, row_bytes, type.layout, type.decode, nullptr};
      const std::vector<float> x = random_rows(3 * cols, random);
      Output expected(3, rows);
      matmul_exact.runnable().front().run({x.data(), 3, cols}, w, expected.view);
      for (const auto& variant : matmul_exact.runnable()) {
        INFO(type.name, " ", variant.name);
        for (const int64_t tokens : {3, 1}) {
          Output y(3, rows);
          variant.run({x.data(), tokens, cols}, w, {y.view.data, tokens, rows, y.view.stride});
          for (int64_t t = 0; t < tokens; ++t)
            for (int64_t r = 0; r < rows; ++r) CHECK(same_bits(y.view.row(t)[r], expected.view.row(t)[r]));
        }
      }
    }
  }

  TEST_CASE("exact: grids of odd widths") {
    std::mt19937 random(9);
    for (const int bits : {2, 3, 4, 8})
      for (const int64_t group : {0, 32, 64})
        for (const int64_t cols : {33, 257, 1001}) {
          GridRow grid;
          grid.bits = bits, grid.group = group, grid.scale = ScaleType::bf16, grid.has_min = bits == 3;
          for (uint8_t& c : grid.code) c = static_cast<uint8_t>(random());
          const CodesLayout layout = grid_layout(grid, cols);
          const int64_t rows = 18, row_bytes = (cols + layout.block - 1) / layout.block * layout.block_bytes;
          std::vector<uint8_t> bytes(rows * row_bytes);
          for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
          const PackedRows w{bytes.data(), rows, cols, row_bytes, layout, &decode_grid, &grid};
          const std::vector<float> x = random_rows(5 * cols, random);
          Output expected(5, rows);
          matmul_exact.runnable().front().run({x.data(), 5, cols}, w, expected.view);
          for (const auto& variant : matmul_exact.runnable()) {
            Output y(5, rows);
            variant.run({x.data(), 5, cols}, w, y.view);
            INFO(variant.name, " bits ", bits, " group ", group, " cols ", cols);
            CHECK(differing(expected.data, y.data) == 0);
          }
        }
  }

  TEST_CASE("float: every variant is the dot product of kernels/common/sum.h, to the bit") {
    std::mt19937 random(10);
    for (const int64_t cols : {0, 1, 15, 16, 17, 72, 255, 640, 1153})
      for (const int64_t rows : {1, 3, 4, 15, 17, 33, 130})
        for (const int64_t tokens : {1, 2, 3, 5, 17, 70}) {
          const std::vector<float> x = random_rows(tokens * (cols + 3) + 1, random);
          const std::vector<float> w = random_rows(rows * (cols + 5) + 1, random);
          std::vector<uint16_t> f16(w.size()), bf16(w.size());
          for (size_t i = 0; i < w.size(); ++i) f16[i] = float_to_f16(w[i]), bf16[i] = float_to_bf16(w[i]);
          const Matrix<const float> xs(x.data() + 1, tokens, cols, cols + 3), ws(w.data() + 1, rows, cols, cols + 5);
          const Matrix<const uint16_t> w16(f16.data() + 1, rows, cols, cols + 5), wb16(bf16.data() + 1, rows, cols, cols + 5);
          Output expected(tokens, rows), expected_f16(tokens, rows), expected_bf16(tokens, rows);
          std::vector<float> wide(cols);
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t t = 0; t < tokens; ++t) {
              expected.view.row(t)[r] = dot_reference(xs.row(t), ws.row(r), cols);
              for (int64_t i = 0; i < cols; ++i) wide[i] = f16_to_float(w16.row(r)[i]);
              expected_f16.view.row(t)[r] = dot_reference(xs.row(t), wide.data(), cols);
              for (int64_t i = 0; i < cols; ++i) wide[i] = bf16_to_float(wb16.row(r)[i]);
              expected_bf16.view.row(t)[r] = dot_reference(xs.row(t), wide.data(), cols);
            }
          for (const int team : {1, 5}) {
            Threads limit(team);
            INFO("cols ", cols, " rows ", rows, " tokens ", tokens, " threads ", team);
            for (const auto& variant : matmul_float.runnable()) {
              INFO(variant.name);
              Output y(tokens, rows);
              variant.run(xs, ws, y.view);
              CHECK(differing(expected.data, y.data) == 0);
            }
            for (const auto& variant : matmul_f16.runnable()) {
              INFO(variant.name);
              Output y(tokens, rows);
              variant.run(xs, w16, y.view);
              CHECK(differing(expected_f16.data, y.data) == 0);
            }
            for (const auto& variant : matmul_bf16.runnable()) {
              INFO(variant.name);
              Output y(tokens, rows);
              variant.run(xs, wb16, y.view);
              CHECK(differing(expected_bf16.data, y.data) == 0);
            }
          }
        }
  }

  TEST_CASE("float: negative zeros, denormals, infinities and every half") {
    // Products that underflow to -0 in lanes which the tail must not touch.
    std::vector<float> x(19, 1e-30f), w(19, -1e-30f);
    const float expected = dot_reference(x.data(), w.data(), 19);
    for (const auto& variant : matmul_float.runnable()) {
      float y = 7;
      variant.run({x.data(), 1, 19}, {w.data(), 1, 19}, {&y, 1, 1});
      CHECK(same_bits(y, expected));
    }
    // Each of the 65536 values of either type, times one.
    std::vector<uint16_t> all(65536);
    for (int i = 0; i < 65536; ++i) all[i] = static_cast<uint16_t>(i);
    const float one = 1;
    for (const auto& variant : matmul_f16.runnable()) {
      std::vector<float> y(65536);
      variant.run({&one, 1, 1}, {all.data(), 65536, 1}, {y.data(), 1, 65536});
      for (int i = 0; i < 65536; ++i) CHECK_MESSAGE(same_bits(y[i], std::fma(one, f16_to_float(all[i]), 0.0f)), i);
    }
    for (const auto& variant : matmul_bf16.runnable()) {
      std::vector<float> y(65536);
      variant.run({&one, 1, 1}, {all.data(), 65536, 1}, {y.data(), 1, 65536});
      for (int i = 0; i < 65536; ++i) CHECK_MESSAGE(same_bits(y[i], std::fma(one, bf16_to_float(all[i]), 0.0f)), i);
    }
  }
}

TEST_SUITE("experts") {
  TEST_CASE("every row has the bits of the matmul of that row alone") {
    std::mt19937 random(11);
    const int64_t experts = 7, cols = 176;
    for (const int64_t rows_per_expert : {1, 44, 72})
      for (const auto& [tokens, each] : {std::pair<int64_t, int64_t>{1, 1}, {8, 1}, {61, 1}, {8, 8}, {60, 4}}) {
        std::vector<int32_t> expert(tokens);
        for (int32_t& e : expert) e = static_cast<int32_t>(random() % (experts + 1)) - 1;
        for (int32_t& e : expert) e = e == 3 ? 4 : e;  // one expert has no rows, another many
        Weights w;
        make(w, experts * rows_per_expert, cols, 16, 8, true, random);
        const std::vector<float> x = random_rows(tokens * (cols + 3), random);
        const std::vector<float> stack = random_rows(experts * rows_per_expert * cols, random);
        std::vector<uint16_t> half(stack.size());
        for (size_t i = 0; i < half.size(); ++i) half[i] = float_to_f16(stack[i]);
        const Matrix<const float> xs(x.data(), tokens / each, cols, cols + 3);
        const int64_t all = experts * rows_per_expert;

        Output exact(tokens, rows_per_expert), floats(tokens, rows_per_expert), f16(tokens, rows_per_expert),
            bf16(tokens, rows_per_expert);
        for (int64_t t = 0; t < tokens; ++t)
          for (int64_t r = 0; r < rows_per_expert; ++r)
            exact.view.row(t)[r] = floats.view.row(t)[r] = f16.view.row(t)[r] = bf16.view.row(t)[r] = 0;
        for (int64_t t = 0; t < tokens; ++t) {
          if (expert[t] < 0) continue;
          const Matrix<const float> one(xs.row(t / each), 1, cols);
          const int64_t first = expert[t] * rows_per_expert;
          matmul_exact.runnable().front().run(one, w.rows.slice(first, rows_per_expert),
                                              {exact.view.row(t), 1, rows_per_expert});
          matmul_float.runnable().front().run(one, {stack.data() + first * cols, rows_per_expert, cols},
                                              {floats.view.row(t), 1, rows_per_expert});
          const Matrix<const uint16_t> slice(half.data() + first * cols, rows_per_expert, cols);
          matmul_f16.runnable().front().run(one, slice, {f16.view.row(t), 1, rows_per_expert});
          matmul_bf16.runnable().front().run(one, slice, {bf16.view.row(t), 1, rows_per_expert});
        }
        for (const int team : {1, 2, 5}) {
          Threads limit(team);
          INFO("rows ", rows_per_expert, " tokens ", tokens, " threads ", team);
          for (const auto& variant : matmul_experts.runnable()) {
            INFO(variant.name);
            Output y(tokens, rows_per_expert);
            variant.run(xs, expert.data(), rows_per_expert, w.rows, y.view);
            CHECK(differing(exact.data, y.data) == 0);
          }
          for (const auto& variant : matmul_experts_float.runnable()) {
            INFO(variant.name);
            Output y(tokens, rows_per_expert);
            variant.run(xs, expert.data(), rows_per_expert, {stack.data(), all, cols}, y.view);
            CHECK(differing(floats.data, y.data) == 0);
          }
          for (const auto& variant : matmul_experts_f16.runnable()) {
            INFO(variant.name);
            Output y(tokens, rows_per_expert);
            variant.run(xs, expert.data(), rows_per_expert, {half.data(), all, cols}, y.view);
            CHECK(differing(f16.data, y.data) == 0);
          }
          for (const auto& variant : matmul_experts_bf16.runnable()) {
            INFO(variant.name);
            Output y(tokens, rows_per_expert);
            variant.run(xs, expert.data(), rows_per_expert, {half.data(), all, cols}, y.view);
            CHECK(differing(bf16.data, y.data) == 0);
          }
        }
      }
  }

  TEST_CASE("inside a shared loop it runs on the calling thread, with the same bits") {
    std::mt19937 random(12);
    const int64_t cols = 704, rows = 2816;
    Weights w;
    make(w, rows, cols, 32, 8, false, random);
    const std::vector<float> x = random_rows(4 * cols, random);
    Output expected(4, rows), y(4, rows);
    matmul_exact(Matrix<const float>(x.data(), 4, cols), w.rows, expected.view);
    Threads limit(4);
    share(4, 1, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t)
        matmul_exact(Matrix<const float>(x.data() + t * cols, 1, cols), w.rows, Matrix<float>(y.view.row(t), 1, rows));
    });
    CHECK(differing(expected.data, y.data) == 0);
  }
}
