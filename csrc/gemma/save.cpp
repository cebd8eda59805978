// Models to files that others read: GGUF as llama.cpp's converter writes it, and ordinary Hugging Face folders.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "csrc/core/error.h"
#include "csrc/formats/strips.h"
#include "csrc/gemma/config_parts.h"
#include "csrc/gemma/model.h"
#include "csrc/gemma/names.h"
#include "csrc/io/ggml_types.h"
#include "csrc/io/output_file.h"

namespace gemloupe {
namespace {

using Metadata = std::vector<std::pair<std::string, MetaValue>>;

// The bytes of rows that are only in strips, piece by piece.
void produce_rows(const Weight& w, const std::function<void()>& poll, const TensorToWrite::Write& write) {
  constexpr int64_t kSlab = 256;  // a multiple of a strip's rows
  const int64_t row_bytes = w.format->row_bytes(w.cols);
  std::vector<uint8_t> slab(static_cast<size_t>(std::min(kSlab, w.rows) * row_bytes));
  for (int64_t row = 0; row < w.rows; row += kSlab) {
    if (poll) poll();
    const int64_t bytes = std::min(kSlab, w.rows - row) * row_bytes;
    read_bytes(w, row * row_bytes, bytes, slab.data());
    write({slab.data(), static_cast<size_t>(bytes)});
  }
}

// The weight as it stands, or, where the file has no such type, its values as float, unpacked while writing.
TensorToWrite tensor_of(const std::string& name, std::vector<int64_t> shape, std::shared_ptr<const Weight> w, bool as_is,
                        const std::function<void()>& poll) {
  TensorToWrite t{name, as_is ? w->format->name() : "F32", std::move(shape), nullptr, 0, w, {}};
  if (as_is) {
    t.data = w->data;
    t.bytes = static_cast<uint64_t>(w->bytes());
    if (!w->data) t.produce = [w, poll](const TensorToWrite::Write& write) { produce_rows(*w, poll, write); };
    return t;
  }
  t.bytes = static_cast<uint64_t>(w->rows * w->cols) * 4;
  t.produce = [w, poll](const TensorToWrite::Write& write) {
    constexpr int64_t kSlab = 256;
    std::vector<float> slab(static_cast<size_t>(std::min(kSlab, w->rows) * w->cols));
    for (int64_t row = 0; row < w->rows; row += kSlab) {
      if (poll) poll();
      const Matrix<float> part(slab.data(), std::min(kSlab, w->rows - row), w->cols);
      w->format->unpack(*w, row, part);
      write({reinterpret_cast<const uint8_t*>(slab.data()), static_cast<size_t>(part.rows * part.cols) * 4});
    }
  };
  return t;
}

bool one_for_all(const std::vector<int64_t>& values) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == values[0]; });
}

Metadata tokenizer_metadata(const Model& model) {
  Metadata m;
  if (!model.tokenizer) {
    m.push_back({"tokenizer.ggml.model", std::string("no_vocab")});
    return m;
  }
  const Vocabulary& v = model.tokenizer->vocabulary();
  const std::string key = "tokenizer.ggml.";
  m.push_back({key + "model", std::string(model.tokenizer->name())});
  std::vector<std::string> pieces = v.pieces;
  std::vector<double> scores(v.scores.begin(), v.scores.end());
  std::vector<int64_t> types(v.types.begin(), v.types.end());
  types.resize(pieces.size(), Vocabulary::normal);
  if (!scores.empty()) scores.resize(pieces.size(), -1000.0);
  // A reader takes the number of tokens for the number of embedding rows.
  for (int64_t i = static_cast<int64_t>(pieces.size()); i < model.config.vocabulary; ++i) {
    pieces.push_back(text("<unused-", i, ">"));
    types.push_back(Vocabulary::unused);
    if (!scores.empty()) scores.push_back(-1000.0);
  }
  if (static_cast<int64_t>(pieces.size()) > model.config.vocabulary) {
    pieces.resize(static_cast<size_t>(model.config.vocabulary));
    types.resize(pieces.size());
    if (!scores.empty()) scores.resize(pieces.size());
  }
  m.push_back({key + "tokens", std::move(pieces)});
  if (scores.empty()) scores.assign(static_cast<size_t>(model.config.vocabulary), 0.0);
  m.push_back({key + "scores", std::move(scores)});
  m.push_back({key + "token_type", std::move(types)});
  if (v.kind == Vocabulary::Kind::merges) m.push_back({key + "merges", v.merges});
  for (const auto& [name, id] : {std::pair{"bos_token_id", v.bos}, {"eos_token_id", v.eos}, {"unknown_token_id", v.unk}, {"padding_token_id", v.pad}})
    if (id >= 0) m.push_back({key + name, static_cast<int64_t>(id)});
  for (int32_t id : v.stops)
    if (id != v.eos) {
      m.push_back({key + "eot_token_id", static_cast<int64_t>(id)});
      break;
    }
  m.push_back({key + "add_bos_token", v.add_bos || model.config.bos >= 0});
  m.push_back({key + "add_space_prefix", v.add_space_prefix});
  return m;
}

