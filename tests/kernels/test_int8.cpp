#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "kernels/int8/int8.h"
#include "tests/kernels/rows.h"

using namespace gemloupe;
using tests::Rows;
using tests::Threads;

namespace {

// The definition of kernels/int8/int8.h, output by output.
float product(const float* x, const PackedRows& w, int64_t r) {
  const int64_t cols = w.cols, group = w.layout.group;
  std::vector<uint8_t> code(static_cast<size_t>(cols));
  std::vector<float> scale(static_cast<size_t>(cols / group + 1)), min(scale);
  w.decode->runnable().front().run(w.context, w.data + r * w.row_bytes, cols, code.data(), scale.data(), min.data());
  float acc = 0;
  for (int64_t begin = 0; begin < cols;) {
    const int64_t b = begin / 32, g = begin / group, end = std::min({cols, (b + 1) * 32, (g + 1) * group});
    float m = 0, bad = 0;
    for (int64_t i = b * 32; i < std::min(cols, b * 32 + 32); ++i) m = std::max(m, std::fabs(x[i])), bad += x[i] - x[i];
    int64_t sum = 0, plain = 0;
    for (int64_t i = begin; i < end && !(m < 0x1p-100f) && bad == 0; ++i) {
      const auto q = static_cast<int64_t>(std::nearbyint(x[i] * (127.0f / m)));
      sum += (code[i] - w.layout.offset) * q, plain += q;
    }
    float piece = scale[g] * static_cast<float>(sum);
    if (w.layout.has_min) piece = std::fma(min[g], static_cast<float>(plain), piece);
    acc = std::fma(bad != 0 ? NAN : m < 0x1p-100f ? 0.0f : m / 127.0f, piece, acc);
    begin = end;
  }
  return acc;
}

void check(const CodesLayout& l, const Kernel<DecodeCodes>* decode, const void* context, int64_t tokens, int64_t rows, int64_t cols,
           std::mt19937& random) {
  INFO(tokens, " times ", rows, " rows of ", cols);
  const int64_t row_bytes = (cols + l.block - 1) / l.block * l.block_bytes;
  std::vector<uint8_t> bytes(static_cast<size_t>(rows * row_bytes));
  for (auto& v : bytes) v = static_cast<uint8_t>(random() % 64);  // bytes below 64: as halves they are finite
  const PackedRows w{bytes.data(), rows, cols, row_bytes, l, decode, context};
  Rows x(tokens, cols, static_cast<uint32_t>(random())), expected(tokens, rows), y(tokens, rows);
  if (cols > 40) {
    std::fill(x.view().row(0), x.view().row(0) + 32, 0.0f);
    x.view().row(tokens - 1)[40] = tokens > 4 ? INFINITY : 0.0f;
  }
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t r = 0; r < rows; ++r) expected.view().row(t)[r] = product(x.view().row(t), w, r);
  Strips strips{{}, 1, rows, cols, nullptr};
  std::unique_ptr<uint8_t, void (*)(void*)> memory{nullptr, std::free};
  if (strip_layout(w, strips.layout)) {
    memory.reset(static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>(strips.bytes()))));
    pack_strips(w, strips, memory.get());
    strips.data = memory.get();
  }
  const Threads scope(tests::some_threads());
  for (const auto& variant : matmul_int8.runnable()) {
    CAPTURE(variant.name);
    variant.run(x.view(), w, y.view());
    CHECK(tests::same_bits(y.view(), expected.view()));
  }
  for (const auto& variant : matmul_strips_int8.runnable()) {
    if (!strips.data) continue;
    CAPTURE(variant.name);
    variant.run(x.view(), strips, 0, 0, y.view());
    CHECK(tests::same_bits(y.view(), expected.view()));
    CHECK(y.gaps_untouched());
    if (rows <= kStripRows) continue;
    Rows late(tokens, rows - kStripRows);
    variant.run(x.view(), strips, 0, kStripRows, late.view());
    for (int64_t t = 0; t < tokens; ++t)
      CHECK(tests::same_bits({late.view().row(t), 1, rows - kStripRows}, {expected.view().row(t) + kStripRows, 1, rows - kStripRows}));
  }
}

}  // namespace

TEST_SUITE("int8") {
  TEST_CASE("products are as defined: every type of GGML, from rows and from strips") {
    std::mt19937 random(3);
    int count, turn = 0;
    const PackedType* types = packed_types(count);
    for (int i = 0; i < count; ++i) {
      CAPTURE(types[i].name);
      for (const int64_t tokens : {1, 2, 9}) {
        const CodesLayout& l = types[i].layout;
        check(l, types[i].decode, nullptr, tokens, 1 + turn * 7 % 40, l.block * (1 + turn % 3), random);
        ++turn;
      }
    }
  }

  TEST_CASE("products are as defined: grids, with groups that cut blocks and short last groups") {
    std::mt19937 random(4);
    int turn = 0;
    for (int bits = 1; bits <= 8; ++bits)
      for (const int64_t group : {0, 16, 48, 64, 256}) {
        GridRow grid{bits, group, static_cast<ScaleType>(turn % 3), turn % 2 == 0, {}};
        for (int i = 0; i < 1 << bits; ++i) grid.code[i] = static_cast<uint8_t>(128 - (1 << (bits - 1)) + i);
        const int64_t cols = group == 0 ? 256 : 1 + turn * 37 % 300;
        check(grid_layout(grid, cols), &decode_grid, &grid, 1 + turn % 5 * 3, 1 + turn * 11 % 40, cols, random);
        ++turn;
      }
  }
}
