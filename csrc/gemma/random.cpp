// Models of any size with random weights, packed on the way: for speed, memory and arithmetic, never for meaning.
#include <algorithm>
#include <cmath>
#include <random>

#include "csrc/core/error.h"
#include "csrc/formats/strips.h"
#include "csrc/gemma/config_parts.h"
#include "csrc/gemma/model.h"
#include "csrc/gemma/names.h"
#include "kernels/common/team.h"

namespace gemloupe {
namespace {

// A stream of numbers for each (seed, weight, row), so that rows can be made in any order.
struct Stream {
  uint64_t state;
  Stream(uint64_t seed, uint64_t name, uint64_t row) : state(seed * 0x9e3779b97f4a7c15u ^ name ^ (row + 1) * 0xd1342543de82ef95u) {
    next();
    next();
  }
  uint64_t next() {
    state += 0x9e3779b97f4a7c15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // About normal with deviation 1: the sum of four uniforms of 16 bits each.
  float normal() {
    const uint64_t z = next();
    const int64_t sum = static_cast<int64_t>((z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48)) - 131070;
    return static_cast<float>(sum) * (1.7320508f / 65536.0f);
  }
};

uint64_t hash(const std::string& s) {
  uint64_t h = 0xcbf29ce484222325u;
  for (unsigned char c : s) h = (h ^ c) * 0x100000001b3u;
  return h;
}

void fill(const WeightSpec& spec, uint64_t seed, int64_t first_row, Matrix<float> out) {
  const float deviation = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.cols)));
  share(out.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      Stream stream(seed, hash(spec.name), static_cast<uint64_t>(first_row + r));
      for (int64_t c = 0; c < out.cols; ++c) out.row(r)[c] = deviation * stream.normal();
    }
  });
}

// Norm scales and the like lie around one, so that a forgotten one is seen.
Weight vector_of(const WeightSpec& spec, uint64_t seed) {
  uint8_t* memory = nullptr;
  Weight w = allocate_weight(format_named("F32"), 1, spec.cols, memory);
  Stream stream(seed, hash(spec.name), 0);
  for (int64_t i = 0; i < spec.cols; ++i) reinterpret_cast<float*>(memory)[i] = 1.0f + 0.1f * stream.normal();
  return w;
}

}  // namespace

Model random_model(Config config, const RandomOptions& options) {
  check(options.layers >= 0 && options.layers <= static_cast<int64_t>(config.layers.size()), "random: layers must be 0 (all) to ",
        config.layers.size(), ", got ", options.layers);
  check(options.vocabulary >= 0 && options.vocabulary <= (1 << 24), "random: vocabulary must be 0 (the model's own) or a size, got ", options.vocabulary);
  if (options.layers) {
    config.layers.resize(static_cast<size_t>(options.layers));
    if (config.architecture == "gemma4" && !config.layers.back().full) {
      // Gemma 4's last layer is always full: the one that would have come next of its kind stands there.
      const Config whole = config;
      const auto full = std::find_if(whole.layers.begin(), whole.layers.end(), [](const LayerConfig& l) { return l.full; });
      LayerConfig last = full != whole.layers.end() ? *full : whole.layers.back();
      if (full == whole.layers.end()) {
        const Config released = [&] {
          for (const std::string& size : released_sizes())
            if (size == config.name) return released_config(size);
          return config;
        }();
        for (const LayerConfig& l : released.layers)
          if (l.full) last = l;
      }
      last.ffn_width = config.layers.back().ffn_width;
      config.layers.back() = last;
      int64_t shared = 0;
      for (int64_t l = 0; l < options.layers; ++l) shared += whole.layers[static_cast<size_t>(l)].cache_source != l;
      share_caches(config, shared, "random");
    }
  }
  if (options.vocabulary) {
    config.vocabulary = options.vocabulary;
    if (config.ple_width) config.ple_vocabulary = options.vocabulary;
    std::erase_if(config.end_ids, [&](int32_t id) { return id >= options.vocabulary; });
    std::erase_if(config.suppress, [&](int32_t id) { return id >= options.vocabulary; });
    for (int32_t* id : {&config.bos, &config.eos, &config.pad})
      if (*id >= options.vocabulary) *id = -1;
  }
  config.check_sane("random");
  const auto format = format_named(options.format), plain = format_named("F32");
  Weights weights;
  for (const WeightSpec& spec : weight_specs(config)) {
    if (spec.kind == WeightSpec::Kind::vector) {
      weights[spec.name] = std::make_shared<const Weight>(vector_of(spec, options.seed));
      continue;
    }
    // A router is never packed; a width that is no multiple of the format's block stays F32, as converters do.
    std::shared_ptr<const Format> chosen = spec.name.ends_with("moe.scores") ? plain : format;
    int64_t row_bytes = 0;
    try {
      row_bytes = chosen->row_bytes(spec.cols);
    } catch (const std::invalid_argument&) {
      chosen = format_named(spec.cols % 32 == 0 ? "Q8_0" : "F32");
      row_bytes = chosen->row_bytes(spec.cols);
    }
    uint8_t* memory = nullptr;
    Weight w = allocate_weight(chosen, spec.rows * spec.experts, spec.cols, memory);
    w.experts = spec.experts;
    // A slab repeats after 4096 rows: a table of 262144 rows of noise costs more to pack than it is worth.
    constexpr int64_t kSlab = 256, kDistinct = 4096;
    std::vector<float> slab(static_cast<size_t>(std::min<int64_t>(kSlab, w.rows) * spec.cols));
    for (int64_t row = 0; row < w.rows; row += kSlab) {
      if (options.poll) options.poll();
      const int64_t rows = std::min(kSlab, w.rows - row);
      if (row >= kDistinct) {
        std::copy_n(memory + (row - kDistinct) * row_bytes, rows * row_bytes, memory + row * row_bytes);
        continue;
      }
      const Matrix<float> part(slab.data(), rows, spec.cols);
      fill(spec, options.seed, row, part);
      const Weight packed = chosen->pack(part);
      if (w.output_scale.empty()) w.output_scale = packed.output_scale;
      std::copy_n(packed.data, rows * row_bytes, memory + row * row_bytes);
    }
    weights[spec.name] = std::make_shared<const Weight>(std::move(w));
  }
  Model m;
  m.config = config;
  m.path = "random " + config.name;
  Graph graph = build_graph(m.config, std::move(weights));
  if (strips_pay()) add_strips(graph, nullptr, options.poll);
  m.graph = std::make_shared<const Graph>(std::move(graph));
  return m;
}

}  // namespace gemloupe
