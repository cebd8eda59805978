// Configurations from GGUF metadata, as llama.cpp's converter writes them: architectures gemma3 and gemma4.
#include <algorithm>
#include <cmath>
#include <set>

#include "csrc/core/error.h"
#include "csrc/gemma/config_parts.h"

namespace gemloupe {
namespace {

struct Keys {
  const Checkpoint& file;
  std::string prefix;

  std::string at(const std::string& key) const { return file.path + ": " + prefix + key; }
  int64_t integer(const std::string& key) const {
    const auto v = file.integer(prefix + key);
    demand(v.has_value(), at(key), " is missing from the metadata");
    return *v;
  }
  int64_t integer(const std::string& key, int64_t otherwise) const { return file.integer(prefix + key).value_or(otherwise); }
  float number(const std::string& key, double otherwise) const {
    return static_cast<float>(file.number(prefix + key).value_or(otherwise));
  }
  // One entry a layer, from an array or from one number for all.
  std::vector<int64_t> each(const std::string& key, int64_t layers, std::optional<int64_t> otherwise = {}) const {
    auto v = file.integers(prefix + key);
    if (!v && otherwise) v = {*otherwise};
    demand(v.has_value(), at(key), " is missing from the metadata");
    if (v->size() == 1) v->resize(layers, v->front());
    demand(static_cast<int64_t>(v->size()) >= layers, at(key), " has ", v->size(), " entries for ", layers, " layers");
    v->resize(layers);
    return *v;
  }
};

int64_t vocabulary_of(const Checkpoint& file) {
  const TensorEntry* embed = file.find("token_embd.weight");
  demand(embed, file.path, ": the tensor token_embd.weight is missing");
  demand(embed->shape.size() == 2, file.path, ": token_embd.weight must have two dimensions");
  return embed->shape[0];
}

}  // namespace

Config config_from_gguf(const Checkpoint& file) {
  const std::string& where = file.path;
  const auto architecture = file.string("general.architecture");
  demand(architecture.has_value(), where, ": general.architecture is missing from the metadata; is this a model?");
  demand(*architecture == "gemma3" || *architecture == "gemma4", where, ": the architecture is \"", *architecture,
         "\"; gemloupe runs gemma3 and gemma4");
  const bool four = *architecture == "gemma4";
  const Keys keys{file, *architecture + "."};

  Config c;
  c.architecture = *architecture;
  c.name = file.string("general.name").value_or(*architecture);
  c.vocabulary = vocabulary_of(file);
  c.hidden = keys.integer("embedding_length");
  c.context = keys.integer("context_length");
  c.eps = keys.number("attention.layer_norm_rms_epsilon", 1e-6);
  c.softcap = keys.number("final_logit_softcapping", 0);
  c.tied = !file.find("output.weight");
  c.value_norm = c.layer_scale = four;
  c.ple_width = four ? keys.integer("embedding_length_per_layer_input", 0) : 0;
  if (const TensorEntry* table = file.find("per_layer_token_embd.weight"); c.ple_width && table && table->shape.size() == 2)
    c.ple_vocabulary = table->shape[0];
  c.experts = keys.integer("expert_count", 0);
  c.experts_used = keys.integer("expert_used_count", 0);
  c.expert_width = keys.integer("expert_feed_forward_length", 0);
  const auto id = [&](const char* key) {
    const int64_t i = file.integer(std::string("tokenizer.ggml.") + key).value_or(-1);
    return i >= 0 && i < c.vocabulary ? static_cast<int32_t>(i) : -1;
  };
  c.bos = id("bos_token_id");
  c.eos = id("eos_token_id");
  c.pad = id("padding_token_id");
  for (const char* key : {"tokenizer.ggml.suppress_tokens", "tokenizer.ggml.suppress_token_ids"})
    if (const auto ids = file.integers(key)) c.suppress.assign(ids->begin(), ids->end());

  const int64_t layers = keys.integer("block_count");
  demand(layers >= 1 && layers <= 1024, keys.at("block_count"), " must be 1 to 1024, got ", layers);
  const auto heads = keys.each("attention.head_count", layers);
  const auto kv_heads = keys.each("attention.head_count_kv", layers, heads[0]);
  const auto ffn = keys.each("feed_forward_length", layers);
  const int64_t window = keys.integer("attention.sliding_window", 0);
  const int64_t key_length = keys.integer("attention.key_length", heads[0] > 0 ? c.hidden / heads[0] : 0);
  // Older Gemma 3 files say neither which layers slide nor their base: every sixth is full, and sliding ones use 10000.
  std::vector<int64_t> sliding;
  const auto pattern = file.integers(keys.prefix + "attention.sliding_window_pattern");
  const auto stated = file.metadata.find(keys.prefix + "attention.sliding_window_pattern");
  const bool flags = pattern && stated->second.index() >= MetaValue(std::vector<bool>()).index();  // a list, not a number
  const int64_t period = pattern && !flags ? pattern->front() : 6;
  demand(period >= 1, keys.at("attention.sliding_window_pattern"), " must be at least 1, got ", period);
  demand(!flags || static_cast<int64_t>(pattern->size()) >= layers, keys.at("attention.sliding_window_pattern"), " has ",
         flags ? pattern->size() : 0, " entries for ", layers, " layers");

  const std::string scaling = file.string(keys.prefix + "rope.scaling.type").value_or("none");
  demand(scaling == "none" || scaling == "linear", keys.at("rope.scaling.type"), ": \"", scaling, "\" is not known for Gemma; none and linear are");
  const float factor = scaling == "linear" ? keys.number("rope.scaling.factor", 1) : 1.0f;
  std::vector<float> factors;
  if (const TensorEntry* t = file.find("rope_freqs.weight"); t && t->type == "F32") {
    factors.resize(t->bytes / 4);
    std::copy_n(t->data, factors.size() * 4, reinterpret_cast<uint8_t*>(factors.data()));
  }

  for (int64_t l = 0; l < layers; ++l) {
    LayerConfig layer;
    layer.full = window == 0 || (flags ? !(*pattern)[l] : (l + 1) % period == 0 || (four && l + 1 == layers));
    layer.window = layer.full ? 0 : window;
    layer.heads = heads[l];
    layer.kv_heads = kv_heads[l];
    layer.head_dim = layer.full ? key_length : keys.integer("attention.key_length_swa", key_length);
    layer.ffn_width = ffn[l];
    const float theta = keys.number("rope.freq_base", four ? 1e6 : 1e4);
    if (!layer.full) {
      layer.rope.theta = keys.number("rope.freq_base_swa", 1e4);
    } else if (four) {
      // The frequencies are divided by rope_freqs.weight: 1 for pairs that rotate, 1e30 for those that do not.
      int64_t rotated = layer.head_dim / 2;
      if (!factors.empty()) {
        demand(static_cast<int64_t>(factors.size()) >= layer.head_dim / 2, where, ": rope_freqs.weight has ", factors.size(),
               " entries, the head has ", layer.head_dim / 2, " pairs");
        rotated = std::find_if(factors.begin(), factors.end(), [](float f) { return f > 1e20f; }) - factors.begin();
        rotated = std::min(rotated, layer.head_dim / 2);
        demand(rotated > 0, where, ": rope_freqs.weight lets no pair rotate");
        for (int64_t i = 0; i < layer.head_dim / 2; ++i)
          demand(i < rotated ? factors[i] == 1.0f : factors[i] > 1e20f, where, ": rope_freqs.weight[", i, "] is ", factors[i],
                 "; Gemma 4 has ones, then 1e30");
      }
      layer.rope = {"proportional", theta, 1.0f, rotated};
    } else {
      layer.rope = {factor == 1.0f ? "default" : "linear", theta, factor, 0};
    }
    layer.keys_are_values = four && layer.full && !file.find(text("blk.", l, ".attn_v.weight"));
    c.layers.push_back(layer);
  }
  if (!four) {
    c.attention_scale = static_cast<float>(unstated_query_scale(layers, c.hidden, heads[0], key_length));
    if (const auto scale = file.number(keys.prefix + "attention.scale")) c.attention_scale = static_cast<float>(*scale);
  }
  const int64_t shared = four ? keys.integer("attention.shared_kv_layers", 0) : 0;
  demand(shared >= 0 && shared < layers, keys.at("attention.shared_kv_layers"), " must be 0 to ", layers - 1, ", got ", shared);
  share_caches(c, shared, where);
  for (int64_t l = layers - shared; l < layers; ++l) c.layers[l].keys_are_values = c.layers[c.layers[l].cache_source].keys_are_values;
  c.check_sane(where);
  return c;
}

}  // namespace gemloupe
