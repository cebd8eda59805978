#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/bf16/bf16.h"
#include "kernels/common/bf16.h"
#include "tests/kernels/rows.h"

using namespace gemloupe;
using tests::Rows;
using tests::same_bits;
using tests::Threads;

namespace {

// A weight in one of its forms, with what it points to.
struct Weight {
  TileWeight w;
  std::string name;
  std::vector<uint8_t> bytes;
  std::vector<uint16_t> halves;
  std::vector<float> floats;
  std::shared_ptr<uint8_t> memory;
  Strips strips;
  std::shared_ptr<GridRow> grid;
};

void unpack_floats(const void* context, int64_t first, int64_t count, float* out) {
  const auto& w = *static_cast<const Weight*>(context);
  std::copy_n(w.floats.begin() + first * w.w.cols, count * w.w.cols, out);
}

std::unique_ptr<Weight> floats(int64_t parts, int64_t rows, int64_t cols, uint32_t seed) {
  auto w = std::make_unique<Weight>();
  w->name = "unpacked";
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  w->floats.resize(parts * rows * cols);
  for (float& f : w->floats) f = normal(random);
  w->w.parts = parts, w->w.rows = rows, w->w.cols = cols, w->w.unpack = unpack_floats, w->w.context = w.get();
  return w;
}

std::unique_ptr<Weight> halves(bool is_bf16, int64_t parts, int64_t rows, int64_t cols, uint32_t seed) {
  auto w = std::make_unique<Weight>();
  w->name = is_bf16 ? "bf16" : "f16";
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  w->w = {parts, rows, cols};
  w->w.stride = cols + 5, w->w.is_bf16 = is_bf16;
  w->halves.resize(parts * rows * w->w.stride);  // nothing behind the last row: reading past the end is seen by a sanitizer
  for (uint16_t& h : w->halves) h = is_bf16 ? float_to_bf16(normal(random)) : float_to_f16(normal(random));
  w->w.half = w->halves.data();
  return w;
}

std::unique_ptr<Weight> packed(const char* name, const CodesLayout& layout, const Kernel<DecodeCodes>* decode,
                               std::shared_ptr<GridRow> grid, int64_t parts, int64_t rows, int64_t cols, uint32_t seed) {
  auto w = std::make_unique<Weight>();
  w->name = name, w->grid = std::move(grid);
  std::mt19937 random(seed);
  const int64_t row_bytes = (cols + layout.block - 1) / layout.block * layout.block_bytes;
  w->bytes.resize(parts * rows * row_bytes);
  for (uint8_t& b : w->bytes) b = static_cast<uint8_t>(random());
  const PackedRows from{w->bytes.data(), parts * rows, cols, row_bytes, layout, decode, w->grid.get()};
  StripLayout found;
  REQUIRE(strip_layout(from, found));
  w->strips = {found, parts, rows, cols, nullptr};
  const auto size = static_cast<size_t>((w->strips.bytes() + 63) / 64 * 64);
  w->memory = {static_cast<uint8_t*>(std::aligned_alloc(64, size)), std::free};
  pack_strips(from, w->strips, w->memory.get());
  w->strips.data = w->memory.get();
  w->w = {parts, rows, cols, &w->strips};
  return w;
}

std::unique_ptr<Weight> ggml(const char* name, int64_t parts, int64_t rows, int64_t cols, uint32_t seed) {
  const PackedType& type = *packed_type(name);
  return packed(name, type.layout, type.decode, nullptr, parts, rows, cols, seed);
}

std::unique_ptr<Weight> gridded(int bits, int64_t group, ScaleType scale, bool min, int64_t parts, int64_t rows, int64_t cols,
                                uint32_t seed) {
  auto g = std::make_shared<GridRow>(GridRow{bits, group, scale, min, {}});
  for (int i = 0; i < 1 << bits; ++i) g->code[i] = static_cast<uint8_t>(bits == 1 ? 127 + 2 * i : 128 - (1 << (bits - 1)) + i);
  return packed("grid", grid_layout(*g, cols), &decode_grid, g, parts, rows, cols, seed);
}

Rows activations(int64_t rows, int64_t cols, uint32_t seed) { return Rows(rows, cols, seed, 3.0f); }

// Every variant on fewer activations, fewer weight rows and from a later row on: what the reference makes of all of them.
void check_everywhere(const Weight& w, Rows& x, const std::vector<int64_t>& counts, const std::vector<int64_t>& widths, int64_t part = 0) {
  Rows judge(x.view().rows, w.w.rows, 1);
  matmul_tiles.runnable().front().run(x.view(), w.w, part, 0, judge.view());
  CAPTURE(w.name);
  for (const auto& v : matmul_tiles.runnable())
    for (int64_t m : counts)
      for (int64_t n : widths) {
        const Threads threads(tests::some_threads());
        const int64_t first = n <= 17 && w.w.rows >= 33 ? 16 : 0;
        Rows y(m, n, 2);
        v.run({x.view().data, m, w.w.cols, x.view().stride}, w.w, part, first, y.view());
        CAPTURE(v.name);
        CAPTURE(m);
        CAPTURE(n);
        CAPTURE(w.w.cols);
        CHECK(same_bits(y.view(), Matrix<const float>(judge.view().data + first, m, n, judge.view().stride)));
        CHECK(y.gaps_untouched());
      }
}

const char* const kTypes[] = {"Q4_0", "Q4_1", "Q5_0",   "Q5_1",   "Q8_0",  "Q2_K",  "Q3_K",  "Q4_K", "Q5_K",
                              "Q6_K", "Q1_0", "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4", "TQ2_0", "Q2_0"};

}  // namespace

