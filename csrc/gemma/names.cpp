#include "csrc/gemma/names.h"

#include "csrc/core/error.h"

namespace gemloupe {
namespace {

using Kind = WeightSpec::Kind;

// Collects the weights of one configuration, spelled three ways.
struct Specs {
  const Config& config;
  bool norms_minus_one;
  std::vector<WeightSpec> all;

  void matrix(std::string ours, int64_t rows, int64_t cols, std::string gguf, std::string hf) {
    all.push_back({std::move(ours), Kind::matrix, rows, cols, 1, gguf + ".weight", hf + ".weight"});
  }
  void norm(std::string ours, int64_t n, std::string gguf, std::string hf) {
    all.push_back({std::move(ours), Kind::vector, 1, n, 1, gguf + ".weight", hf + ".weight", norms_minus_one});
  }
  void vector(std::string ours, int64_t n, std::string gguf, std::string hf) {
    all.push_back({std::move(ours), Kind::vector, 1, n, 1, std::move(gguf), std::move(hf)});
  }
  void stack(std::string ours, int64_t rows, int64_t cols, std::string gguf, std::string hf) {
    all.push_back({std::move(ours), Kind::stack, rows, cols, config.experts, gguf + ".weight", std::move(hf)});
  }
};

}  // namespace

std::vector<int64_t> WeightSpec::shape() const {
  if (kind == Kind::vector) return {cols};
  if (kind == Kind::matrix) return {rows, cols};
  return {experts, rows, cols};
}

std::vector<WeightSpec> weight_specs(const Config& c) {
  Specs s{c, c.architecture == "gemma3", {}};
  const int64_t h = c.hidden, layers = static_cast<int64_t>(c.layers.size());
  s.matrix("embed", c.vocabulary, h, "token_embd", "embed_tokens");
  if (c.ple_width) {
    s.matrix("ple.table", c.ple_vocabulary, layers * c.ple_width, "per_layer_token_embd", "embed_tokens_per_layer");
    s.matrix("ple.context", layers * c.ple_width, h, "per_layer_model_proj", "per_layer_model_projection");
    s.norm("ple.norm", c.ple_width, "per_layer_proj_norm", "per_layer_projection_norm");
  }
  for (int64_t l = 0; l < layers; ++l) {
    const LayerConfig& layer = c.layers[l];
    const std::string o = text("layers.", l, "."), g = text("blk.", l, "."), hf = o;
    const int64_t q = layer.heads * layer.head_dim, kv = layer.kv_heads * layer.head_dim;
    s.norm(o + "attn.norm", h, g + "attn_norm", hf + "input_layernorm");
    s.matrix(o + "attn.q", q, h, g + "attn_q", hf + "self_attn.q_proj");
    s.norm(o + "attn.q_norm", layer.head_dim, g + "attn_q_norm", hf + "self_attn.q_norm");
    if (layer.cache_source == l) {
      s.matrix(o + "attn.k", kv, h, g + "attn_k", hf + "self_attn.k_proj");
      if (!layer.keys_are_values) s.matrix(o + "attn.v", kv, h, g + "attn_v", hf + "self_attn.v_proj");
      s.norm(o + "attn.k_norm", layer.head_dim, g + "attn_k_norm", hf + "self_attn.k_norm");
    }
    s.matrix(o + "attn.out", h, q, g + "attn_output", hf + "self_attn.o_proj");
    s.norm(o + "attn.post_norm", h, g + "post_attention_norm", hf + "post_attention_layernorm");
    s.norm(o + "ffn.norm", h, g + "ffn_norm", hf + "pre_feedforward_layernorm");
    s.matrix(o + "ffn.gate", layer.ffn_width, h, g + "ffn_gate", hf + "mlp.gate_proj");
    s.matrix(o + "ffn.up", layer.ffn_width, h, g + "ffn_up", hf + "mlp.up_proj");
    s.matrix(o + "ffn.down", h, layer.ffn_width, g + "ffn_down", hf + "mlp.down_proj");
    if (c.experts) {
      s.norm(o + "ffn.post_norm", h, g + "post_ffw_norm_1", hf + "post_feedforward_layernorm_1");
      s.vector(o + "moe.query", h, g + "ffn_gate_inp.scale", hf + "router.scale");
      s.matrix(o + "moe.scores", c.experts, h, g + "ffn_gate_inp", hf + "router.proj");
      s.vector(o + "moe.route", c.experts, g + "ffn_down_exps.scale", hf + "router.per_expert_scale");
      s.norm(o + "moe.norm", h, g + "pre_ffw_norm_2", hf + "pre_feedforward_layernorm_2");
      s.stack(o + "moe.gate_up", 2 * c.expert_width, h, g + "ffn_gate_up_exps", hf + "experts.gate_up_proj");
      s.stack(o + "moe.down", h, c.expert_width, g + "ffn_down_exps", hf + "experts.down_proj");
      s.norm(o + "moe.post_norm", h, g + "post_ffw_norm_2", hf + "post_feedforward_layernorm_2");
      s.norm(o + "both_norm", h, g + "post_ffw_norm", hf + "post_feedforward_layernorm");
    } else {
      s.norm(o + "ffn.post_norm", h, g + "post_ffw_norm", hf + "post_feedforward_layernorm");
    }
    if (c.ple_width) {
      s.matrix(o + "ple.gate", c.ple_width, h, g + "inp_gate", hf + "per_layer_input_gate");
      s.matrix(o + "ple.proj", h, c.ple_width, g + "proj", hf + "per_layer_projection");
      s.norm(o + "ple.post_norm", h, g + "post_norm", hf + "post_per_layer_input_norm");
    }
    if (c.layer_scale) s.vector(o + "scale", 1, g + "layer_output_scale.weight", hf + "layer_scalar");
  }
  s.norm("head.norm", h, "output_norm", "norm");
  if (!c.tied) s.matrix("head", c.vocabulary, h, "output", "lm_head");
  return s.all;
}

std::string text_prefix(const Checkpoint& checkpoint) {
  for (const char* prefix : {"model.language_model.", "language_model.model.", "model.", "language_model.", ""})
    if (checkpoint.find(std::string(prefix) + "embed_tokens.weight")) return prefix;
  throw Error(checkpoint.path + ": there is no tensor embed_tokens.weight, with or without the prefixes model. and model.language_model.");
}

}  // namespace gemloupe
