#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/experts/experts.h"
#include "kernels/strips/strips.h"
#include "tests/kernels/rows.h"

using namespace gemloupe;
using tests::Rows;
using tests::Threads;

namespace {

// A block of random bytes whose scales are ordinary numbers: else most outputs would be NaN, and those are all alike.
void random_block(const PackedRows& w, uint8_t* block, std::mt19937& random) {
  const CodesLayout& l = w.layout;
  std::vector<uint8_t> code(static_cast<size_t>(l.block));
  std::vector<float> scale(static_cast<size_t>(l.block / l.group) + 1), min(scale.size());
  for (bool ordinary = false; !ordinary;) {
    for (int i = 0; i < l.block_bytes; ++i) block[i] = static_cast<uint8_t>(random());
    w.decode->runnable().front().run(w.context, block, l.block, code.data(), scale.data(), min.data());
    ordinary = true;
    for (int g = 0; g < l.block / l.group; ++g)
      ordinary = ordinary && std::fabs(scale[g]) < 1e15f && (!l.has_min || std::fabs(min[g]) < 1e15f);
  }
}

// Rows of a weight, and their strips.
struct Weight {
  Weight(const CodesLayout& layout, const Kernel<DecodeCodes>* decode, const void* context, int64_t parts, int64_t rows, int64_t cols,
         std::mt19937& random) {
    const int64_t blocks = (cols + layout.block - 1) / layout.block, row_bytes = blocks * layout.block_bytes;
    bytes.resize(static_cast<size_t>(parts * rows * row_bytes));
    w = {bytes.data(), parts * rows, cols, row_bytes, layout, decode, context};
    for (int64_t b = 0; b < parts * rows * blocks; ++b) random_block(w, bytes.data() + b * layout.block_bytes, random);
    StripLayout found;
    REQUIRE(strip_layout(w, found));
    strips = {found, parts, rows, cols, nullptr};
    memory.reset(static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>(strips.bytes()))));
    pack_strips(w, strips, memory.get());
    strips.data = memory.get();
  }

  std::vector<uint8_t> bytes;
  PackedRows w;
  Strips strips;
  std::unique_ptr<uint8_t, void (*)(void*)> memory{nullptr, std::free};
};

Weight of_type(const char* name, int64_t parts, int64_t rows, int64_t cols, std::mt19937& random) {
  const PackedType* type = packed_type(name);
  return Weight(type->layout, type->decode, nullptr, parts, rows, cols, random);
}

const char* const kTypes[] = {"Q4_0", "Q4_1", "Q5_0",   "Q5_1",   "Q8_0",  "Q2_K",  "Q3_K",  "Q4_K", "Q5_K",
                              "Q6_K", "Q1_0", "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4", "TQ2_0", "Q2_0"};

// Every variant, alone and in a team, against matmul_exact on the rows.
void check(const Weight& weight, int64_t tokens, Rows& x) {
  Rows expected(tokens, weight.w.rows), y(tokens, weight.w.rows);
  matmul_exact.runnable().front().run(x.view(), weight.w, expected.view());
  for (const auto& variant : matmul_strips.runnable()) {
    const Threads scope(tests::some_threads());
    INFO(variant.name, " tokens ", tokens, " rows ", weight.w.rows, " cols ", weight.w.cols, " threads ", threads());
    for (const bool in_team : {false, true}) {
      for (int64_t t = 0; t < tokens; ++t) std::fill(y.view().row(t), y.view().row(t) + weight.w.rows, -1.0f);
      const auto run = [&] { variant.run(x.view(), weight.strips, 0, 0, y.view()); };
      in_team ? with_team(run) : run();
      CHECK(tests::same_bits(y.view(), expected.view()));
      CHECK(y.gaps_untouched());
    }
  }
}

}  // namespace

