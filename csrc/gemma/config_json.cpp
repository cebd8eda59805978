// Configurations from config.json of Hugging Face checkpoints in all their spellings, and back.
#include <cmath>
#include <nlohmann/json.hpp>

#include "csrc/core/error.h"
#include "csrc/gemma/config_parts.h"

namespace gemloupe {
namespace {

using nlohmann::json;

// Reads keys of one object; a key of another kind than expected is an Error that names it.
struct Reader {
  const json& object;
  std::string where;

  const json* find(const char* key) const {
    const auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  }
  int64_t integer(const char* key, std::optional<int64_t> otherwise = {}) const {
    const json* v = find(key);
    if (!v && otherwise) return *otherwise;
    demand(v, where, ": ", key, " is missing");
    demand(v->is_number_integer() || (v->is_number_float() && std::floor(v->get<double>()) == v->get<double>() &&
                                      std::fabs(v->get<double>()) < 1e15),
           where, ": ", key, " must be an integer, got ", v->dump());
    return v->is_number_integer() ? v->get<int64_t>() : static_cast<int64_t>(v->get<double>());
  }
  double number(const char* key, double otherwise) const {
    const json* v = find(key);
    if (!v) return otherwise;
    demand(v->is_number(), where, ": ", key, " must be a number, got ", v->dump());
    return v->get<double>();
  }
  bool flag(const char* key, bool otherwise) const {
    const json* v = find(key);
    if (!v) return otherwise;
    demand(v->is_boolean(), where, ": ", key, " must be true or false, got ", v->dump());
    return v->get<bool>();
  }
  std::string word(const char* key, const std::string& otherwise) const {
    const json* v = find(key);
    if (!v) return otherwise;
    demand(v->is_string(), where, ": ", key, " must be a text, got ", v->dump());
    return v->get<std::string>();
  }
};

std::vector<int32_t> ids(const Reader& r, const char* key) {
  std::vector<int32_t> found;
  const json* v = r.find(key);
  if (!v) return found;
  for (const json& id : v->is_array() ? *v : json::array({*v})) {
    demand(id.is_number_integer(), r.where, ": ", key, " must hold token ids, got ", v->dump());
    found.push_back(id.get<int32_t>());
  }
  return found;
}

RopeConfig rope_of(const json& given, const std::string& where, int64_t head_dim, double theta) {
  const Reader r{given, where};
  RopeConfig rope;
  rope.kind = r.word("rope_type", r.word("type", "default"));
  rope.theta = static_cast<float>(r.number("rope_theta", theta));
  if (rope.kind == "default") return rope;
  demand(rope.kind == "linear" || rope.kind == "proportional", where, ": rope_type \"", rope.kind,
         "\" is not known for Gemma; default, linear and proportional are");
  rope.factor = static_cast<float>(r.number("factor", 1.0));
  if (rope.kind == "proportional") {
    const double part = r.number("partial_rotary_factor", 1.0);
    demand(part >= 0 && part <= 1, where, ": partial_rotary_factor must be 0 to 1, got ", part);
    rope.rotated = static_cast<int64_t>(part * static_cast<double>(head_dim) / 2);
    demand(rope.rotated > 0, where, ": partial_rotary_factor ", part, " lets no pair of ", head_dim / 2, " rotate");
  }
  return rope;
}

json parsed(const std::string& text_, const std::string& where) {
  try {
    json j = json::parse(text_);
    demand(j.is_object(), where, ": must hold a JSON object");
    return j;
  } catch (const json::exception& e) {
    throw Error(where + ": not readable as JSON: " + e.what());
  }
}

}  // namespace

Config config_from_json(const std::string& config_json, const std::string& generation_json, const std::string& where) try {
  const json top = parsed(config_json, where);
  const Reader outer{top, where};
  const json* wrapped = outer.find("text_config");
  demand(!wrapped || wrapped->is_object(), where, ": text_config must be an object");
  const Reader r{wrapped ? *wrapped : top, wrapped ? where + ": text_config" : where};

  std::string type = r.word("model_type", outer.word("model_type", ""));
  if (type.empty()) type = outer.word("model_type", "");
  const bool three = type == "gemma3" || type == "gemma3_text";
  const bool unified = type.rfind("gemma4_unified", 0) == 0;
  const bool four = unified || type == "gemma4" || type == "gemma4_text";
  demand(three || four, where, ": model_type is \"", type, "\"; gemloupe runs gemma3, gemma3_text, gemma4, gemma4_text and gemma4_unified");

  Config c;
  c.architecture = three ? "gemma3" : "gemma4";
  c.name = outer.word("_name_or_path", c.architecture);
  if (c.name.empty()) c.name = c.architecture;
  c.vocabulary = r.integer("vocab_size", three ? 262208 : 262144);
  c.hidden = r.integer("hidden_size", 2304);
  c.context = r.integer("max_position_embeddings", 131072);
  c.eps = static_cast<float>(r.number("rms_norm_eps", 1e-6));
  c.softcap = static_cast<float>(r.number("final_logit_softcapping", 0));
  // In a wrapped checkpoint the top level decides, the text model's own word does not count.
  c.tied = outer.flag("tie_word_embeddings", true);
  c.value_norm = c.layer_scale = four;
  c.ple_width = four && !unified ? r.integer("hidden_size_per_layer_input", 256) : 0;
  c.ple_vocabulary = c.ple_width ? r.integer("vocab_size_per_layer_input", 262144) : 0;
  if (four && !unified && r.flag("enable_moe_block", false)) {
    c.experts = r.integer("num_experts");
    c.experts_used = r.integer("top_k_experts");
    c.expert_width = r.integer("moe_intermediate_size");
  }
  if (three) {
    const double width = r.number("query_pre_attn_scalar", 256);
    demand(width > 0, where, ": query_pre_attn_scalar must be above 0, got ", width);
    c.attention_scale = static_cast<float>(1.0 / std::sqrt(width));
  }
  const std::string activation = r.word("hidden_activation", "gelu_pytorch_tanh");
  demand(activation == "gelu_pytorch_tanh", where, ": hidden_activation must be gelu_pytorch_tanh, got ", activation);
  demand(!r.flag("attention_bias", false), where, ": attention_bias is not supported: no Gemma has it");
  if (const json* both = r.find("use_bidirectional_attention"))
    demand((both->is_boolean() && !both->get<bool>()) || *both == "vision", where, ": use_bidirectional_attention must be off or \"vision\", got ",
           both->dump());

  const int64_t layers = r.integer("num_hidden_layers", three ? 26 : 30);
  demand(layers >= 1 && layers <= 1024, where, ": num_hidden_layers must be 1 to 1024, got ", layers);
  const int64_t window = r.integer("sliding_window", three ? 4096 : 512);
  const int64_t heads = r.integer("num_attention_heads", 8), kv_heads = r.integer("num_key_value_heads", 4);
  const int64_t head_dim = r.integer("head_dim", 256), ffn = r.integer("intermediate_size", 9216);
  demand(ffn >= 1 && ffn <= int64_t{1} << 22, where, ": intermediate_size must be 1 to ", int64_t{1} << 22, ", got ", ffn);
  const int64_t shared = four ? r.integer("num_kv_shared_layers", 0) : 0;
  demand(shared >= 0 && shared < layers, where, ": num_kv_shared_layers must be 0 to ", layers - 1, ", got ", shared);
  const bool same_kv = four && r.flag("attention_k_eq_v", unified);
  const bool double_wide = four && r.flag("use_double_wide_mlp", false);
  const int64_t period = three ? r.integer("sliding_window_pattern", r.integer("_sliding_window_pattern", 6)) : 6;
  demand(period >= 1, where, ": sliding_window_pattern must be at least 1, got ", period);
  const json* kinds = r.find("layer_types");
  demand(!kinds || (kinds->is_array() && static_cast<int64_t>(kinds->size()) == layers), where, ": layer_types must have ", layers, " entries");
  const json* overrides = r.find("per_layer_config");
  demand(!overrides || overrides->is_object(), where, ": per_layer_config must be an object");

  const json none = json::object();
  const json* nested = r.find("rope_parameters");
  const bool by_kind = nested && (nested->contains("full_attention") || nested->contains("sliding_attention"));
  demand(!nested || by_kind || nested->empty(), where, ": rope_parameters must name full_attention and sliding_attention");
  for (int64_t l = 0; l < layers; ++l) {
    LayerConfig layer;
    if (kinds) {
      const json& kind = (*kinds)[static_cast<size_t>(l)];
      demand(kind == "full_attention" || kind == "sliding_attention", where, ": layer_types[", l,
             "] must be full_attention or sliding_attention, got ", kind.dump());
      layer.full = kind == "full_attention";
    } else {
      layer.full = (l + 1) % period == 0;
    }
    if (four && l + 1 == layers) layer.full = true;
    layer.window = layer.full ? 0 : window;
    layer.heads = heads;
    layer.kv_heads = kv_heads;
    layer.head_dim = head_dim;
    layer.ffn_width = ffn * (double_wide && shared && l >= layers - shared ? 2 : 1);
    layer.keys_are_values = same_kv && layer.full;
    if (overrides) {
      for (const auto& [key, value] : overrides->items())
        if (key == std::to_string(l) || (key.size() > 1 && key[0] == '0' && std::strtoll(key.c_str(), nullptr, 10) == l) ||
            key == (layer.full ? "full_attention" : "sliding_attention")) {
          demand(value.is_object(), where, ": per_layer_config[", key, "] must be an object");
          const Reader o{value, text(where, ": per_layer_config[", key, "]")};
          layer.head_dim = o.integer("head_dim", layer.head_dim);
          layer.kv_heads = o.integer("num_key_value_heads", layer.kv_heads);
          layer.heads = o.integer("num_attention_heads", layer.heads);
          layer.window = layer.full ? 0 : o.integer("sliding_window", layer.window);
        }
    } else if (four && layer.full) {
      layer.head_dim = r.integer("global_head_dim", 512);
      if (same_kv) layer.kv_heads = r.integer("num_global_key_value_heads", layer.kv_heads);
    }
    const double theta = layer.full ? (three ? r.number("rope_theta", 1e6) : 1e6) : three ? r.number("rope_local_base_freq", 1e4) : 1e4;
    const char* kind = layer.full ? "full_attention" : "sliding_attention";
    if (by_kind) {
      const json* given = nested->contains(kind) && !nested->at(kind).is_null() ? &nested->at(kind) : &none;
      demand(given->is_object(), where, ": rope_parameters.", kind, " must be an object");
      layer.rope = rope_of(*given, where + ": rope_parameters." + kind, layer.head_dim, theta);
    } else if (layer.full && four) {
      layer.rope = {"proportional", 1e6f, 1.0f, layer.head_dim / 8};
    } else {
      layer.rope.theta = static_cast<float>(theta);
      if (const json* scaling = r.find("rope_scaling"); layer.full && scaling && scaling->is_object())
        layer.rope = rope_of(*scaling, where + ": rope_scaling", layer.head_dim, theta);
    }
    c.layers.push_back(layer);
  }
  share_caches(c, shared, where);

  const auto id = [&](const char* key) {
    const auto found = ids(r, key).empty() ? ids(outer, key) : ids(r, key);
    return found.empty() ? -1 : found.front();
  };
  c.bos = id("bos_token_id");
  c.eos = id("eos_token_id");
  c.pad = id("pad_token_id");
  c.end_ids = ids(outer, "eos_token_id").empty() ? ids(r, "eos_token_id") : ids(outer, "eos_token_id");
  if (!generation_json.empty()) {
    const json generation = parsed(generation_json, where + " (generation_config.json)");
    const Reader g{generation, where + " (generation_config.json)"};
    if (const auto ends = ids(g, "eos_token_id"); !ends.empty()) c.end_ids = ends;
    c.suppress = ids(g, "suppress_tokens");
  }
  c.check_sane(where);
  return c;
} catch (const nlohmann::json::exception& e) {
  throw Error(where + ": " + e.what());
}

std::string config_to_json(const Config& c) {
  const bool four = c.architecture == "gemma4";
  json j;
  j["architectures"] = {four ? "Gemma4ForCausalLM" : "Gemma3ForCausalLM"};
  j["model_type"] = four ? "gemma4_text" : "gemma3_text";
  j["dtype"] = "float32";
  j["vocab_size"] = c.vocabulary;
  j["hidden_size"] = c.hidden;
  j["num_hidden_layers"] = c.layers.size();
  j["max_position_embeddings"] = c.context;
  j["rms_norm_eps"] = static_cast<double>(c.eps) == static_cast<double>(1e-6f) ? 1e-6 : static_cast<double>(c.eps);
  j["hidden_activation"] = "gelu_pytorch_tanh";
  j["attention_bias"] = false;
  j["tie_word_embeddings"] = c.tied;
  j["final_logit_softcapping"] = c.softcap ? json(c.softcap) : json(nullptr);
  for (const auto& [key, id] : {std::pair{"bos_token_id", c.bos}, {"pad_token_id", c.pad}}) j[key] = id < 0 ? json(nullptr) : json(id);
  j["eos_token_id"] = c.end_ids.size() > 1 ? json(c.end_ids) : c.eos < 0 ? json(nullptr) : json(c.eos);

  const auto rope = [](const RopeConfig& r, int64_t head_dim) {
    json o{{"rope_type", r.kind}, {"rope_theta", r.theta}};
    if (r.kind != "default" && r.factor != 1.0f) o["factor"] = r.factor;
    if (r.kind == "linear") o["factor"] = r.factor;
    if (r.kind == "proportional") {
      // Readers truncate the product with the head width: the factor must not lie below what gives these pairs.
      const double width = static_cast<double>(head_dim), pairs = static_cast<double>(r.rotated);
      double part = 2 * pairs / width;
      while (part * width / 2 < pairs) part = std::nextafter(part, 2.0);
      o["partial_rotary_factor"] = part;
    }
    return o;
  };
  // The values most layers have stand at the top; where another layer differs it says so itself.
  const LayerConfig* sliding = nullptr;
  const LayerConfig* full = nullptr;
  json kinds = json::array();
  for (const LayerConfig& layer : c.layers) {
    (layer.full ? full : sliding) = (layer.full ? full : sliding) ? (layer.full ? full : sliding) : &layer;
    kinds.push_back(layer.full ? "full_attention" : "sliding_attention");
  }
  const LayerConfig& base = sliding ? *sliding : *full;
  j["layer_types"] = kinds;
  j["num_attention_heads"] = base.heads;
  j["num_key_value_heads"] = base.kv_heads;
  j["head_dim"] = base.head_dim;
  j["intermediate_size"] = c.layers.front().ffn_width;
  j["sliding_window"] = sliding ? sliding->window : 512;
  j["rope_parameters"] = {{"sliding_attention", rope(sliding ? sliding->rope : RopeConfig{}, base.head_dim)},
                          {"full_attention", rope(full ? full->rope : RopeConfig{four ? "proportional" : "default", 1e6f, 1.0f, base.head_dim / 8},
                                                  full ? full->head_dim : base.head_dim)}};
  if (four) {
    int64_t shared = 0;
    bool wide = false, same = false;
    json overrides = json::object();
    for (size_t l = 0; l < c.layers.size(); ++l) {
      const LayerConfig& layer = c.layers[l];
      shared += layer.cache_source != static_cast<int64_t>(l);
      wide |= layer.ffn_width != c.layers.front().ffn_width;
      same |= layer.keys_are_values;
      json o = json::object();
      if (layer.head_dim != base.head_dim) o["head_dim"] = layer.head_dim;
      if (layer.kv_heads != base.kv_heads) o["num_key_value_heads"] = layer.kv_heads;
      std::string key = std::to_string(l);
      const std::string last = std::to_string(c.layers.size() - 1);
      if (!o.empty()) overrides[std::string(last.size() - key.size(), '0') + key] = o;
    }
    j["per_layer_config"] = overrides;
    j["num_kv_shared_layers"] = shared;
    j["use_double_wide_mlp"] = wide;
    j["attention_k_eq_v"] = same;
    j["hidden_size_per_layer_input"] = c.ple_width;
    j["vocab_size_per_layer_input"] = c.ple_width ? c.ple_vocabulary : c.vocabulary;
    j["enable_moe_block"] = c.experts > 0;
    j["num_experts"] = c.experts ? json(c.experts) : json(nullptr);
    j["top_k_experts"] = c.experts ? json(c.experts_used) : json(nullptr);
    j["moe_intermediate_size"] = c.experts ? json(c.expert_width) : json(nullptr);
  } else {
    const double width = 1.0 / (static_cast<double>(c.attention_scale) * c.attention_scale);
    j["query_pre_attn_scalar"] = std::fabs(width - std::round(width)) < 1e-4 * width ? json(static_cast<int64_t>(std::llround(width))) : json(width);
  }
  return j.dump(2) + "\n";
}

}  // namespace gemloupe
