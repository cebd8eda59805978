#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/experts/experts.h"
#include "kernels/strips/planes.h"
#include "kernels/strips/strips.h"
#include "tests/kernels/rows.h"

using namespace gemloupe;
using tests::Threads;

namespace {

const char* const kTypes[] = {"Q4_0", "Q4_1", "Q5_0",   "Q5_1",   "Q8_0",  "Q2_K",  "Q3_K",  "Q4_K", "Q5_K",
                              "Q6_K", "Q1_0", "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4", "TQ2_0", "Q2_0"};

struct Aligned {
  explicit Aligned(int64_t n) : data(static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>((n + 127) / 64 * 64))), std::free) {
    std::memset(data.get(), 0xa5, static_cast<size_t>(n) + 1);  // what is not written shows
  }
  std::unique_ptr<uint8_t, void (*)(void*)> data;
};

// Random bytes as rows of a weight, and their strips.
struct Packed {
  Packed(const CodesLayout& layout, const Kernel<DecodeCodes>* decode, const void* context, int64_t parts, int64_t rows, int64_t cols,
         std::mt19937& random) {
    const int64_t row_bytes = (cols + layout.block - 1) / layout.block * layout.block_bytes;
    bytes.resize(static_cast<size_t>(parts * rows * row_bytes));
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    w = {bytes.data(), parts * rows, cols, row_bytes, layout, decode, context};
    StripLayout found;
    REQUIRE(strip_layout(w, found));
    strips = {found, parts, rows, cols, nullptr};
    memory = std::make_unique<Aligned>(strips.bytes());
  }
  void pack() {
    pack_strips(w, strips, memory->data.get());
    strips.data = memory->data.get();
  }

  std::vector<uint8_t> bytes;
  PackedRows w;
  Strips strips;
  std::unique_ptr<Aligned> memory;
};

// The number of elements whose code, scale or minimum is another one than in the rows.
int64_t wrong_numbers(const Packed& p) {
  const StripLayout& l = p.strips.layout;
  const CodesLayout& rows = p.w.layout;
  const int64_t cols = p.w.cols, whole = (cols + rows.group - 1) / rows.group;
  std::vector<uint8_t> code(static_cast<size_t>(cols)), strip_code(16 * l.unit);
  std::vector<float> scale(whole), min(whole), strip_scale(16 * 16), strip_min(16 * 16);
  int64_t wrong = 0;
  for (int64_t r = 0; r < p.w.rows; ++r) {
    p.w.decode->runnable().front().run(p.w.context, p.w.data + r * p.w.row_bytes, cols, code.data(), scale.data(), min.data());
    const uint8_t* strip = p.strips.strip(r / p.strips.rows, r % p.strips.rows / 16);
    const int lane = static_cast<int>(r % p.strips.rows % 16);
    for (int64_t c = 0; c < p.strips.units() * l.unit; ++c) {
      const int in = static_cast<int>(c % l.unit);
      if (in == 0) {
        strip_codes(l, strip + c / l.unit * l.unit_bytes, strip_code.data());
        strip_scales(l, strip + c / l.unit * l.unit_bytes, strip_scale.data(), strip_min.data());
      }
      const int got = strip_code[in / 4 * 64 + 4 * lane + in % 4];
      if (c >= cols) {
        wrong += got != (l.table ? l.code_of[0] : 0);
        continue;
      }
      wrong += got - l.offset != code[c] - rows.offset;
      wrong += !tests::same_bits(strip_scale[in / l.group * 16 + lane], scale[c / rows.group]);
      if (l.has_min) wrong += !tests::same_bits(strip_min[in / l.group * 16 + lane], min[c / rows.group]);
    }
  }
  return wrong;
}

int64_t set_padding(const Packed& p) {  // bytes that should be zero: rows past the end, and nothing else is looked at
  int64_t set = 0;
  const int64_t rest = p.strips.rows % 16;
  if (!rest) return 0;
  for (int64_t part = 0; part < p.strips.parts; ++part) {
    const uint8_t* strip = p.strips.strip(part, p.strips.strips_per_part() - 1);
    std::vector<uint8_t> index(16 * 256);
    for (int64_t u = 0; u < p.strips.units(); ++u) {
      const StripLayout& l = p.strips.layout;
      strips::reference::from_planes(strip + u * l.unit_bytes + l.header, l.unit, l.bits, index.data());
      for (int64_t i = rest * l.unit; i < 16 * l.unit; ++i) set += index[static_cast<size_t>(i)] != 0;
    }
  }
  return set;
}

