// Packed weights of the models' shapes for the matmul rooms, in rows as files have them and in strips, and the loop they share.
//
// Each weight is there so often that a pass over all copies leaves nothing of the first one in any cache; its bytes are the packed
// ones. Rates (benchmarks/roof.h) are those of the fastest call, since other programs only ever add time; Google Benchmark's own
// columns are means.
#pragma once

#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/main.h"
#include "benchmarks/roof.h"
#include "benchmarks/shapes.h"
#include "kernels/codes/codes.h"
#include "kernels/common/half.h"
#include "kernels/common/large_pages.h"
#include "kernels/matmul/exact.h"
#include "kernels/strips/strips.h"

namespace gemloupe {

inline constexpr int64_t kCold = int64_t{512} << 20;  // bytes of weights that are cycled through
inline constexpr int64_t kChecked = 19;               // rows of a weight that are compared with the slow reference, at either end

inline std::vector<float> random_rows(int64_t n, uint32_t seed = 7) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> some(std::min<int64_t>(n, 1 << 20) | 1), x(n);
  for (float& v : some) v = normal(random);
  for (int64_t i = 0; i < n; ++i) x[i] = some[i % static_cast<int64_t>(some.size())];
  return x;
}

// Random codes under finite random scales: the two bytes of every half in a block's header get a sane exponent.
inline std::vector<uint8_t> random_blocks(const PackedType& type, int64_t bytes) {
  std::vector<uint8_t> blocks(bytes);
  std::mt19937_64 random(11);
  for (int64_t i = 0; i + 8 <= bytes; i += 8) {
    const uint64_t v = random();
    std::memcpy(&blocks[i], &v, 8);
  }
  const std::string name = type.name;
  const int at = name == "Q6_K" ? 208 : 0;
  const bool has_second = name == "Q4_K" || name == "Q5_K";
  for (int64_t b = 0; b < bytes; b += type.layout.block_bytes)
    for (int h = 0; h <= static_cast<int>(has_second); ++h) {
      const uint16_t half = float_to_f16(std::ldexp(1.0f + static_cast<float>(random() % 1024) / 1024, -9));
      std::memcpy(&blocks[b + at + 2 * h], &half, 2);
    }
  return blocks;
}

// `n` of T in large pages, as the weights of a model lie that has been rearranged while it was loaded.
template <class T>
std::shared_ptr<T> large(int64_t n) {
  const std::shared_ptr<uint8_t> memory = map_zeros(static_cast<size_t>(n) * sizeof(T));
  return {memory, reinterpret_cast<T*>(memory.get())};
}

// One random weight (for experts, a stack of them) and its cold copies.
struct RandomWeight {
  std::vector<uint8_t> bytes;
  PackedRows rows;  // of the first copy
  int64_t copies = 1;
  std::shared_ptr<uint8_t> lines;
  Strips strips;  // of all copies, one a part; of a stack, one an expert. No data where the type has no strips

  PackedRows copy(int64_t i) const {
    PackedRows one = rows;
    one.data += i % copies * rows.rows * rows.row_bytes;
    return one;
  }
};

inline int64_t row_bytes(const PackedType& type, const shapes::Shape& shape) {
  return shape.cols / type.layout.block * type.layout.block_bytes;
}

// What make() gives, kept until another name is asked for: Google Benchmark calls every benchmark several times, and those of one
// weight follow each other.
inline struct {
  std::string name;
  std::shared_ptr<void> made;
} last;
template <class Make>
auto kept(const std::string& name, Make&& make) {
  using T = std::decay_t<decltype(make())>;
  if (name != last.name) {
    last.made.reset();
    last.made = std::make_shared<T>(make());
    last.name = name;
  }
  return std::static_pointer_cast<const T>(last.made);
}

enum class Form { rows, strips };

inline RandomWeight make_random_weight(const PackedType& type, const shapes::Shape& shape, Form form) {
  RandomWeight w;
  const int64_t parts = std::max<int64_t>(shape.experts, 1), rows = parts * shape.rows, size = rows * row_bytes(type, shape);
  w.copies = shape.experts ? 1 : std::max<int64_t>(1, kCold / size);
  w.bytes = random_blocks(type, size);
  if (form == Form::rows) {
    w.bytes.resize(w.copies * size);
    for (int64_t i = 1; i < w.copies; ++i) std::memcpy(&w.bytes[i * size], w.bytes.data(), size);
  }
  w.rows = {w.bytes.data(), rows, shape.cols, row_bytes(type, shape), type.layout, type.decode, nullptr};
  StripLayout layout;
  if (form == Form::strips && strip_layout(w.rows, layout)) {
    Strips one{layout, parts, shape.rows, shape.cols, nullptr};
    const int64_t bytes = one.bytes();
    w.lines = large<uint8_t>(w.copies * bytes);
    pack_strips(w.rows, one, w.lines.get());
    for (int64_t i = 1; i < w.copies; ++i) std::memcpy(w.lines.get() + i * bytes, w.lines.get(), bytes);
    w.strips = {layout, parts * w.copies, shape.rows, shape.cols, w.lines.get()};
  }
  return w;
}

inline std::shared_ptr<const RandomWeight> random_weight(const PackedType& type, const shapes::Shape& shape, Form form) {
  const std::string name = std::string(shape.name) + "/" + type.name + (form == Form::rows ? "/rows" : "/strips");
  return kept(name, [&] { return make_random_weight(type, shape, form); });
}

inline bool same_bits(Matrix<const float> a, Matrix<const float> b, int64_t cols) {
  for (int64_t t = 0; t < a.rows; ++t)
    if (std::memcmp(a.row(t), b.row(t), cols * sizeof(float))) return false;
  return true;
}

inline Cost exact_cost(Isa needs, double bytes, double operations) {
  return {bytes, operations, needs >= Isa::avx512 ? 2 * operations : operations, roof::integer(needs)};
}

// Calls work(0), work(1), ... and states the rates of the fastest call.
template <class Work>
void time_cold(benchmark::State& state, const Cost& cost, Work&& work) {
  state_rates(state, cost, best_seconds_of_team(state, work), true);
}

// Whether a variant is measured: the best one, and on one shape all of them.
template <class Fn>
bool shown(const Kernel<Fn>& kernel, const Variant<Fn>& variant, const shapes::Shape& shape) {
  if (variant.needs == Isa::reference) return false;
  return extent == Extent::all || !std::strcmp(shape.name, "E2B.ffn_gate") || variant.run == kernel.runnable().back().run;
}

// Which shapes stand for the others: narrow and deep, wide, the widest.
inline bool typical(const shapes::Shape& shape) {
  for (const char* name : {"270M.ffn_gate", "E2B.attn_k", "E2B.ffn_gate", "E2B.ffn_down_wide", "26B.ffn_gate", "31B.ffn_down"})
    if (!std::strcmp(name, shape.name)) return true;
  return false;
}
inline bool chosen(const shapes::Shape& shape) {
  if (extent == Extent::quick) return !std::strcmp(shape.name, "E2B.ffn_gate");
  return extent == Extent::all || typical(shape);
}
inline double seconds_a_case() { return extent == Extent::all ? 0.2 : 0.05; }

// Rows from one decoded token to a long prompt.
inline std::vector<int64_t> row_counts() {
  if (extent == Extent::quick) return {1, 512};
  return {1, 2, 4, 8, 16, 32, 128, 512};
}

}  // namespace gemloupe
