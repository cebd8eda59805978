// The graph of a Gemma: the paper's diagram, node by node. What is odd about a model is an edge or an argument here.
#include <cmath>
#include <map>

#include "csrc/core/error.h"
#include "csrc/gemma/model.h"
#include "csrc/ops/ops.h"
#include "kernels/rope/rope.h"

namespace gemloupe {
namespace {

ops::OpPtr rope_op(const LayerConfig& layer) {
  const RopeConfig& r = layer.rope;
  const int d = static_cast<int>(layer.head_dim);
  const int rotated = static_cast<int>(r.rotated ? 2 * r.rotated : layer.head_dim);
  std::vector<float> inv_freq = r.kind == "linear"         ? linear_rope(d, r.theta, r.factor).inv_freq
                                : r.kind == "proportional" ? proportional_rope(d, r.theta, rotated, r.factor).inv_freq
                                                           : default_rope(d, r.theta).inv_freq;
  std::string words = text(r.kind, ", theta=", r.theta);
  if (r.factor != 1.0f) words += text(", factor=", r.factor);
  if (rotated != d) words += text(", pairs=", r.rotated, " of ", d / 2);
  return ops::rope(std::move(inv_freq), words);
}

// Ops of equal arguments are made once and stand in many nodes.
struct Builder {
  const Config& config;
  Graph graph;
  ops::OpPtr norm = ops::rms_norm(config.eps), add = ops::add(), gate = ops::gelu_gate();

  void node(const std::string& name, ops::OpPtr op, std::vector<std::string> inputs, std::vector<std::string> weights = {},
            std::vector<std::string> outputs = {}) {
    graph.add({name, std::move(op), std::move(inputs), std::move(weights), std::move(outputs)});
  }