TEST_SUITE("strips") {
  TEST_CASE("products have the bits of matmul_exact: every type of GGML") {
    std::mt19937 random(1);
    constexpr int64_t kTokens[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33}, kRows[] = {1, 16, 33, 75};
    int turn = 0;
    for (const char* name : kTypes) {
      CAPTURE(name);
      const int block = packed_type(name)->layout.block;
      for (const int64_t tokens : kTokens)
        for (const int64_t blocks : {1, 3}) {
          const Weight weight = of_type(name, 1, kRows[turn++ % 4], blocks * block, random);
          Rows x(tokens, weight.w.cols, static_cast<uint32_t>(turn));
          check(weight, tokens, x);
        }
    }
  }

  TEST_CASE("products have the bits of matmul_exact: grids") {
    std::mt19937 random(2);
    constexpr int64_t kTokens[] = {1, 2, 4, 6, 9, 33}, kCols[] = {32, 96, 160, 256, 272, 2112}, kGroups[] = {16, 32, 64, 128, 256, 0};
    int turn = 0;
    for (int bits = 1; bits <= 8; ++bits)
      for (const int64_t group : kGroups)
        for (const bool own_levels : {false, true}) {
          const int64_t cols = kCols[turn % 6];
          if ((own_levels && bits > 4) || (group == 0 && cols != 256 && cols != 2112)) continue;
          GridRow grid{bits, group, static_cast<ScaleType>(turn % 3), turn % 2 == 0, {}};
          for (int i = 0; i < 1 << bits; ++i) grid.code[i] = static_cast<uint8_t>(own_levels ? random() : 128 - (1 << (bits - 1)) + i);
          const Weight weight(grid_layout(grid, cols), &decode_grid, &grid, 1, 30 + turn % 5, cols, random);
          const int64_t tokens = kTokens[(turn + turn / 6) % 6];
          Rows x(tokens, cols, static_cast<uint32_t>(turn));
          CAPTURE(bits);
          CAPTURE(group);
          CAPTURE(own_levels);
          check(weight, tokens, x);
          ++turn;
        }
  }

  TEST_CASE("many strips, shared among threads, and long rows") {
    std::mt19937 random(3);
    for (const char* name : {"Q4_0", "Q6_K"}) {
      CAPTURE(name);
      for (const int64_t tokens : {1, 4, 11, 16, 40}) {
        const Weight weight = of_type(name, 1, 700, 2304, random);
        Rows x(tokens, 2304, 7);
        check(weight, tokens, x);
      }
    }
    // More results than a thread keeps before it stores them.
    const Weight tall = of_type("Q4_0", 1, 9001, 64, random);
    for (const int64_t tokens : {1, 3}) {
      Rows x(tokens, 64, 8);
      check(tall, tokens, x);
    }
  }

  TEST_CASE("rows that are zero, tiny or not finite") {
    std::mt19937 random(4);
    const Weight weight = of_type("Q4_K", 1, 20, 512, random);
    Rows x(12, 512);
    const auto fill = [&](int64_t t, float v) { std::fill(x.view().row(t), x.view().row(t) + 512, v); };
    fill(1, 0.0f), fill(3, -0x1p-101f), fill(4, 0x1p-100f), fill(6, std::numeric_limits<float>::max());
    x.at(2, 511) = std::numeric_limits<float>::quiet_NaN();
    x.at(5, 0) = -std::numeric_limits<float>::infinity();
    check(weight, 12, x);
  }

  TEST_CASE("the largest codes and activations do not overflow") {
    GridRow grid{8, 256, ScaleType::f32, true, {}};
    for (int i = 0; i < 256; ++i) grid.code[i] = static_cast<uint8_t>(i);
    std::mt19937 random(5);
    for (const uint8_t index : {0, 255}) {
      Weight weight(grid_layout(grid, 512), &decode_grid, &grid, 1, 16, 512, random);
      for (int64_t b = 0; b < 32; ++b) std::fill_n(weight.bytes.data() + b * 264 + 8, 256, index);
      pack_strips(weight.w, weight.strips, weight.memory.get());
      for (const int64_t tokens : {1, 8}) {
        Rows x(tokens, 512);
        for (int64_t t = 0; t < tokens; ++t) std::fill(x.view().row(t), x.view().row(t) + 512, t % 2 ? 3.0f : -3.0f);
        check(weight, tokens, x);
      }
    }
  }

  TEST_CASE("some rows of one part") {
    std::mt19937 random(6);
    const Weight weight = of_type("Q5_0", 3, 70, 96, random);
    Rows x(5, 96), expected(5, 30), y(5, 30);
    matmul_exact.runnable().front().run(x.view(), weight.w.slice(2 * 70 + 32, 30), expected.view());
    for (const auto& variant : matmul_strips.runnable()) {
      CAPTURE(variant.name);
      variant.run(x.view(), weight.strips, 2, 32, y.view());
      CHECK(tests::same_bits(y.view(), expected.view()));
      CHECK(y.gaps_untouched());
    }
  }

  TEST_CASE("experts: each row times its own, whatever the numbers of rows") {
    std::mt19937 random(7);
    constexpr int64_t kExperts = 9, kRows = 40;
    const Weight stack = of_type("Q4_K", kExperts, kRows, 768, random);
    for (const auto& [tokens, each] : {std::pair<int64_t, int64_t>{1, 1}, {8, 1}, {60, 1}, {8, 8}, {60, 5}, {40, 40}}) {
      Rows x(tokens / each, 768), expected(tokens, kRows), y(tokens, kRows);
      std::vector<int32_t> expert(static_cast<size_t>(tokens));
      for (int32_t& e : expert) e = random() % 3 ? static_cast<int32_t>(random() % kExperts) - 1 : 4;
      matmul_experts.runnable().front().run(x.view(), expert.data(), kRows, stack.w, expected.view());
      for (const auto& variant : matmul_experts_strips.runnable()) {
        const Threads scope(tests::some_threads());
        INFO(variant.name, " tokens ", tokens, " each ", each, " threads ", threads());
        variant.run(x.view(), expert.data(), stack.strips, y.view());
        CHECK(tests::same_bits(y.view(), expected.view()));
        CHECK(y.gaps_untouched());
      }
    }
  }
}
