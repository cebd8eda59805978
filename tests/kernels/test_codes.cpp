#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "kernels/codes/codes.h"
#include "kernels/common/half.h"

using namespace gemloupe;

namespace {

// Memory of exactly n bytes behind an odd address, so that a sanitizer sees a byte too many.
struct Exact {
  explicit Exact(int64_t n) : memory(new uint8_t[static_cast<size_t>(n) + 1]), data(memory.get() + 1) {}
  std::unique_ptr<uint8_t[]> memory;
  uint8_t* data;
};

struct Decoded {
  std::vector<uint8_t> code;
  std::vector<float> scale, min;
};

constexpr uint8_t kGuard = 0xa5;

Decoded run(DecodeCodes* decode, const void* context, const CodesLayout& layout, const uint8_t* blocks, int64_t cols) {
  Decoded out;
  const size_t groups = static_cast<size_t>((cols + layout.group - 1) / layout.group);
  out.code.assign(static_cast<size_t>(cols) + 64, kGuard);
  out.scale.assign(groups + 16, 1234.0f);
  out.min.assign(groups + 16, 1234.0f);
  decode(context, blocks, cols, out.code.data(), out.scale.data(), layout.has_min ? out.min.data() : nullptr);
  return out;
}

// Bits, guards included.
bool same_bits(const Decoded& a, const Decoded& b) {
  return a.code == b.code && !std::memcmp(a.scale.data(), b.scale.data(), a.scale.size() * 4) &&
         !std::memcmp(a.min.data(), b.min.data(), a.min.size() * 4);
}

// `missing` elements of the last block are left out.
void compare_variants(const Kernel<DecodeCodes>& decode, const void* context, const CodesLayout& layout, int trips, int missing = 0) {
  std::mt19937 random(7);
  for (int64_t blocks : {1, 2, 3, 4, 5, 7, 8, 9, 16, 31}) {
    const int64_t cols = blocks * layout.block - missing;
    for (int trip = 0; trip < trips; ++trip) {
      Exact bytes(blocks * layout.block_bytes);
      for (int64_t i = 0; i < blocks * layout.block_bytes; ++i)
        bytes.data[i] = static_cast<uint8_t>(trip == 0 ? 0 : trip == 1 ? 255 : random());
      const auto variants = decode.runnable();
      const Decoded judge = run(variants[0].run, context, layout, bytes.data, cols);
      for (size_t i = static_cast<size_t>(cols); i < judge.code.size(); ++i) CHECK(judge.code[i] == kGuard);
      for (int64_t i = 0; i < cols; ++i)
        if (std::abs(judge.code[static_cast<size_t>(i)] - layout.offset) > 128) FAIL("a code is too far from the offset");
      for (const auto& v : variants) {
        CAPTURE(v.name);
        CAPTURE(blocks);
        CHECK(same_bits(run(v.run, context, layout, bytes.data, cols), judge));
      }
    }
  }
}

}  // namespace

TEST_SUITE("codes") {
  TEST_CASE("every variant of every type gives the reference's bits and writes no more") {
    int count;
    const PackedType* types = packed_types(count);
    CHECK(count == 25);
    for (int i = 0; i < count; ++i) {
      CAPTURE(types[i].name);
      compare_variants(*types[i].decode, nullptr, types[i].layout, 20);
    }
  }

  TEST_CASE("grids: every variant, every number of bits") {
    std::mt19937 random(9);
    for (int bits = 1; bits <= 8; ++bits)
      for (int64_t group : {16, 32, 48, 64, 80, 512, 0})
        for (ScaleType type : {ScaleType::f32, ScaleType::f16, ScaleType::bf16})
          for (bool has_min : {false, true}) {
            GridRow grid;
            grid.bits = bits;
            grid.group = group;
            grid.scale = type;
            grid.has_min = has_min;
            for (int i = 0; i < 256; ++i) grid.code[i] = static_cast<uint8_t>(group == 64 ? i : random());
            CAPTURE(bits);
            CAPTURE(group);
            for (int missing : {0, 1, 7, 15})
              if (group) compare_variants(decode_grid, &grid, grid_layout(grid, 1), 3, missing);
            if (group) continue;
            for (int64_t cols : {1, 15, 16, 17, 48, 72, 100, 256, 257, 300, 640, 1000}) {
              const CodesLayout layout = grid_layout(grid, cols);
              Exact row(layout.block_bytes);
              for (int i = 0; i < layout.block_bytes; ++i) row.data[i] = static_cast<uint8_t>(random());
              const auto variants = decode_grid.runnable();
              const Decoded judge = run(variants[0].run, &grid, layout, row.data, cols);
              for (const auto& v : variants) CHECK(same_bits(run(v.run, &grid, layout, row.data, cols), judge));
            }
          }
  }

  TEST_CASE("a grid's indices lie least significant bit first") {
    GridRow grid;
    grid.bits = 3;
    grid.group = 16;
    grid.scale = ScaleType::f32;
    for (int i = 0; i < 8; ++i) grid.code[i] = static_cast<uint8_t>(100 + i);
    const CodesLayout layout = grid_layout(grid, 16);
    REQUIRE(layout.block_bytes == 10);
    uint8_t block[10] = {0, 0, 0x80, 0x3f, 0b10'001'000, 0b1'100'011'0, 0b111'110'10, 0, 0, 0};  // 0 1 2 3 4 5 6 7, then zeros
    const Decoded out = run(decode_grid.runnable()[0].run, &grid, layout, block, 16);
    CHECK(out.scale[0] == 1.0f);
    for (int i = 0; i < 16; ++i) CHECK(out.code[i] == (i < 8 ? 100 + i : 100));
  }

  TEST_CASE("types are found by name and by number") {
    int count;
    const PackedType* types = packed_types(count);
    for (int i = 0; i < count; ++i) {
      CHECK(packed_type(types[i].name) == types + i);
      CHECK(packed_type(types[i].ggml_id) == types + i);
      CHECK(types[i].layout.block % types[i].layout.group == 0);
      CHECK(types[i].layout.group % 16 == 0);
    }
    CHECK(packed_type("F32") == nullptr);
    CHECK(packed_type("") == nullptr);
    CHECK(packed_type(4) == nullptr);
    CHECK(packed_type(-1) == nullptr);
  }
}