Metadata gguf_metadata(const Model& model) {
  const Config& c = model.config;
  const bool four = c.architecture == "gemma4";
  const std::string a = c.architecture + ".";
  Metadata m;
  m.push_back({"general.architecture", c.architecture});
  m.push_back({"general.type", std::string("model")});
  m.push_back({"general.name", c.name});
  m.push_back({"general.quantization_version", int64_t{2}});
  const auto number = [&](const char* key, double v) { m.push_back({a + key, v}); };
  const auto integer = [&](const char* key, int64_t v) { m.push_back({a + key, v}); };
  std::vector<int64_t> heads, kv_heads, ffn;
  std::vector<bool> sliding;
  const LayerConfig *slides = nullptr, *full = nullptr;
  int64_t shared = 0;
  for (size_t l = 0; l < c.layers.size(); ++l) {
    const LayerConfig& layer = c.layers[l];
    heads.push_back(layer.heads);
    kv_heads.push_back(layer.kv_heads);
    ffn.push_back(layer.ffn_width);
    sliding.push_back(!layer.full);
    (layer.full ? full : slides) = &layer;
    shared += layer.cache_source != static_cast<int64_t>(l);
  }
  const auto each = [&](const char* key, const std::vector<int64_t>& values) {
    if (one_for_all(values)) integer(key, values[0]);
    else m.push_back({a + key, values});
  };
  integer("context_length", c.context);
  integer("embedding_length", c.hidden);
  integer("block_count", static_cast<int64_t>(c.layers.size()));
  each("feed_forward_length", ffn);
  each("attention.head_count", heads);
  each("attention.head_count_kv", kv_heads);
  number("attention.layer_norm_rms_epsilon", c.eps);
  const LayerConfig& wide = full ? *full : *slides;
  integer("attention.key_length", wide.head_dim);
  integer("attention.value_length", wide.head_dim);
  integer("vocab_size", c.vocabulary);
  // A reader wants a window even where nothing slides; one as long as the context changes nothing.
  integer("attention.sliding_window", slides ? slides->window : c.context);
  m.push_back({a + "attention.sliding_window_pattern", sliding});
  number("rope.freq_base", wide.rope.theta);
  if (slides) number("rope.freq_base_swa", slides->rope.theta);
  if (c.softcap) number("final_logit_softcapping", c.softcap);
  if (four) {
    const LayerConfig& narrow = slides ? *slides : *full;
    integer("attention.key_length_swa", narrow.head_dim);
    integer("attention.value_length_swa", narrow.head_dim);
    integer("attention.shared_kv_layers", shared);
    integer("embedding_length_per_layer_input", c.ple_width);
    integer("rope.dimension_count", wide.head_dim);
    integer("rope.dimension_count_swa", narrow.head_dim);
    if (c.experts) {
      integer("expert_count", c.experts);
      integer("expert_used_count", c.experts_used);
      integer("expert_feed_forward_length", c.expert_width);
    }
  } else if (wide.rope.kind == "linear") {
    m.push_back({a + "rope.scaling.type", std::string("linear")});
    number("rope.scaling.factor", wide.rope.factor);
  }
  if (!c.suppress.empty()) m.push_back({"tokenizer.ggml.suppress_tokens", std::vector<int64_t>(c.suppress.begin(), c.suppress.end())});
  for (auto& entry : tokenizer_metadata(model)) m.push_back(std::move(entry));
  return m;
}

// What GGUF readers compute by themselves must be what the model does.
void refuse_inexpressible(const Config& c, const std::string& path) {
  const LayerConfig *slides = nullptr, *full = nullptr;
  for (const LayerConfig& layer : c.layers) {
    const LayerConfig*& first = layer.full ? full : slides;
    if (!first) first = &layer;
    check(layer.head_dim == first->head_dim && layer.window == first->window && layer.rope.theta == first->rope.theta &&
              layer.rope.kind == first->rope.kind && layer.rope.factor == first->rope.factor && layer.rope.rotated == first->rope.rotated,
          path, ": layers of one kind differ in head width, window or rope, which GGUF cannot express; save a folder");
  }
  check(!slides || slides->rope.kind == "default", path, ": sliding layers with rope scaling cannot be expressed in GGUF; save a folder");
}

