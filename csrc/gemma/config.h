// What a Gemma is made of, in one spelling, whatever file it came from. One LayerConfig a layer: nothing is implied by an index.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "csrc/io/checkpoint.h"

namespace gemloupe {

struct RopeConfig {
  std::string kind = "default";  // default, linear (positions divided by factor), proportional (the first `rotated` pairs only)
  float theta = 10000.0f;
  float factor = 1.0f;
  int64_t rotated = 0;           // pairs that rotate; 0: all
};

struct LayerConfig {
  bool full = false;             // full attention; otherwise a sliding window
  int64_t window = 0;            // of a sliding layer
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t cache_source = 0;      // the layer whose cache it reads: itself, or an earlier one of its kind
  bool keys_are_values = false;  // no weight for values: they are the keys before norm and rotation
  int64_t ffn_width = 0;
  RopeConfig rope;
};

struct Config {
  std::string architecture;      // "gemma3" or "gemma4"
  std::string name;
  int64_t vocabulary = 0, hidden = 0, context = 0;
  float eps = 1e-6f;
  float attention_scale = 1.0f;
  float softcap = 0.0f;          // of the logits; 0: none
  bool tied = true;              // the head is the embedding
  bool value_norm = false;       // Gemma 4: values pass a norm without weight
  bool layer_scale = false;      // Gemma 4: a layer's output is multiplied by a learned scalar
  int64_t ple_width = 0;         // per-layer embeddings; 0: none
  int64_t ple_vocabulary = 0;
  int64_t experts = 0, experts_used = 0, expert_width = 0;  // 0: dense
  std::vector<LayerConfig> layers;
  std::vector<int32_t> end_ids, suppress;  // from the generation configuration
  int32_t bos = -1, eos = -1, pad = -1;

  void check_sane(const std::string& where) const;  // absurd or contradictory sizes are an Error
};

Config config_from_gguf(const Checkpoint& checkpoint);
Config config_from_json(const std::string& config_json, const std::string& generation_config_json, const std::string& where);
// The other way, as Transformers writes it (text-only model classes).
std::string config_to_json(const Config& config);

// The released sizes: "gemma3-270m", "gemma3-1b", "gemma3-4b", "gemma3-12b", "gemma3-27b", "e2b", "e4b", "12b", "26b", "31b".
Config released_config(const std::string& size);
std::vector<std::string> released_sizes();

}  // namespace gemloupe