TEST_CASE("bf16: the reference is close to a sum in double precision") {
  const int64_t cols = 1000;
  const auto w = floats(1, 7, cols, 1);
  Rows x = activations(5, cols, 2), y(5, 7);
  matmul_tiles.runnable().front().run(x.view(), w->w, 0, 0, y.view());
  // A product goes through at most 16 fused additions, the sum of even and odd, and one addition a block after its own.
  const double steps = 16 + 1 + (cols + 31) / 32, bound = steps * 0x1p-24 / (1 - steps * 0x1p-24);
  for (int64_t t = 0; t < 5; ++t)
    for (int64_t r = 0; r < 7; ++r) {
      double sum = 0, size = 0;
      for (int64_t i = 0; i < cols; ++i) {
        const double product = double{tile_float(tile_bf16(x.at(t, i)))} * tile_float(tile_bf16(w->floats[r * cols + i]));
        sum += product, size += std::fabs(product);
      }
      CHECK(std::fabs(y.at(t, r) - sum) <= bound * size + 1e-13 * size);
    }
}

TEST_CASE("bf16: rounding to bfloat16") {
  CHECK(tile_bf16(1.0f) == 0x3f80);
  CHECK(tile_bf16(bits_to_float(0x3f808000)) == 0x3f80);  // ties to even
  CHECK(tile_bf16(bits_to_float(0x3f818000)) == 0x3f82);
  CHECK(tile_bf16(bits_to_float(0x3f808001)) == 0x3f81);
  CHECK(tile_bf16(bits_to_float(0x7f7fffff)) == 0x7f80);
  CHECK(tile_bf16(bits_to_float(0x007fffff)) == 0);  // denormal numbers do not round up
  CHECK(tile_bf16(bits_to_float(0x80000001)) == 0x8000);
  CHECK(std::isnan(tile_float(tile_bf16(bits_to_float(0x7f800001)))));
}