// Whatever a GGUF file can state layer by layer must come back from the configuration that is written.
void refuse_other_configuration(const Config& c, const std::string& folder) {
  const Config back = config_from_json(config_to_json(c), "", folder);
  for (size_t l = 0; l < c.layers.size(); ++l) {
    const LayerConfig &a = c.layers[l], &b = back.layers[l];
    check(a.full == b.full && a.window == b.window && a.heads == b.heads && a.kv_heads == b.kv_heads && a.head_dim == b.head_dim &&
              a.cache_source == b.cache_source && a.keys_are_values == b.keys_are_values && a.ffn_width == b.ffn_width &&
              a.rope.kind == b.rope.kind && a.rope.theta == b.rope.theta && a.rope.factor == b.rope.factor && a.rope.rotated == b.rope.rotated,
          folder, ": layer ", l, " differs from the others in a way that config.json cannot express; save a GGUF file");
  }
}

}  // namespace

void refuse_other_graphs(const Model& model, const std::string& path) {
  check(build_graph(model.config, model.graph->weights()).print() == model.graph->print(), path,
        ": ops of this model were replaced, which files cannot express; save the model it was made from");
}

std::shared_ptr<const Weight> with_values(const Weight& w, const std::function<float(float)>& change) {
  uint8_t* memory = nullptr;
  Weight made = allocate_weight(format_named("F32"), w.rows, w.cols, memory);
  const Matrix<float> values(reinterpret_cast<float*>(memory), w.rows, w.cols);
  w.format->unpack(w, 0, values);
  for (int64_t i = 0; i < w.rows * w.cols; ++i) values.data[i] = change(values.data[i]);
  return std::make_shared<const Weight>(std::move(made));
}

void save_gguf(const Model& model, const std::string& path, const std::function<void()>& poll) {
  refuse_other_graphs(model, path);
  refuse_inexpressible(model.config, path);
  const Config& c = model.config;
  std::vector<TensorToWrite> tensors;
  const auto put = [&](const std::string& name, std::vector<int64_t> shape, const std::shared_ptr<const Weight>& w) {
    const bool as_is = ggml_type(w->format->name()) != nullptr && w->format->name() != "F64";
    tensors.push_back(tensor_of(name, std::move(shape), w, as_is, poll));
    if (as_is && !w->output_scale.empty() && !name.ends_with("ffn_down_exps.weight"))
      tensors.push_back({name.substr(0, name.size() - 6) + "scale", "F32", {static_cast<int64_t>(w->output_scale.size())},
                         reinterpret_cast<const uint8_t*>(w->output_scale.data()), w->output_scale.size() * 4, w, {}});
  };
  for (const WeightSpec& spec : weight_specs(c)) {
    if (spec.name.ends_with("moe.gate_up") && !model.graph->weights().count(spec.name)) {
      const std::string stem = spec.name.substr(0, spec.name.size() - 7), gguf = spec.gguf.substr(0, spec.gguf.size() - 19);
      for (const std::string part : {"gate", "up"}) {
        const auto w = model.graph->weights().at(stem + part);
        put(gguf + part + "_exps.weight", {spec.experts, spec.rows / 2, spec.cols}, w);
      }
      continue;
    }
    auto w = model.graph->weights().at(spec.name);
    if (c.architecture == "gemma3" && spec.name.ends_with("attn.q_norm")) {
      // Readers scale queries by 1 / sqrt(head width); another scale goes into the norm that comes before.
      const double theirs = unstated_query_scale(static_cast<int64_t>(c.layers.size()), c.hidden, c.layers[0].heads, spec.cols);
      const double factor = c.attention_scale / theirs;
      if (std::fabs(factor - 1) > 1e-6) w = with_values(*w, [&](float v) { return static_cast<float>(v * factor); });
    }
    if (spec.name.ends_with("moe.route")) {
      // One tensor holds this scale and the last matrices' own.
      const auto down = model.graph->weights().at(spec.name.substr(0, spec.name.size() - 5) + "down");
      int64_t e = 0;
      if (!down->output_scale.empty()) w = with_values(*w, [&](float v) { return v * down->scale_of_row(down->rows / down->experts * e++); });
    }
    put(spec.gguf, spec.shape(), w);
  }
  if (c.architecture == "gemma4") {
    const auto full = std::find_if(c.layers.begin(), c.layers.end(), [](const LayerConfig& l) { return l.full; });
    if (full != c.layers.end()) {
      auto factors = std::make_shared<std::vector<float>>(static_cast<size_t>(full->head_dim / 2), 1.0f);
      if (full->rope.kind == "proportional") std::fill(factors->begin() + full->rope.rotated, factors->end(), 1e30f);
      tensors.push_back({"rope_freqs.weight", "F32", {full->head_dim / 2}, reinterpret_cast<const uint8_t*>(factors->data()),
                         factors->size() * 4, factors, {}});
    }
  }
  // A file that was a GGUF keeps its own words, and the types it wrote them in.
  if (model.source && model.source->kind == Checkpoint::Kind::gguf) {
    Metadata kept(model.source->metadata.begin(), model.source->metadata.end());
    // The query scale went into a norm; llama.cpp does not read this key for Gemma 3.
    std::erase_if(kept, [](const auto& entry) { return entry.first == "gemma3.attention.scale"; });
    write_gguf(path, kept, tensors, model.source->metadata_types);
  } else {
    write_gguf(path, gguf_metadata(model), tensors);
  }
}

