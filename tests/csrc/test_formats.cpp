// Over 400 lines: unpacking, packing and multiplying are checked on one set of formats and one set of functions.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

#include "csrc/formats/floats.h"
#include "csrc/formats/grid.h"
#include "csrc/formats/packed.h"
#include "kernels/common/half.h"
#include "kernels/common/sum.h"
#include "kernels/common/team.h"

using namespace gemloupe;

namespace {

struct Record {
  std::string name;
  int kind;  // 0: bytes unpack to values; 1: values pack to bytes
  std::vector<uint8_t> bytes;
  std::vector<float> values;
};

// What tests/golden/make_formats.py wrote.
std::vector<Record> golden() {
  std::ifstream file(GEMLOUPE_SOURCE_DIR "/tests/golden/formats.bin", std::ios::binary);
  std::vector<char> all((std::istreambuf_iterator<char>(file)), {});
  std::vector<Record> records;
  const char* p = all.data();
  while (p < all.data() + all.size()) {
    Record r;
    const int length = static_cast<uint8_t>(*p++);
    r.name.assign(p, length);
    p += length;
    r.kind = *p++;
    uint32_t sizes[2];
    std::memcpy(sizes, p, 8);
    p += 8;
    r.bytes.assign(p, p + sizes[0]);
    p += sizes[0];
    r.values.resize(sizes[1]);
    std::memcpy(r.values.data(), p, sizes[1] * 4);
    p += sizes[1] * 4;
    records.push_back(std::move(r));
  }
  return records;
}

// A user's scheme with nothing but pack and unpack: thirds of a number of sixteen bits.
class Thirds final : public Format, public std::enable_shared_from_this<Thirds> {
 public:
  std::string name() const override { return "thirds"; }
  int64_t row_bytes(int64_t cols) const override { return cols * 2; }
  Weight pack(Matrix<const float> w) const override {
    uint8_t* data;
    Weight packed = allocate_weight(shared_from_this(), w.rows, w.cols, data);
    for (int64_t i = 0; i < w.rows * w.cols; ++i) reinterpret_cast<int16_t*>(data)[i] = static_cast<int16_t>(w.data[i] * 3 * 256);
    return packed;
  }
  void unpack(const Weight& w, int64_t first_row, Matrix<float> out) const override {
    for (int64_t r = 0; r < out.rows; ++r)
      for (int64_t c = 0; c < w.cols; ++c) {
        const auto* row = reinterpret_cast<const int16_t*>(w.data) + (first_row + r) * w.cols;
        out.row(r)[c] = static_cast<float>(row[c]) / (3 * 256) * w.scale_of_row(first_row + r);
      }
  }
};

// Equal bits, or both not a number: the sign and payload of a NaN are the machine's.
bool same(float a, float b) { return float_to_bits(a) == float_to_bits(b) || (a != a && b != b); }

int64_t differences(const std::vector<float>& a, const std::vector<float>& b) {
  int64_t count = std::abs(static_cast<int64_t>(a.size()) - static_cast<int64_t>(b.size()));
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) count += !same(a[i], b[i]);
  return count;
}