TEST_CASE("bf16: every variant has the reference's bits, and a row is independent of the others") {
  const std::vector<int64_t> counts = {1, 2, 15, 16, 17, 31, 33, 100}, widths = {1, 15, 16, 17, 48, 100};
  for (int64_t cols : {1, 16, 32, 33, 96, 257}) {
    Rows x = activations(100, cols, 3);
    check_everywhere(*floats(1, 100, cols, 4), x, counts, widths);
    check_everywhere(*halves(false, 1, 100, cols, 5), x, counts, widths);
    check_everywhere(*halves(true, 1, 100, cols, 6), x, counts, widths);
    check_everywhere(*gridded(4, 32, ScaleType::f16, false, 1, 100, cols, 7), x, counts, widths);
    check_everywhere(*gridded(5, 64, ScaleType::bf16, true, 1, 100, cols, 8), x, counts, widths);
  }
}

TEST_CASE("bf16: every kind of strips") {
  const std::vector<int64_t> counts = {1, 17, 33}, widths = {16, 17, 40};
  for (const char* name : kTypes) {
    const int64_t cols = 2 * packed_type(name)->layout.block + (packed_type(name)->layout.block == 32 ? 32 : 0);
    Rows x = activations(33, cols, 9);
    check_everywhere(*ggml(name, 1, 40, cols, 10), x, counts, widths);
  }
  for (int bits = 1; bits <= 8; ++bits)
    for (int64_t group : {16, 32, 64, 256})
      for (ScaleType scale : {ScaleType::f16, ScaleType::bf16, ScaleType::f32})
        for (bool min : {false, true}) {
          const int64_t cols = 64 + group + 13 * (bits % 3);
          Rows x = activations(17, cols, 11);
          check_everywhere(*gridded(bits, group, scale, min, 1, 17, cols, 12), x, {1, 17}, {17});
        }
}

TEST_CASE("bf16: many columns, many rows, many parts") {
  const std::vector<int64_t> counts = {1, 33}, widths = {16, 49};
  for (int64_t cols : {512, 544, 1024, 1120, 1536}) {
    Rows x = activations(33, cols, 13);
    check_everywhere(*ggml("Q4_0", 2, 49, cols, 14), x, counts, widths, 1);
    check_everywhere(*halves(true, 2, 49, cols, 15), x, counts, widths, 1);
    check_everywhere(*floats(3, 49, cols, 16), x, counts, widths, 2);
  }
  Rows x = activations(600, 640, 17);
  check_everywhere(*ggml("Q8_0", 1, 40, 640, 18), x, {513, 600}, {40});
  check_everywhere(*floats(1, 40, 640, 19), x, {513, 600}, {40});
}

TEST_CASE("bf16: numbers that are none, infinite, tiny, or zeros with a sign") {
  const float odd[] = {NAN, -NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e-40f, -1e-40f, 0x1p-126f, -0x1p-126f, 3e38f, 0x1.fep-127f};
  std::mt19937 random(20);
  for (int kind = 0; kind < 4; ++kind) {
    const int64_t cols = 97;
    auto w = floats(1, 33, cols, 21);
    Rows x = activations(33, cols, 22);
    const auto change = [&](float& f) {
      if (kind == 0 && random() % 400 == 0) f = odd[random() % 12];
      if (kind == 1) f = std::ldexp(f, -62 - static_cast<int>(random() % 3));  // products around 2^-126
      if (kind == 2) f = std::ldexp(f, static_cast<int>(random() % 250) - 125);
      if (kind == 3) f = odd[4 + random() % 6] * static_cast<float>(random() % 2);
    };
    for (float& f : w->floats) change(f);
    for (int64_t t = 0; t < 33; ++t)
      for (int64_t i = 0; i < cols; ++i) change(x.at(t, i));
    check_everywhere(*w, x, {1, 33}, {33});
    auto half = halves(true, 1, 33, cols, 23);
    for (uint16_t& h : half->halves) {
      float f = bf16_to_float(h);
      change(f);
      h = static_cast<uint16_t>(float_to_bits(f) >> 16);  // denormal numbers too
    }
    check_everywhere(*half, x, {1, 33}, {33});
  }
}

