// Small random models of every architecture, for tests: all features, odd sizes, windows shorter than the texts.
#pragma once

#include "csrc/gemma/config_parts.h"
#include "csrc/gemma/model.h"
#include "csrc/session/session.h"

namespace gemloupe::testing {

inline Config small_config(const std::string& kind) {
  const bool four = kind != "gemma3", moe = kind == "experts", ple = kind == "ple";
  Config c;
  c.architecture = four ? "gemma4" : "gemma3";
  c.name = kind;
  c.vocabulary = c.ple_vocabulary = 97;
  c.hidden = 48;
  c.context = 512;
  c.attention_scale = four ? 1.0f : 0.2f;
  c.softcap = four ? 5.0f : 0.0f;
  c.value_norm = c.layer_scale = four;
  c.ple_width = ple ? 8 : 0;
  if (moe) {
    c.experts = 8;
    c.experts_used = 3;
    c.expert_width = 20;
  }
  const int64_t layers = ple ? 6 : 4;
  for (int64_t l = 0; l < layers; ++l) {
    LayerConfig layer;
    layer.full = l % 2 == 1;
    layer.window = layer.full ? 0 : 5;
    layer.heads = 4;
    layer.kv_heads = layer.full && four ? 1 : 2;
    layer.head_dim = layer.full && four ? 24 : 16;
    layer.keys_are_values = moe && layer.full;
    layer.ffn_width = ple && l >= 4 ? 112 : 56;
    if (layer.full && four) layer.rope = {"proportional", 1e6f, 1.0f, 3};
    c.layers.push_back(layer);
  }
  share_caches(c, ple ? 2 : 0, kind);
  return c;
}

inline Model small_model(const std::string& kind, const std::string& format = "F32", uint64_t seed = 1) {
  RandomOptions options;
  options.format = format;
  options.seed = seed;
  return random_model(small_config(kind), options);
}

inline std::vector<int32_t> some_tokens(int64_t n, uint32_t seed = 7) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i) {
    seed = seed * 1664525u + 1013904223u;
    tokens.push_back(static_cast<int32_t>((seed >> 16) % 97));
  }
  return tokens;
}

inline Session session_of(const Model& m, int64_t chunk = 64, int64_t context = 128, bool half = false) {
  return Session(m.graph, m.config.vocabulary, m.config.context, SessionOptions{context, chunk, half});
}

// Logits of all tokens read in one feed.
inline Tensor logits_of(Session& s, const std::vector<int32_t>& tokens, Arithmetic arithmetic = Arithmetic::exact, Trace* trace = nullptr) {
  const Feed f{&s, tokens, static_cast<int64_t>(tokens.size()), arithmetic, {}};
  return feed({&f, 1}, trace)[0];
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.rows() == b.rows() && a.width() == b.width() && std::equal(a.ints(), a.ints() + a.rows() * a.width(), b.ints());
}
inline bool same_bits(const Tensor& a, int64_t row_a, const Tensor& b, int64_t row_b, int64_t rows) {
  return a.width() == b.width() && std::equal(a.ints() + row_a * a.width(), a.ints() + (row_a + rows) * a.width(), b.ints() + row_b * b.width());
}

inline constexpr Arithmetic kEvery[] = {Arithmetic::exact, Arithmetic::bf16, Arithmetic::int8};
inline const char* const kKinds[] = {"gemma3", "dense", "ple", "experts"};

}  // namespace gemloupe::testing