// Values that are not equal; a zero may change its sign.
int64_t changes(const std::vector<float>& a, const std::vector<float>& b) {
  int64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

std::vector<float> unpacked(const Weight& w) {
  std::vector<float> out(static_cast<size_t>(w.rows * w.cols));
  w.format->unpack(w, 0, {out.data(), w.rows, w.cols});
  return out;
}

Weight view(const std::string& name, int64_t rows, int64_t cols, const uint8_t* data) {
  Weight w;
  w.format = format_named(name);
  w.rows = rows;
  w.cols = cols;
  w.data = data;
  return w;
}

std::vector<float> normal(int64_t n, unsigned seed, float size = 0.05f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw(0, size);
  std::vector<float> x(static_cast<size_t>(n));
  for (auto& v : x) v = draw(random);
  return x;
}

bool packs(const std::string& name) {
  const std::vector<float> zeros(256);
  try {
    format_named(name)->pack({zeros.data(), 1, 256});
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

const std::vector<std::string> kGrids = {"int8", "int4", "nf4", "ternary", "grid1_g32", "grid2_g16", "grid3_g64", "grid5_g48",
                                         "grid6_row", "grid7_g32_bf16", "grid8_row_f32", "grid4_g64_f32", "grid2_g64[-3,-1,1,3]",
                                         "grid3_g64_min", "grid4_row_min_f32", "grid8_g64_min", "grid4_g32_min_bf16"};

std::vector<std::string> packable() {
  std::vector<std::string> names;
  for (const auto& name : format_names())
    if (packs(name)) names.push_back(name);
  names.insert(names.end(), kGrids.begin() + 4, kGrids.end());
  return names;
}

double rms_error(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    size += static_cast<double>(a[i]) * a[i];
  }
  return std::sqrt(error / size);
}

}  // namespace

TEST_SUITE("formats") {
  TEST_CASE("every type unpacks to the gguf package's bits") {
    int types = 0;
    for (const auto& r : golden()) {
      if (r.kind != 0) continue;
      CAPTURE(r.name);
      const int64_t cols = static_cast<int64_t>(r.values.size());
      const Weight w = view(r.name, 1, cols, r.bytes.data());
      CHECK(w.bytes() == static_cast<int64_t>(r.bytes.size()));
      CHECK(differences(unpacked(w), r.values) == 0);
      ++types;
    }
    CHECK(types == 25);
  }

  TEST_CASE("packs to the gguf package's bytes where it can pack") {
    int types = 0;
    for (const auto& r : golden()) {
      if (r.kind != 1) continue;
      CAPTURE(r.name);
      const auto format = format_named(r.name);
      const Weight w = format->pack({r.values.data(), 1, static_cast<int64_t>(r.values.size())});
      REQUIRE(w.bytes() == static_cast<int64_t>(r.bytes.size()));
      CHECK(std::equal(r.bytes.begin(), r.bytes.end(), w.data));
      ++types;
    }
    CHECK(types == 9);
  }

  TEST_CASE("Q1_0 and Q2_0 unpack as their definition says") {
    std::vector<uint8_t> block(18);
    block[1] = 0x3c;  // d = 1
    for (int i = 2; i < 18; ++i) block[i] = static_cast<uint8_t>(37 * i);
    const auto one = unpacked(view("Q1_0", 1, 128, block.data())), two = unpacked(view("Q2_0", 1, 64, block.data()));
    for (int i = 0; i < 128; ++i) CHECK(one[i] == ((37 * (2 + i / 8) & 255) >> i % 8 & 1 ? 1.0f : -1.0f));
    for (int i = 0; i < 64; ++i) CHECK(two[i] == static_cast<float>(((37 * (2 + i / 4) & 255) >> 2 * (i % 4) & 3) - 1));
  }

  TEST_CASE("8-bit floats: every value makes the trip, and rounding takes the nearest") {
    for (int v = 0; v < 256; ++v) {
      const auto byte = static_cast<uint8_t>(v);
      const float a = f8_e4m3_to_float(byte), b = f8_e5m2_to_float(byte);
      if (a == a) CHECK(float_to_f8_e4m3(a) == byte);
      if (b == b) CHECK(float_to_f8_e5m2(b) == byte);
    }
    CHECK(f8_e4m3_to_float(0x7e) == 448.0f);
    CHECK(f8_e4m3_to_float(0x01) == 0x1p-9f);
    CHECK(std::isnan(f8_e4m3_to_float(0xff)));
    CHECK(f8_e5m2_to_float(0x7b) == 57344.0f);
    CHECK(std::isinf(f8_e5m2_to_float(0x7c)));
    for (float f : normal(4000, 3, 1.0f))
      for (float size : {1.0f, 100.0f, 0.01f, 0.0001f}) {
        const float x = f * size, e4 = f8_e4m3_to_float(float_to_f8_e4m3(x)), e5 = f8_e5m2_to_float(float_to_f8_e5m2(x));
        for (int v = 0; v < 256; ++v) {
          const float a = f8_e4m3_to_float(static_cast<uint8_t>(v)), b = f8_e5m2_to_float(static_cast<uint8_t>(v));
          if (a == a && std::fabs(a - x) < std::fabs(e4 - x)) FAIL("E4M3: " << x << " became " << e4 << ", " << a << " is nearer");
          if (b == b && std::fabs(b - x) < std::fabs(e5 - x)) FAIL("E5M2: " << x << " became " << e5 << ", " << b << " is nearer");
        }
      }
    CHECK(float_to_f8_e4m3(1e9f) == 0x7e);
    CHECK(float_to_f8_e4m3(NAN) == 0x7f);
    CHECK(float_to_f8_e5m2(-1e9f) == 0xfc);
  }

  TEST_CASE("packing what was unpacked changes nothing") {
    for (const auto& name : packable())
      for (float size : {0.02f, 3.0f}) {
        CAPTURE(name);
        const auto format = format_named(name);
        const auto x = normal(16 * 512, 11, size);
        const auto once = unpacked(format->pack({x.data(), 16, 512}));
        const auto twice = unpacked(format->pack({once.data(), 16, 512}));
        CHECK(changes(once, twice) == 0);
      }
  }

  TEST_CASE("packing stays within half a step of plain rounding") {
    // The step of plain rounding, as a fraction of a group's span; an optimum of squares may leave single values farther away,
    // so the root mean square is held against that of a uniform error over one step: step / sqrt(12).
    struct Bound {
      const char* name;
      int group;
      double steps;  // in the span from the least to the greatest value, or twice the largest magnitude
      bool symmetric;
    };
    for (const auto& b : {Bound{"Q4_K", 32, 15, false}, {"Q5_K", 32, 31, false}, {"Q6_K", 16, 62, true}, {"Q8_0", 32, 254, true},
                          {"int8", 64, 254, true}, {"int4", 32, 14, true}, {"grid3_g64", 64, 6, true}, {"grid6_row", 512, 62, true},
                          {"grid3_g64_min", 64, 7, false}, {"grid4_g32_min_bf16", 32, 15, false}, {"grid8_g64_min", 64, 255, false}}) {
      const std::string name = b.name;
      CAPTURE(name);
      const auto x = normal(16 * 512, 5);
      const auto y = unpacked(format_named(b.name)->pack({x.data(), 16, 512}));
      double error = 0, bound = 0;
      for (size_t first = 0; first < x.size(); first += b.group) {
        const auto [low, high] = std::minmax_element(x.begin() + first, x.begin() + first + b.group);
        const double span = b.symmetric ? 2 * std::max(std::fabs(*low), std::fabs(*high)) : static_cast<double>(*high) - *low;
        for (int i = 0; i < b.group; ++i) error += std::pow(static_cast<double>(x[first + i]) - y[first + i], 2);
        bound += b.group * std::pow(span / b.steps, 2) / 12;
      }
      // Six-bit scales of sub-blocks and 16-bit minima cost a few hundredths.
      CHECK(std::sqrt(error / bound) < 1.05);
    }
  }

  TEST_CASE("coarse types stay near the weights") {
    const auto x = normal(16 * 512, 6, 0.02f);
    const auto error = [&](const char* name) { return rms_error(x, unpacked(format_named(name)->pack({x.data(), 16, 512}))); };
    // Of a normal distribution: 4-bit floats about 10 %, 16 free levels 8 %, 2 bits 35 %, three levels 45 %.
    CHECK(error("IQ4_NL") < error("Q4_0"));
    CHECK(error("NVFP4") < error("MXFP4"));
    CHECK(error("MXFP4") < 0.13);
    CHECK(error("nf4") < 0.10);
    CHECK(error("ternary") < 0.50);
    CHECK(error("grid2_g16") < 0.40);
    CHECK(error("grid4_g64") < error("grid3_g64"));
  }

  TEST_CASE("grids take any number of columns") {
    for (const auto& name : kGrids)
      for (int64_t cols : {1, 15, 16, 17, 48, 72, 100, 300}) {
        CAPTURE(name);
        CAPTURE(cols);
        const auto format = format_named(name);
        const auto x = normal(3 * cols, static_cast<unsigned>(cols));
        const Weight w = format->pack({x.data(), 3, cols});
        const auto once = unpacked(w);
        CHECK(rms_error(x, once) < 0.75);
        CHECK(changes(once, unpacked(format->pack({once.data(), 3, cols}))) == 0);
        std::vector<float> last(static_cast<size_t>(cols));
        format->unpack(w, 2, {last.data(), 1, cols});
        CHECK(std::equal(last.begin(), last.end(), once.begin() + 2 * cols));
      }
  }

  TEST_CASE("a grid's name says what it is") {
    for (const auto& name : kGrids) {
      const auto format = format_named(name);
      CHECK(format_named(format->name())->name() == format->name());
    }
    CHECK(format_named("int8")->name() == "grid8_g64");
    CHECK(format_named("int4")->name() == "grid4_g32");
    CHECK(format_named("grid4")->name() == "grid4_g64");
    CHECK(format_named("nf4")->name() == "nf4_g64");
    CHECK(format_named("grid2_g64[-3,-1,1,3]")->name() == "grid2_g64[-3,-1,1,3]");
    CHECK(grid({.bits = 3, .group = 0, .levels = {}, .scale = ScaleType::f32, .min = true})->name() == "grid3_row_min_f32");
    CHECK_THROWS_AS(format_named("grid9_g64"), std::invalid_argument);
    CHECK_THROWS_AS(format_named("grid4_g20"), std::invalid_argument);
    CHECK_THROWS_AS(format_named("grid2_g64[1,2,3]"), std::invalid_argument);
    CHECK_THROWS_AS(format_named("grid2_g64[1,2,3,400]"), std::invalid_argument);
    CHECK_THROWS_AS(format_named("Q9_0"), std::invalid_argument);
  }

  TEST_CASE("values of a lattice keep their bits") {
    std::mt19937 random(8);
    for (int bits : {2, 3, 4, 6, 8}) {
      std::vector<float> x(64 * 8);
      for (size_t i = 0; i < x.size(); ++i) {
        const float scale = f16_to_float(static_cast<uint16_t>(0x2000 + 77 * (i / 64)));
        x[i] = scale * static_cast<float>(static_cast<int>(random() % (1u << bits)) - (1 << (bits - 1)));
      }
      const auto y = unpacked(format_named("grid" + std::to_string(bits))->pack({x.data(), 1, 512}));
      int64_t unequal = 0;
      for (size_t i = 0; i < x.size(); ++i) unequal += x[i] != y[i];
      CHECK(unequal == 0);
    }
  }

  TEST_CASE("types that can only be read say so") {
    const std::vector<float> x(512);
    for (const char* name : {"Q2_K", "Q3_K", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS", "Q1_0"})
      CHECK_THROWS_WITH_AS(format_named(name)->pack({x.data(), 1, 512}), doctest::Contains("can only be read"), std::invalid_argument);
  }

  TEST_CASE("calls that do not fit throw") {
    const auto x = normal(4 * 256, 1);
    const auto format = format_named("Q4_0");
    CHECK_THROWS_WITH_AS(format->row_bytes(33), doctest::Contains("multiple"), std::invalid_argument);
    CHECK_THROWS_AS(format->pack({x.data(), 1, 33}), std::invalid_argument);
    const Weight w = format->pack({x.data(), 4, 256});
    std::vector<float> out(4 * 256);
    CHECK_THROWS_AS(format->unpack(w, 1, {out.data(), 4, 256}), std::invalid_argument);
    CHECK_THROWS_AS(format->unpack(w, -1, {out.data(), 1, 256}), std::invalid_argument);
    CHECK_THROWS_AS(format->unpack(w, 0, {out.data(), 1, 128}), std::invalid_argument);
    CHECK_THROWS_AS(format->matmul({x.data(), 1, 128}, w, 0, {out.data(), 1, 4}, Arithmetic::exact), std::invalid_argument);
    CHECK_THROWS_AS(format->matmul({x.data(), 1, 256}, w, 0, {out.data(), 2, 4}, Arithmetic::exact), std::invalid_argument);
  }

  TEST_CASE("a scheme of nothing but pack and unpack multiplies in every arithmetic") {
    const int64_t rows = 21, cols = 40, tokens = 5;
    const auto format = std::make_shared<Thirds>();
    const auto x = normal(tokens * cols, 23, 1.0f);
    const Weight w = format->pack({normal(rows * cols, 24).data(), rows, cols});
    const auto plain = unpacked(w);
    const Weight floats = format_named("F32")->pack({plain.data(), rows, cols});
    std::vector<float> y(tokens * rows), expected(tokens * rows);
    for (Arithmetic arithmetic : {Arithmetic::exact, Arithmetic::int8}) {
      format->matmul({x.data(), tokens, cols}, w, 0, {y.data(), tokens, rows}, arithmetic);
      floats.format->matmul({x.data(), tokens, cols}, floats, 0, {expected.data(), tokens, rows}, arithmetic);
      CHECK(y == expected);
    }
    format->matmul({x.data(), tokens, cols}, w, 0, {y.data(), tokens, rows}, Arithmetic::bf16);
    const Weight halves = format_named("BF16")->pack({plain.data(), rows, cols});
    halves.format->matmul({x.data(), tokens, cols}, halves, 0, {expected.data(), tokens, rows}, Arithmetic::bf16);
    CHECK(y == expected);
  }

  TEST_CASE("matmul is the product with what was unpacked") {
    const int64_t rows = 7, cols = 512, tokens = 3;
    const auto x = normal(tokens * cols, 21, 1.0f), dense = normal(rows * cols, 22);
    for (const auto& name : packable()) {
      CAPTURE(name);
      const auto format = format_named(name);
      Weight w = format->pack({dense.data(), rows, cols});
      const auto plain = unpacked(w);
      std::vector<float> y(tokens * 5);
      for (Arithmetic arithmetic : {Arithmetic::exact, Arithmetic::bf16, Arithmetic::int8}) {
        CAPTURE(std::string(gemloupe::name(arithmetic)));
        format->matmul({x.data(), tokens, cols}, w, 2, {y.data(), tokens, 5}, arithmetic);
        for (int64_t t = 0; t < tokens; ++t)
          for (int64_t r = 0; r < 5; ++r) {
            double sum = 0, size = 0, most = 0, weights = 0;
            for (int64_t c = 0; c < cols; ++c) {
              const double a = x[t * cols + c], b = plain[(2 + r) * cols + c];
              sum += a * b;
              size += std::fabs(a * b);
              most = std::max(most, std::fabs(a));
              weights += std::fabs(b);
            }
            // Activations are cut to steps of most / 32639 or / 127, or both sides to 8 bits; float sums add one rounding a term of a
            // lane, or of a group.
            const double step = most / (arithmetic == Arithmetic::int8 ? 127 : 32639);
            const double cut = arithmetic == Arithmetic::bf16 ? size * 1.01 * 0x1p-8 : 0.5 * step * weights;
            CHECK(std::fabs(y[t * 5 + r] - sum) <= cut + size * 0x1p-24 * 64 + 1e-30);
          }
      }
    }
  }

  TEST_CASE("the output scale multiplies values and products, expert by expert") {
    const auto dense = normal(6 * 256, 31), x = normal(2 * 256, 32, 1.0f);
    for (const char* name : {"F32", "F8_E4M3", "Q8_0", "int4"}) {
      CAPTURE(name);
      const auto format = format_named(name);
      Weight w = format->pack({dense.data(), 6, 256});
      const auto plain = unpacked(w);
      std::vector<float> before(2 * 4), after(2 * 4);
      Weight s = w;
      s.experts = 3;
      s.output_scale = {2.0f, 4.0f, 0.5f};
      const auto scaled = unpacked(s);
      for (int64_t r = 0; r < 6; ++r) CHECK(scaled[r * 256 + 7] == plain[r * 256 + 7] * s.output_scale[r / 2]);
      for (Arithmetic arithmetic : {Arithmetic::exact, Arithmetic::bf16, Arithmetic::int8}) {
        format->matmul({x.data(), 2, 256}, w, 1, {before.data(), 2, 4}, arithmetic);
        format->matmul({x.data(), 2, 256}, s, 1, {after.data(), 2, 4}, arithmetic);
        for (int64_t t = 0; t < 2; ++t)
          for (int64_t r = 0; r < 4; ++r) CHECK(after[t * 4 + r] == before[t * 4 + r] * s.output_scale[(r + 1) / 2]);
      }
    }
  }

  TEST_CASE("experts: each row gets the product with its own slice, bit for bit") {
    const int64_t cols = 256, rows = 5;
    const auto dense = normal(4 * rows * cols, 71), x = normal(6 * cols, 72, 1.0f);
    const std::vector<int32_t> expert = {3, 0, -1, 0, 1, 3};
    std::vector<std::shared_ptr<const Format>> formats = {std::make_shared<Thirds>()};
    for (const auto& name : {"F32", "F16", "BF16", "F8_E5M2", "Q4_K", "Q5_0", "grid3_g64", "grid4_row_min_f32"})
      formats.push_back(format_named(name));
    for (const auto& format : formats) {
      CAPTURE(format->name());
      Weight w = format->pack({dense.data(), 4 * rows, cols});
      w.experts = 4;
      w.output_scale = {1.0f, 3.0f, 5.0f, 0.25f};
      std::vector<float> y(6 * rows), one(rows);
      for (Arithmetic arithmetic : {Arithmetic::exact, Arithmetic::bf16, Arithmetic::int8}) {
        CAPTURE(std::string(name(arithmetic)));
        for (int64_t each : {1, 2, 3}) {  // rows of y that share a row of x
          CAPTURE(each);
          format->matmul_experts({x.data(), 6 / each, cols}, expert.data(), w, {y.data(), 6, rows}, arithmetic);
          for (int64_t t = 0; t < 6; ++t) {
            std::fill(one.begin(), one.end(), 0.0f);
            const float* from = x.data() + t / each * cols;
            if (expert[t] >= 0) format->matmul({from, 1, cols}, w, expert[t] * rows, {one.data(), 1, rows}, arithmetic);
            CHECK(std::equal(one.begin(), one.end(), y.begin() + t * rows));
          }
        }
      }
      CHECK_THROWS_AS(format->matmul_experts({x.data(), 4, cols}, expert.data(), w, {y.data(), 6, rows}, Arithmetic::exact),
                      std::invalid_argument);
      const std::vector<int32_t> wrong = {0, 0, 1, 3, 3, 4};
      CHECK_THROWS_AS(format->matmul_experts({x.data(), 6, cols}, wrong.data(), w, {y.data(), 6, rows}, Arithmetic::exact), std::invalid_argument);
    }
  }

  TEST_CASE("what is not a number stays one, and touches its own group only") {
    for (const auto& name : packable()) {
      if (name == "MXFP4" || name == "NVFP4") continue;  // their scales cannot say it
      CAPTURE(name);
      auto x = normal(2 * 512, 41);
      x[700] = NAN;
      const auto y = unpacked(format_named(name)->pack({x.data(), 2, 512}));
      CHECK(std::isnan(y[700]));
      CHECK(std::all_of(y.begin(), y.begin() + 512, [](float v) { return std::isfinite(v); }));
    }
  }

  TEST_CASE("any bytes unpack") {
    std::mt19937 random(51);
    for (const auto& name : format_names()) {
      const auto format = format_named(name);
      const int64_t bytes = format->row_bytes(512);
      for (int fill : {0, 255, -1}) {
        std::vector<uint8_t> data(static_cast<size_t>(2 * bytes));
        for (auto& b : data) b = static_cast<uint8_t>(fill < 0 ? random() : fill);
        CHECK(unpacked(view(name, 2, 512, data.data())).size() == 1024);
      }
    }
  }

  TEST_CASE("results do not depend on the number of threads") {
    const auto x = normal(64 * 512, 61);
    const int before = threads();
    for (const char* name : {"Q4_K", "Q6_K", "grid3_g64", "F16"}) {
      const auto format = format_named(name);
      set_threads(1);
      const Weight one = format->pack({x.data(), 64, 512});
      const auto alone = unpacked(one);
      set_threads(3);
      const Weight three = format->pack({x.data(), 64, 512});
      CHECK(std::equal(one.data, one.data + one.bytes(), three.data));
      CHECK(differences(alone, unpacked(three)) == 0);
    }
    set_threads(before);
  }
}
