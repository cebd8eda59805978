// Configurations: what every layer is, from the sizes that files state; sanity; the released sizes.
#include "csrc/gemma/config.h"

#include <algorithm>
#include <cmath>

#include "csrc/core/error.h"
#include "csrc/gemma/config_parts.h"

namespace gemloupe {

void share_caches(Config& config, int64_t shared, const std::string& where) {
  const int64_t layers = static_cast<int64_t>(config.layers.size()), first = layers - shared;
  demand(shared >= 0 && shared < std::max<int64_t>(layers, 1), where, ": ", shared, " of ", layers, " layers share caches; at least one must own its own");
  for (int64_t l = 0; l < layers; ++l) {
    config.layers[l].cache_source = l;
    if (l < first) continue;
    // A late layer owns no keys: it reads those of the last earlier layer of its kind.
    int64_t source = first - 1;
    while (source >= 0 && config.layers[source].full != config.layers[l].full) --source;
    demand(source >= 0, where, ": layer ", l, " shares a cache, but no layer before ", first, " has ",
           config.layers[l].full ? "full" : "sliding", " attention");
    config.layers[l].cache_source = source;
  }
}

void Config::check_sane(const std::string& where) const {
  const auto size = [&](const char* what, int64_t n, int64_t least = 1, int64_t most = int64_t{1} << 24) {
    demand(n >= least && n <= most, where, ": ", what, " must be ", least, " to ", most, ", got ", n);
  };
  size("the vocabulary", vocabulary);
  size("the hidden size", hidden, 1, 1 << 20);
  size("the context", context, 1, int64_t{1} << 31);
  size("the number of layers", static_cast<int64_t>(layers.size()), 1, 1024);
  size("the per-layer embedding width", ple_width, 0, 1 << 16);
  demand(std::isfinite(eps) && eps > 0, where, ": the norm's epsilon must be above 0, got ", eps);
  demand(std::isfinite(softcap) && softcap >= 0, where, ": the soft cap must not be negative, got ", softcap);
  demand(std::isfinite(attention_scale) && attention_scale > 0, where, ": the attention scale must be above 0, got ", attention_scale);
  if (experts || experts_used) {
    size("the number of experts", experts, 1, 1 << 16);
    size("the experts used", experts_used, 1, experts);
    size("the experts' width", expert_width, 1, 1 << 20);
  }
  for (size_t l = 0; l < layers.size(); ++l) {
    const LayerConfig& layer = layers[l];
    const std::string at = text("layer ", l, ": ");
    size((at + "heads").c_str(), layer.heads, 1, 4096);
    size((at + "key heads").c_str(), layer.kv_heads, 1, 4096);
    size((at + "the head width").c_str(), layer.head_dim, 2, 8192);
    size((at + "the feed-forward width").c_str(), layer.ffn_width, 1, 1 << 22);
    demand(layer.heads % layer.kv_heads == 0, where, ": ", at, layer.heads, " heads are no multiple of ", layer.kv_heads, " key heads");
    demand(layer.head_dim % 2 == 0, where, ": ", at, "the head width must be even, got ", layer.head_dim);
    if (!layer.full) size((at + "the sliding window").c_str(), layer.window, 1, int64_t{1} << 31);
    demand(std::isfinite(layer.rope.theta) && layer.rope.theta > 0 && std::isfinite(layer.rope.factor) && layer.rope.factor > 0, where,
           ": ", at, "rope base and factor must be above 0, got ", layer.rope.theta, " and ", layer.rope.factor);
    const LayerConfig& source = layers[static_cast<size_t>(layer.cache_source)];
    demand(source.head_dim == layer.head_dim && source.kv_heads == layer.kv_heads && source.window == layer.window, where, ": ", at,
           "reads the cache of layer ", layer.cache_source, ", whose heads are others");
  }
}

namespace {

struct Size {
  const char* name;
  const char* architecture;
  int64_t layers, hidden, heads, kv_sliding, kv_full, head_sliding, head_full, ffn, window, period;
  int64_t ple, shared;      // Gemma 4
  bool double_wide, keys_are_values;
  int64_t experts, used, expert_width;
  double rope_factor, query_width;  // Gemma 3
  int64_t context;
};

constexpr Size kSizes[] = {
    {"gemma3-270m", "gemma3", 18, 640, 4, 1, 1, 256, 256, 2048, 512, 6, 0, 0, false, false, 0, 0, 0, 1, 256, 32768},
    {"gemma3-1b", "gemma3", 26, 1152, 4, 1, 1, 256, 256, 6912, 512, 6, 0, 0, false, false, 0, 0, 0, 1, 256, 32768},
    {"gemma3-4b", "gemma3", 34, 2560, 8, 4, 4, 256, 256, 10240, 1024, 6, 0, 0, false, false, 0, 0, 0, 8, 256, 131072},
    {"gemma3-12b", "gemma3", 48, 3840, 16, 8, 8, 256, 256, 15360, 1024, 6, 0, 0, false, false, 0, 0, 0, 8, 256, 131072},
    {"gemma3-27b", "gemma3", 62, 5376, 32, 16, 16, 128, 128, 21504, 1024, 6, 0, 0, false, false, 0, 0, 0, 8, 168, 131072},
    {"e2b", "gemma4", 35, 1536, 8, 1, 1, 256, 512, 6144, 512, 5, 256, 20, true, false, 0, 0, 0, 1, 1, 131072},
    {"e4b", "gemma4", 42, 2560, 8, 2, 2, 256, 512, 10240, 512, 6, 256, 18, false, false, 0, 0, 0, 1, 1, 131072},
    {"12b", "gemma4", 48, 3840, 16, 8, 1, 256, 512, 15360, 1024, 6, 0, 0, false, true, 0, 0, 0, 1, 1, 262144},
    {"26b", "gemma4", 30, 2816, 16, 8, 2, 256, 512, 2112, 1024, 6, 0, 0, false, true, 128, 8, 704, 1, 1, 262144},
    {"31b", "gemma4", 60, 5376, 32, 16, 4, 256, 512, 21504, 1024, 6, 0, 0, false, true, 0, 0, 0, 1, 1, 262144},
};

}  // namespace

std::vector<std::string> released_sizes() {
  std::vector<std::string> names;
  for (const Size& s : kSizes) names.push_back(s.name);
  return names;
}

Config released_config(const std::string& name) {
  const Size* found = nullptr;
  std::string known;
  for (const Size& s : kSizes) {
    if (name == s.name) found = &s;
    known += (known.empty() ? "" : ", ") + std::string(s.name);
  }
  check(found, "there is no released size \"", name, "\"; known are ", known);
  const Size& s = *found;
  const bool four = s.architecture == std::string("gemma4");
  Config c;
  c.architecture = s.architecture;
  c.name = s.name;
  c.vocabulary = c.ple_vocabulary = 262144;
  c.hidden = s.hidden;
  c.context = s.context;
  c.attention_scale = four ? 1.0f : static_cast<float>(1.0 / std::sqrt(s.query_width));
  c.softcap = four ? 30.0f : 0.0f;
  c.value_norm = c.layer_scale = four;
  c.ple_width = s.ple;
  c.experts = s.experts;
  c.experts_used = s.used;
  c.expert_width = s.expert_width;
  c.bos = 2;
  c.eos = 1;
  c.pad = 0;
  c.end_ids = four ? std::vector<int32_t>{1, 106, 50} : std::vector<int32_t>{1, 106};
  if (c.name == "12b") c.suppress = {258883, 258882};
  for (int64_t l = 0; l < s.layers; ++l) {
    LayerConfig layer;
    layer.full = (l + 1) % s.period == 0 || (four && l + 1 == s.layers);
    layer.window = layer.full ? 0 : s.window;
    layer.heads = s.heads;
    layer.kv_heads = layer.full ? s.kv_full : s.kv_sliding;
    layer.head_dim = layer.full ? s.head_full : s.head_sliding;
    layer.keys_are_values = s.keys_are_values && layer.full;
    layer.ffn_width = s.ffn * (s.double_wide && l >= s.layers - s.shared ? 2 : 1);
    if (layer.full) {
      layer.rope.theta = 1e6f;
      if (four) layer.rope = {"proportional", 1e6f, 1.0f, layer.head_dim / 8};
      if (s.rope_factor != 1) layer.rope = {"linear", 1e6f, static_cast<float>(s.rope_factor), 0};
    }
    c.layers.push_back(layer);
  }
  share_caches(c, s.shared, name);
  return c;
}

}  // namespace gemloupe