constexpr int64_t kRows[] = {1, 15, 16, 17, 33};

void check_rows(Packed& p, const std::vector<uint8_t>& expected) {
  const Threads scope(tests::some_threads());
  p.pack();
  CHECK(wrong_numbers(p) == 0);
  CHECK(set_padding(p) == 0);
  std::vector<uint8_t> back(p.bytes.size(), 0x5a);
  unpack_strips(p.strips, p.w, 0, p.w.rows, back.data());
  CHECK(back == expected);
  // Any range of rows.
  const int64_t first = p.w.rows / 3, count = (p.w.rows - first + 1) / 2;
  std::vector<uint8_t> part(static_cast<size_t>(count * p.w.row_bytes), 0x5a);
  unpack_strips(p.strips, p.w, first, count, part.data());
  CHECK(std::memcmp(part.data(), expected.data() + first * p.w.row_bytes, part.size()) == 0);
}

GridRow grid_row(int bits, int64_t group, ScaleType scale, bool min, bool own_levels, std::mt19937& random) {
  GridRow g{bits, group, scale, min, {}};
  for (int i = 0; i < 1 << bits; ++i)
    g.code[i] = static_cast<uint8_t>(own_levels ? random() : bits == 1 ? 127 + 2 * i : 128 - (1 << (bits - 1)) + i);
  return g;
}

// A grid's bytes with nothing in the bits behind the last column: those are not kept.
void clear_padding(std::vector<uint8_t>& bytes, const PackedRows& w, int bits) {
  const int64_t block = w.layout.block, header = w.layout.block_bytes - block * bits / 8;
  const int64_t blocks = w.row_bytes / w.layout.block_bytes, last = w.cols - (blocks - 1) * block;
  for (int64_t r = 0; r < w.rows; ++r) {
    uint8_t* at = bytes.data() + r * w.row_bytes + (blocks - 1) * w.layout.block_bytes + header;
    for (int64_t bit = last * bits; bit < block * bits; ++bit) at[bit / 8] &= static_cast<uint8_t>(~(1 << bit % 8));
  }
}

}  // namespace

TEST_CASE("strips hold every type of GGML to the byte") {
  std::mt19937 random(1);
  for (const char* name : kTypes) {
    CAPTURE(name);
    const PackedType& type = *packed_type(name);
    for (int64_t rows : kRows)
      for (int64_t blocks : {1, 2, 3, 5})
        for (int64_t parts : {1, 3}) {
          Packed p(type.layout, type.decode, nullptr, parts, rows, blocks * type.layout.block, random);
          check_rows(p, p.bytes);
        }
  }
}

TEST_CASE("strips hold grids, with short last groups and any number of columns") {
  std::mt19937 random(2);
  for (int bits = 1; bits <= 8; ++bits)
    for (bool own_levels : {false, true})
      for (int64_t group : {16, 32, 64, 128, 256, 512, 0}) {
        const auto scale = static_cast<ScaleType>(random() % 3);
        const GridRow g = grid_row(bits, group, scale, random() % 2, own_levels, random);
        for (int64_t cols : {1, 31, 64, 257, 512, 1000}) {
          CAPTURE(bits);
          CAPTURE(group);
          CAPTURE(cols);
          const CodesLayout layout = grid_layout(g, cols);
          const PackedRows kind{nullptr, 0, cols, 0, layout, &decode_grid, &g};
          StripLayout found;
          const bool fits = (bits <= 4 || !own_levels) && 256 % layout.group == 0;
          CHECK(strip_layout(kind, found) == fits);
          if (!fits) continue;
          Packed p(layout, &decode_grid, &g, 1 + random() % 3, kRows[random() % 5], cols, random);
          std::vector<uint8_t> expected = p.bytes;
          clear_padding(expected, p.w, bits);
          check_rows(p, expected);
        }
      }
}

TEST_CASE("lattice types have no strips") {
  for (const char* name : {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "TQ1_0"}) {
    const PackedType& type = *packed_type(name);
    StripLayout layout;
    CHECK_FALSE(strip_layout({nullptr, 1, 256, type.layout.block_bytes, type.layout, type.decode, nullptr}, layout));
  }
}

