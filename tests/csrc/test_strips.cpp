#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "csrc/formats/strips.h"
#include "csrc/gemma/model.h"
#include "csrc/session/session.h"
#include "tests/csrc/models.h"

using namespace gemloupe;

namespace {

const char* const kFormats[] = {"Q4_0",     "Q4_1",           "Q5_0",           "Q5_1", "Q8_0",  "Q4_K",     "Q5_K",
                                "Q6_K",     "IQ4_NL",         "MXFP4",          "NVFP4", "TQ2_0", "grid3_g64", "nf4_g128_f32",
                                "ternary",  "grid4_g16_min", "grid1_row_bf16", "int8",  "grid5_g512_min_f32"};

std::vector<float> normal(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = normal(random);
  return x;
}

std::shared_ptr<const Weight> weight(const char* format, int64_t rows, int64_t cols, int64_t experts) {
  const std::vector<float> values = normal(rows * cols, 7);
  Weight w = format_named(format)->pack(Matrix<const float>(values.data(), rows, cols));
  w.experts = experts;
  return std::make_shared<const Weight>(std::move(w));
}

bool same(const std::vector<float>& a, const std::vector<float>& b) { return std::memcmp(a.data(), b.data(), a.size() * 4) == 0; }

std::vector<float> product(const Weight& w, const std::vector<float>& x, int64_t first, int64_t rows) {
  std::vector<float> y(static_cast<size_t>(3 * rows));
  w.format->matmul(Matrix<const float>(x.data(), 3, w.cols), w, first, Matrix<float>(y.data(), 3, rows), Arithmetic::exact);
  return y;
}

}  // namespace

TEST_CASE("a weight with strips is the weight that it was made from") {
  for (const char* format : kFormats) {
    CAPTURE(format);
    const auto before = weight(format, 2 * 35, 512, 2);
    const auto x = normal(3 * 512, 3);
    std::vector<float> values(70 * 512), some(5 * 512);
    before->format->unpack(*before, 0, Matrix<float>(values.data(), 70, 512));
    for (const Rows rows : {Rows::keep, Rows::drop}) {
      const auto after = packed_weight(before, rows);
      REQUIRE(after->strips);
      CHECK((after->data == nullptr) == (rows == Rows::drop));
      CHECK(packed_weight(after, rows) == after);
      std::vector<uint8_t> bytes(static_cast<size_t>(after->bytes()));
      read_bytes(*after, 0, after->bytes(), bytes.data());
      CHECK(std::memcmp(bytes.data(), before->data, bytes.size()) == 0);
      read_bytes(*after, 301, 777, bytes.data());
      CHECK(std::memcmp(bytes.data(), before->data + 301, 777) == 0);
      CHECK_THROWS_AS(read_bytes(*after, after->bytes() - 3, 4, bytes.data()), std::invalid_argument);
      std::vector<float> back(values.size());
      after->format->unpack(*after, 0, Matrix<float>(back.data(), 70, 512));
      CHECK(same(back, values));
      after->format->unpack(*after, 33, Matrix<float>(some.data(), 5, 512));
      CHECK(std::memcmp(some.data(), values.data() + 33 * 512, some.size() * 4) == 0);
      for (const auto& [first, count] : {std::pair{0, 70}, {16, 19}, {3, 40}, {35, 35}, {69, 1}})
        CHECK(same(product(*after, x, first, count), product(*before, x, first, count)));
      const int32_t expert[] = {0, -1, 1};
      std::vector<float> y(3 * 35), judge(3 * 35);
      after->format->matmul_experts(Matrix<const float>(x.data(), 3, 512), expert, *after, Matrix<float>(y.data(), 3, 35), Arithmetic::exact);
      before->format->matmul_experts(Matrix<const float>(x.data(), 3, 512), expert, *before, Matrix<float>(judge.data(), 3, 35), Arithmetic::exact);
      CHECK(same(y, judge));
    }
  }
}

TEST_CASE("a weight whose format has no strips stays as it is") {
  const auto w = weight("F16", 4, 64, 1);
  CHECK(packed_weight(w, Rows::drop) == w);
  const auto parts = weight("grid4_g48", 4, 96, 1);  // groups that do not divide 256
  CHECK(packed_weight(parts, Rows::drop) == parts);
}
