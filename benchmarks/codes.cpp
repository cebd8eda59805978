// How fast blocks decode to codes: packed bytes and weights a second, for each variant this machine can run, in cache and from
// memory. A variant that disagrees with the reference is not timed.
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/main.h"
#include "kernels/codes/codes.h"

namespace gemloupe {
namespace {

constexpr int64_t kCols = 4096;

struct Subject {
  std::string name;
  CodesLayout layout;
  const Kernel<DecodeCodes>* decode;
  const void* context;
};

struct Out {
  std::vector<uint8_t> code = std::vector<uint8_t>(kCols);
  std::vector<float> scale = std::vector<float>(kCols / 16), min = std::vector<float>(kCols / 16);
};

void time_decode(benchmark::State& state, const Subject& subject, DecodeCodes* run, int64_t rows) {
  const int64_t row_bytes = kCols / subject.layout.block * subject.layout.block_bytes;
  std::vector<uint8_t> blocks(static_cast<size_t>(rows * row_bytes));
  std::mt19937 random(1);
  for (auto& b : blocks) b = static_cast<uint8_t>(random());

  Out out, judge;
  run(subject.context, blocks.data(), kCols, out.code.data(), out.scale.data(), out.min.data());
  subject.decode->runnable()[0].run(subject.context, blocks.data(), kCols, judge.code.data(), judge.scale.data(), judge.min.data());
  const auto bytes = static_cast<size_t>(kCols / subject.layout.group) * 4;
  if (out.code != judge.code || std::memcmp(out.scale.data(), judge.scale.data(), bytes) ||
      (subject.layout.has_min && std::memcmp(out.min.data(), judge.min.data(), bytes))) {
    state.SkipWithError("differs from the reference");
    return;
  }

  for (auto _ : state)
    for (int64_t r = 0; r < rows; ++r) {
      run(subject.context, blocks.data() + r * row_bytes, kCols, out.code.data(), out.scale.data(), out.min.data());
      benchmark::ClobberMemory();
    }
  state.SetBytesProcessed(state.iterations() * rows * row_bytes);
  state.SetItemsProcessed(state.iterations() * rows * kCols);
}

}  // namespace

void register_all() {
  static std::vector<Subject> subjects;
  int count;
  const PackedType* types = packed_types(count);
  for (int i = 0; i < count; ++i) subjects.push_back({types[i].name, types[i].layout, types[i].decode, nullptr});
  static GridRow grids[9];
  for (int bits : {2, 3, 4, 6, 8}) {
    grids[bits].bits = bits;
    grids[bits].group = 64;
    for (int i = 0; i < 256; ++i) grids[bits].code[i] = static_cast<uint8_t>(i * 7);
    subjects.push_back({"grid" + std::to_string(bits) + "_g64", grid_layout(grids[bits], kCols), &decode_grid, &grids[bits]});
  }
  for (const Subject& subject : subjects)
    for (const auto& variant : subject.decode->runnable())
      for (int64_t rows : {1, 20000}) {
        if (rows > 1 && extent != Extent::all) break;
        DecodeCodes* run = variant.run;
        benchmark::RegisterBenchmark(
            ("codes/" + subject.name + "/" + variant.name + (rows == 1 ? "/cache" : "/memory")).c_str(),
            [&subject, run, rows](benchmark::State& state) { time_decode(state, subject, run, rows); })->MinTime(0.03);
        if (rows == 1 && variant.needs == Isa::reference) break;  // far from the memory's speed
      }
}

}  // namespace gemloupe