TEST_CASE("strips take little more memory than the rows") {
  for (const char* name : kTypes) {
    const PackedType& type = *packed_type(name);
    const PackedRows w{nullptr, 16, 256, 256 / type.layout.block * type.layout.block_bytes, type.layout, type.decode, nullptr};
    StripLayout layout;
    REQUIRE(strip_layout(w, layout));
    const Strips strips{layout, 1, 16, 256, nullptr};
    CAPTURE(name);
    CHECK(strips.bytes() >= 16 * w.row_bytes);
    CHECK(strips.bytes() * 100 <= 16 * w.row_bytes * 106);
    CHECK(layout.header % 64 == 0);
    CHECK(layout.unit % layout.group == 0);
  }
}

TEST_CASE("indices to planes and back: every variant as the readable one") {
  std::mt19937 random(3);
  for (int bits : {1, 2, 3, 4, 5, 6, 8})
    for (int cols : {64, 128, 256}) {
      CAPTURE(bits);
      CAPTURE(cols);
      Aligned index(16 * cols), judge(cols * bits * 2), planes(cols * bits * 2), back(16 * cols);
      for (int i = 0; i < 16 * cols; ++i) index.data.get()[i] = static_cast<uint8_t>(random() & ((1u << bits) - 1));
      strips::reference::to_planes(index.data.get(), cols, bits, judge.data.get());
      for (const auto& v : strips::to_planes.runnable()) {
        CAPTURE(v.name);
        v.run(index.data.get(), cols, bits, planes.data.get());
        CHECK(std::memcmp(planes.data.get(), judge.data.get(), cols * bits * 2 + 1) == 0);  // and the byte behind
      }
      for (const auto& v : strips::from_planes.runnable()) {
        CAPTURE(v.name);
        v.run(judge.data.get(), cols, bits, back.data.get());
        CHECK(std::memcmp(back.data.get(), index.data.get(), 16 * cols) == 0);
      }
    }
}

TEST_CASE("the planes of a unit lie as strips.h says") {
  // One index that is not zero: row 5, column 32 + 4 * 3 + 2, in six bits.
  Aligned index(16 * 64), planes(64 * 6 * 2);
  std::memset(index.data.get(), 0, 16 * 64);
  index.data.get()[5 * 64 + 46] = 0b100110;
  strips::reference::to_planes(index.data.get(), 64, 6, planes.data.get());
  for (int i = 0; i < 768; ++i) {
    const int second = 64 * 6, byte = 5 * 4 + 2;
    const int expected = i == second + 64 + byte ? 0b0110 << 4                 // quad 3: register 1, high nibble
                         : i == second + 4 * 64 + byte ? 0b10 << 6 : 0;        // and register 0 of two bits, its last ones
    CHECK(planes.data.get()[i] == expected);
  }
}

TEST_CASE("a product with strips has the bits of the product with the rows") {
  std::mt19937 random(4);
  for (const char* name : kTypes) {
    CAPTURE(name);
    const PackedType& type = *packed_type(name);
    const int64_t cols = 3 * type.layout.block, rows = 33, parts = 2;
    Packed p(type.layout, type.decode, nullptr, parts, rows, cols, random);
    p.pack();
    tests::Rows x(3, cols, 5), y(3, rows), judge(3, rows), part(3, 17), rest(3, 17);
    for (int64_t e = 0; e < parts; ++e) {
      matmul_exact(Matrix<const float>(x.view()), p.w.slice(e * rows, rows), judge.view());
      for (const auto& v : matmul_strips.runnable()) {
        CAPTURE(v.name);
        v.run(x.view(), p.strips, e, 0, y.view());
        CHECK(tests::same_bits(y.view(), judge.view()));
        v.run(x.view(), p.strips, e, 16, part.view());
        CHECK(tests::same_bits(part.view(), Matrix<const float>(judge.view().data + 16, 3, 17, judge.view().stride)));
        CHECK(y.gaps_untouched());
        CHECK(part.gaps_untouched());
      }
    }
    const int32_t experts[] = {1, -1, 0};
    matmul_experts(Matrix<const float>(x.view()), static_cast<const int32_t*>(experts), rows, p.w, judge.view());
    for (const auto& v : matmul_experts_strips.runnable()) {
      v.run(x.view(), experts, p.strips, y.view());
      CHECK(tests::same_bits(y.view(), judge.view()));
    }
  }
}