std::string tokenizer_config_json(const Tokenizer& tokenizer) {
  const Vocabulary& v = tokenizer.vocabulary();
  nlohmann::json t{{"tokenizer_class", "PreTrainedTokenizerFast"}, {"add_bos_token", v.add_bos}, {"clean_up_tokenization_spaces", false}};
  for (const auto& [key, id] : {std::pair{"bos_token", v.bos}, {"eos_token", v.eos}, {"unk_token", v.unk}, {"pad_token", v.pad}})
    if (id >= 0) t[key] = v.pieces[static_cast<size_t>(id)];
  return t.dump(2) + "\n";
}

void save_folder(const Model& model, const std::string& folder, const std::function<void()>& poll) {
  refuse_other_graphs(model, folder);
  const Config& c = model.config;
  const bool three = c.architecture == "gemma3";
  for (size_t l = 1; l < c.layers.size(); ++l)
    check(!three || (c.layers[l].head_dim == c.layers[0].head_dim && c.layers[l].kv_heads == c.layers[0].kv_heads), folder,
          ": Gemma 3 configurations have one head width for all layers");
  refuse_other_configuration(c, folder);
  std::vector<TensorToWrite> tensors;
  bool halves = true;  // the stored type that most readers will load in
  for (const WeightSpec& spec : weight_specs(c)) {
    if (spec.name.ends_with("moe.gate_up") && !model.graph->weights().count(spec.name)) {
      // One tensor, gate rows first, from the two stacks.
      const std::string stem = spec.name.substr(0, spec.name.size() - 7);
      const auto gate = model.graph->weights().at(stem + "gate"), up = model.graph->weights().at(stem + "up");
      TensorToWrite t{"model." + spec.hf, "F32", spec.shape(), nullptr, static_cast<uint64_t>(spec.experts * spec.rows * spec.cols) * 4, gate, {}};
      t.produce = [gate, up, spec](const TensorToWrite::Write& write) {
        std::vector<float> slab(static_cast<size_t>(spec.rows / 2 * spec.cols));
        for (int64_t e = 0; e < spec.experts; ++e)
          for (const auto& w : {gate, up}) {
            w->format->unpack(*w, e * spec.rows / 2, Matrix<float>(slab.data(), spec.rows / 2, spec.cols));
            write({reinterpret_cast<const uint8_t*>(slab.data()), slab.size() * 4});
          }
      };
      tensors.push_back(std::move(t));
      halves = false;
      continue;
    }
    auto w = model.graph->weights().at(spec.name);
    if (spec.plus_one) w = with_values(*w, [](float v) { return v - 1.0f; });
    const std::string name = spec.name == "head" ? spec.hf + (spec.hf.ends_with(".weight") ? "" : ".weight") : "model." + spec.hf;
    const std::string format = w->format->name();
    const bool as_is = format == "F32" || format == "F16" || format == "BF16";
    if (spec.kind != WeightSpec::Kind::vector) halves &= format == "F16" || format == "BF16";
    tensors.push_back(tensor_of(name, spec.shape(), w, as_is, poll));
  }
  constexpr uint64_t kShard = uint64_t{5} << 30;
  write_safetensors(folder, tensors, kShard);
  const auto put = [&](const char* name, const std::string& content) {
    OutputFile file((std::filesystem::path(folder) / name).string());
    file.write(content);
    file.commit();
  };
  auto config = nlohmann::json::parse(config_to_json(c));
  if (halves) config["dtype"] = tensors[0].type == "F16" ? "float16" : "bfloat16";
  put("config.json", config.dump(2) + "\n");
  nlohmann::json generation;
  if (c.bos >= 0) generation["bos_token_id"] = c.bos;
  if (!c.end_ids.empty()) generation["eos_token_id"] = c.end_ids;
  if (c.pad >= 0) generation["pad_token_id"] = c.pad;
  if (!c.suppress.empty()) generation["suppress_tokens"] = c.suppress;
  put("generation_config.json", (generation.is_null() ? nlohmann::json::object() : generation).dump(2) + "\n");
  if (!model.tokenizer) return;
  put("tokenizer.json", model.tokenizer->to_json());
  if (model.source && !model.source->tokenizer_config_json.empty()) {
    put("tokenizer_config.json", model.source->tokenizer_config_json);
    return;
  }
  put("tokenizer_config.json", tokenizer_config_json(*model.tokenizer));
}

}  // namespace gemloupe