TEST_CASE("bf16: a sum just below the smallest normal number") {
  // 2^-126 - m 2^-153: at 24 bits it is 2^-126 up to m = 4 (a tie, to even) and below it from 5 on.
  auto w = floats(1, 16, 32, 24);
  Rows x = activations(16, 32, 25);
  for (int64_t t = 0; t < 16; ++t)
    for (int64_t i = 0; i < 32; ++i) {
      w->floats[t * 32 + i] = i == 0 ? 0x1p-63f : i == 2 ? 0x1p-75f : 0;
      x.at(t, i) = i == 0 ? 0x1p-63f : i == 2 ? -static_cast<float>(t) * 0x1p-78f : 0;
    }
  for (const auto& v : matmul_tiles.runnable()) {
    CAPTURE(v.name);
    Rows y(16, 16);
    v.run(x.view(), w->w, 0, 0, y.view());
    for (int64_t t = 0; t < 16; ++t) CHECK(y.at(t, 3) == (t <= 4 ? 0x1p-126f : 0.0f));
  }
}

TEST_CASE("bf16: the arithmetic of the caller stays as it was") {
  const Threads threads(1);
  const auto w = floats(1, 16, 32, 26);
  Rows x = activations(16, 32, 27), y(16, 16);
  for (const auto& v : matmul_tiles.runnable()) {
    v.run(x.view(), w->w, 0, 0, y.view());
    volatile float tiny = 0x1p-126f;
    tiny = tiny * 0.5f;
    CHECK(tiny == 0x1p-127f);
  }
}

TEST_CASE("bf16: no columns give zeros, no rows nothing") {
  const auto w = floats(1, 16, 0, 28);
  Rows x = activations(3, 0, 29);
  for (const auto& v : matmul_tiles.runnable()) {
    Rows y(3, 16);
    v.run(x.view(), w->w, 0, 0, y.view());
    for (int64_t t = 0; t < 3; ++t) CHECK(y.at(t, 5) == 0.0f);
    v.run({x.view().data, 0, 0, 3}, w->w, 0, 0, {y.view().data, 0, 16, 19});
  }
}

TEST_CASE("bf16: experts have the bits of their rows alone") {
  std::mt19937 random(30);
  const int64_t experts = 7, rows = 40, cols = 576;
  std::vector<std::unique_ptr<Weight>> weights;
  weights.push_back(ggml("Q4_0", experts, rows, cols, 31));
  weights.push_back(halves(false, experts, rows, cols, 32));
  weights.push_back(floats(experts, rows, cols, 33));
  for (const auto& w : weights)
    for (const auto& [count, each] : {std::pair<int64_t, int64_t>{1, 1}, {8, 1}, {77, 1}, {8, 8}, {77, 7}}) {
      Rows x = activations(count / each, cols, 34);
      for (int skew = 0; skew < 3; ++skew) {
        std::vector<int32_t> expert(count);
        for (int32_t& e : expert) e = skew == 2 ? 3 : random() % 5 < 4u * skew ? 5 : static_cast<int32_t>(random() % (experts + 1)) - 1;
        Rows judge(count, rows, 35);
        matmul_experts_tiles.runnable().front().run(x.view(), expert.data(), w->w, judge.view());
        for (const auto& v : matmul_experts_tiles.runnable()) {
          const Threads threads(tests::some_threads());
          CAPTURE(v.name);
        CAPTURE(w->name);
        CAPTURE(count);
        CAPTURE(each);
        CAPTURE(skew);
          Rows y(count, rows, 36), alone(1, rows, 37);
          v.run(x.view(), expert.data(), w->w, y.view());
          CHECK(same_bits(y.view(), judge.view()));
          CHECK(y.gaps_untouched());
          const int64_t t = count / 2;
          if (expert[t] < 0) continue;
          matmul_tiles(Matrix<const float>(x.view().row(t / each), 1, cols), w->w, int64_t{expert[t]}, int64_t{0}, alone.view());
          CHECK(same_bits(alone.view(), Matrix<const float>(y.view().row(t), 1, rows)));
        }
      }
    }
}