  void embeddings() {
    const Config& c = config;
    node("embed", ops::embed(static_cast<float>(std::sqrt(static_cast<double>(c.hidden)))), {"tokens"}, {"embed"});
    if (!c.ple_width) return;
    const int64_t layers = static_cast<int64_t>(c.layers.size());
    const std::vector<int64_t> shape{layers, c.ple_width};
    node("ple.table", ops::embed(static_cast<float>(std::sqrt(static_cast<double>(c.ple_width))), shape), {"tokens"}, {"ple.table"});
    node("ple.context", ops::linear(shape, static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.hidden)))), {"embed"}, {"ple.context"});
    node("ple.norm", norm, {"ple.context"}, {"ple.norm"});
    node("ple", ops::ple_combine(), {"ple.table", "ple.norm"});
  }

  void attention(int64_t l, const std::string& input) {
    const LayerConfig& layer = config.layers[static_cast<size_t>(l)];
    const std::string at = text("layers.", l, ".attn.");
    const auto heads = [&](int64_t n) { return ops::linear({n, layer.head_dim}); };
    node(at + "norm", norm, {input}, {at + "norm"});
    node(at + "q", heads(layer.heads), {at + "norm"}, {at + "q"});
    node(at + "q_norm", norm, {at + "q"}, {at + "q_norm"});
    if (layer.cache_source == l) {
      node(at + "k", heads(layer.kv_heads), {at + "norm"}, {at + "k"});
      if (!layer.keys_are_values) node(at + "v", heads(layer.kv_heads), {at + "norm"}, {at + "v"});
      node(at + "k_norm", norm, {at + "k"}, {at + "k_norm"});
      // Where keys serve as values, they do so before norm and rotation.
      std::string values = at + (layer.keys_are_values ? "k" : "v");
      if (config.value_norm) {
        node(at + "v_norm", norm, {values});
        values = at + "v_norm";
      }
      node(at + "rope", rope_op(layer), {at + "q_norm", at + "k_norm", "positions"}, {}, {at + "q_rope", at + "k_rope"});
      node(at + "cache", ops::kv_cache(layer.window), {at + "k_rope", values}, {},
           {at + "cache.keys", at + "cache.values", at + "cache.positions"});
    } else {
      node(at + "rope", rope_op(layer), {at + "q_norm", "positions"}, {}, {at + "q_rope"});
    }
    // A late layer owns no keys: it reads those of the last earlier layer of its kind.
    const std::string cache = text("layers.", layer.cache_source, ".attn.cache.");
    node(at + "mix", ops::attention(layer.window, config.attention_scale), {at + "q_rope", cache + "keys", cache + "values", cache + "positions"});
    node(at + "out", ops::linear(), {at + "mix"}, {at + "out"});
    node(at + "post_norm", norm, {at + "out"}, {at + "post_norm"});
  }

  void feed_forward(const std::string& at, const std::string& residual) {
    node(at + "norm", norm, {residual}, {at + "norm"});
    node(at + "gate", ops::linear(), {at + "norm"}, {at + "gate"});
    node(at + "up", ops::linear(), {at + "norm"}, {at + "up"});
    node(at + "act", gate, {at + "gate", at + "up"});
    node(at + "down", ops::linear(), {at + "act"}, {at + "down"});
    node(at + "post_norm", norm, {at + "down"}, {at + "post_norm"});
  }

  // The experts beside the dense path. The router reads the residual, not the normed input.
  void experts(const std::string& at, const std::string& residual) {
    node(at + "query", ops::rms_norm(config.eps, static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.hidden)))), {residual},
         {at + "query"});
    node(at + "scores", ops::linear(), {at + "query"}, {at + "scores"});
    node(at + "route", ops::top_k(config.experts_used, Routing::softmax_renormalised), {at + "scores"}, {at + "route"},
         {at + "route.experts", at + "route.weights"});
    node(at + "norm", norm, {residual}, {at + "norm"});
    std::vector<std::string> gate_up{at + "gate_up"};
    if (!graph.weights().count(gate_up[0])) gate_up = {at + "gate", at + "up"};
    node(at + "gate_up", ops::experts_linear(), {at + "norm", at + "route.experts"}, gate_up);
    node(at + "act", ops::gelu_gate_halves(), {at + "gate_up"});
    node(at + "down", ops::experts_linear(), {at + "act", at + "route.experts"}, {at + "down"});
    node(at + "out", ops::combine_experts(), {at + "down", at + "route.experts", at + "route.weights"});
    node(at + "post_norm", norm, {at + "out"}, {at + "post_norm"});
  }

  void per_layer_embedding(int64_t l, const std::string& residual) {
    const std::string at = text("layers.", l, ".ple.");
    node(at + "gate", ops::linear(), {residual}, {at + "gate"});
    node(at + "act", ops::ple_gate(l), {at + "gate", "ple"});
    node(at + "proj", ops::linear(), {at + "act"}, {at + "proj"});
    node(at + "post_norm", norm, {at + "proj"}, {at + "post_norm"});
    node(at + "sum", add, {residual, at + "post_norm"});
  }

  void layer(int64_t l, const std::string& input) {
    const std::string at = text("layers.", l, ".");
    attention(l, input);
    node(at + "mid", add, {input, at + "attn.post_norm"});
    feed_forward(at + "ffn.", at + "mid");
    std::string branch = at + "ffn.post_norm";
    if (config.experts) {
      experts(at + "moe.", at + "mid");
      node(at + "both", add, {branch, at + "moe.post_norm"});
      node(at + "both_norm", norm, {at + "both"}, {at + "both_norm"});
      branch = at + "both_norm";
    }
    const bool last = !config.ple_width && !config.layer_scale;
    std::string residual = at + (last ? "out" : "sum");
    node(residual, add, {at + "mid", branch});
    if (config.ple_width) {
      per_layer_embedding(l, residual);
      residual = at + "ple.sum";
    }
    if (config.layer_scale) node(at + "out", ops::scale(), {residual}, {at + "scale"});
  }
};

}  // namespace

Graph build_graph(const Config& config, Weights weights) {
  Builder b{config, Graph(std::move(weights))};
  b.embeddings();
  std::string residual = "embed";
  for (int64_t l = 0; l < static_cast<int64_t>(config.layers.size()); ++l) {
    b.layer(l, residual);
    residual = text("layers.", l, ".out");
  }
  b.node("head.rows", ops::select_rows(), {residual, "wanted"});
  b.node("head.norm", b.norm, {"head.rows"}, {"head.norm"});
  const std::string head = config.tied ? "embed" : "head";
  b.node(config.softcap ? "head.scores" : "logits", ops::linear(), {"head.norm"}, {head});
  if (config.softcap) b.node("logits", ops::softcap(config.softcap), {"head.scores"});
  return std::move(b.graph);
}

Model Model::with_graph(Graph changed) const {
  Model m = *this;
  m.graph = std::make_shared<const Graph>(std::move(changed));
  return m;
}

}  // namespace gemloupe
