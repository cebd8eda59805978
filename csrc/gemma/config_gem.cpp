// A configuration as .gem files have it: every number of ours under its own name, nothing implied, nothing rounded.
#include <nlohmann/json.hpp>

#include "csrc/core/error.h"
#include "csrc/gemma/gem.h"
#include "csrc/io/json_text.h"

namespace gemloupe {
namespace {

using nlohmann::json;

// The same list of fields for both directions.
template <class Each>
void each_field(RopeConfig& r, Each&& each) {
  each("kind", r.kind);
  each("theta", r.theta);
  each("factor", r.factor);
  each("rotated", r.rotated);
}
template <class Each>
void each_field(LayerConfig& l, Each&& each) {
  each("full", l.full);
  each("window", l.window);
  each("heads", l.heads);
  each("kv_heads", l.kv_heads);
  each("head_dim", l.head_dim);
  each("cache_source", l.cache_source);
  each("keys_are_values", l.keys_are_values);
  each("ffn_width", l.ffn_width);
  each("rope", l.rope);
}
template <class Each>
void each_field(Config& c, Each&& each) {
  each("architecture", c.architecture);
  each("name", c.name);
  each("vocabulary", c.vocabulary);
  each("hidden", c.hidden);
  each("context", c.context);
  each("eps", c.eps);
  each("attention_scale", c.attention_scale);
  each("softcap", c.softcap);
  each("tied", c.tied);
  each("value_norm", c.value_norm);
  each("layer_scale", c.layer_scale);
  each("ple_width", c.ple_width);
  each("ple_vocabulary", c.ple_vocabulary);
  each("experts", c.experts);
  each("experts_used", c.experts_used);
  each("expert_width", c.expert_width);
  each("layers", c.layers);
  each("end_ids", c.end_ids);
  each("suppress", c.suppress);
  each("bos", c.bos);
  each("eos", c.eos);
  each("pad", c.pad);
}

template <class T>
constexpr bool kIsObject = std::is_same_v<T, RopeConfig> || std::is_same_v<T, LayerConfig> || std::is_same_v<T, Config>;

template <class T>
json written(const std::vector<T>& values);
template <class T>
json written(const T& value) {
  if constexpr (kIsObject<T>) {
    json j = json::object();
    each_field(const_cast<T&>(value), [&](const char* key, const auto& field) { j[key] = written(field); });
    return j;
  } else {
    return value;
  }
}
template <class T>
json written(const std::vector<T>& values) {
  json j = json::array();
  for (const T& value : values) j.push_back(written(value));
  return j;
}

struct ConfigReader {
  const std::string& where;

  template <class T>
  void read(const json& j, const std::string& at, T& value) const {
    if constexpr (kIsObject<T>) {
      demand(j.is_object(), where, ": ", at, " must be an object");
      each_field(value, [&](const char* key, auto& field) {
        const auto found = j.find(key);
        demand(found != j.end(), where, ": ", at, ".", key, " is missing");
        read(*found, at + "." + key, field);
      });
    } else if constexpr (std::is_same_v<T, bool>) {
      demand(j.is_boolean(), where, ": ", at, " must be true or false");
      value = j.get<bool>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      demand(j.is_string() && j.get_ref<const std::string&>().size() <= 4096, where, ": ", at, " must be a short string");
      value = j.get<std::string>();
    } else if constexpr (std::is_same_v<T, float>) {
      demand(j.is_number(), where, ": ", at, " must be a number");
      value = static_cast<float>(j.get<double>());
    } else {
      constexpr int64_t kMost = int64_t{1} << 31;
      demand(j.is_number_integer() && (!j.is_number_unsigned() || j.get<uint64_t>() < static_cast<uint64_t>(kMost)) && j.get<int64_t>() >= -1 &&
                 j.get<int64_t>() < kMost, where, ": ", at, " must be a whole number of -1 to 2^31 - 1");
      value = static_cast<T>(j.get<int64_t>());
    }
  }
  template <class T>
  void read(const json& j, const std::string& at, std::vector<T>& values) const {
    demand(j.is_array() && j.size() <= (1 << 24), where, ": ", at, " must be a list");
    values.clear();
    for (const json& one : j) read(one, at, values.emplace_back());
  }
};

}  // namespace

std::string config_to_gem(const Config& config) {
  return written(config).dump(-1, ' ', false, json::error_handler_t::replace);  // a name may hold any bytes
}

Config config_from_gem(const std::string& words, const std::string& where) {
  Config c;
  ConfigReader{where}.read(parse_json(words, where), "config", c);
  demand(c.architecture == "gemma3" || c.architecture == "gemma4", where, ": the architecture must be gemma3 or gemma4");
  demand(c.ple_vocabulary >= 0 && c.ple_vocabulary <= (1 << 24) && (!c.ple_width || c.ple_vocabulary), where,
         ": the per-layer embedding's vocabulary must be 1 to 2^24");
  for (size_t l = 0; l < c.layers.size(); ++l) {
    const LayerConfig& layer = c.layers[l];
    const std::string at = text(": layer ", l, ": ");
    demand(layer.cache_source >= 0 && layer.cache_source <= static_cast<int64_t>(l), where, at, "reads the cache of layer ",
           layer.cache_source, ", which is no earlier one");
    const LayerConfig& source = c.layers[static_cast<size_t>(layer.cache_source)];
    demand(source.cache_source == layer.cache_source && source.full == layer.full, where, at, "reads the cache of layer ", layer.cache_source,
           ", which is of another kind or has none");
    demand(layer.rope.kind == "default" || layer.rope.kind == "linear" || layer.rope.kind == "proportional", where, at,
           "the rope must be default, linear or proportional");
    demand(layer.rope.rotated >= 0 && layer.rope.rotated <= layer.head_dim / 2, where, at, layer.rope.rotated, " pairs of ",
           layer.head_dim / 2, " cannot rotate");
    demand(!layer.full || layer.window == 0, where, at, "full attention has no window");
  }
  c.check_sane(where);
  for (const auto* ids : {&c.end_ids, &c.suppress})
    for (const int32_t id : *ids) demand(id >= 0 && id < c.vocabulary, where, ": the id ", id, " is outside the vocabulary of ", c.vocabulary);
  return c;
}

}  // namespace gemloupe
