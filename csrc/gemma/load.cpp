// From files to a model: which tensor is which weight, checked against the configuration before anything runs.
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "csrc/core/error.h"
#include "csrc/formats/strips.h"
#include "csrc/gemma/gem.h"
#include "csrc/gemma/model.h"
#include "csrc/gemma/names.h"

namespace gemloupe {
namespace {

std::string shape_words(const std::vector<int64_t>& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

// Dimensions of size one, which files add and drop at will, do not count.
std::vector<int64_t> squeezed(const std::vector<int64_t>& shape) {
  std::vector<int64_t> s;
  for (int64_t d : shape)
    if (d != 1) s.push_back(d);
  return s;
}

// Small vectors become float, whatever they are stored as; matrices stay mapped.
std::shared_ptr<const Weight> weight_of(const Checkpoint& file, const TensorEntry& t, const WeightSpec& spec) {
  const std::string at = file.path + ": " + t.name;
  demand(squeezed(t.shape) == squeezed(spec.shape()), at, ": the configuration asks for ", shape_words(spec.shape()),
         ", the file has ", shape_words(t.shape));
  Weight w;
  try {
    w.format = format_named(t.type);
  } catch (const std::invalid_argument& e) {
    throw Error(at + ": " + e.what());
  }
  w.rows = spec.rows * spec.experts;
  w.cols = spec.cols;
  w.experts = spec.experts;
  w.data = t.data;
  w.owner = file.owner;
  int64_t row_bytes = 0;
  try {
    row_bytes = w.format->row_bytes(w.cols);
  } catch (const std::invalid_argument& e) {
    throw Error(at + ": " + e.what());
  }
  demand(static_cast<uint64_t>(row_bytes) * static_cast<uint64_t>(w.rows) == t.bytes, at, ": ", w.rows, " rows of ", w.cols, " as ", t.type,
         " are ", row_bytes * w.rows, " bytes, the file has ", t.bytes);
  if (spec.kind == WeightSpec::Kind::vector) {
    uint8_t* memory = nullptr;
    Weight v = allocate_weight(format_named("F32"), 1, spec.cols, memory);
    float* values = reinterpret_cast<float*>(memory);
    w.format->unpack(w, 0, Matrix<float>(values, 1, spec.cols));
    if (spec.plus_one && file.kind == Checkpoint::Kind::safetensors)
      for (int64_t i = 0; i < spec.cols; ++i) values[i] += 1.0f;
    return std::make_shared<const Weight>(std::move(v));
  }
  // Kernels read numbers where the type would lie; files may put them anywhere.
  const uintptr_t alignment = t.type == "F64" ? 8 : t.type == "F32" ? 4 : t.type == "F16" || t.type == "BF16" ? 2 : 1;
  if (reinterpret_cast<uintptr_t>(w.data) % alignment) {
    uint8_t* memory = nullptr;
    Weight copy = allocate_weight(w.format, w.rows, w.cols, memory);
    copy.experts = w.experts;
    std::memcpy(memory, w.data, t.bytes);
    return std::make_shared<const Weight>(std::move(copy));
  }
  return std::make_shared<const Weight>(std::move(w));
}

// Packed checkpoints of other programs: their numbers mean nothing without the scales beside them.
void refuse_packed(const Checkpoint& file) {
  if (!file.quantization_config_json.empty()) {
    const nlohmann::json j = nlohmann::json::parse(file.quantization_config_json, nullptr, false);
    const nlohmann::json* named = j.is_object() && j.contains("quantization") && j["quantization"].is_object() ? &j["quantization"] : &j;
    std::string method = "unknown";
    for (const char* key : {"quant_algo", "quant_method"})
      if (named->is_object() && named->contains(key) && (*named)[key].is_string()) method = (*named)[key].get<std::string>();
    throw Error(text(file.path, ": the checkpoint is quantized (quantization_config, method ", method,
                     "), which is not read yet; take the unquantized checkpoint, or a GGUF file, and quantize here"));
  }
  for (const TensorEntry& t : file.tensors)
    for (const char* end : {".weight_scale", ".weight_scale_inv", ".weight_scale_2", ".weight_packed", ".qweight"})
      demand(!t.name.ends_with(end), file.path, ": the tensor ", t.name, " belongs to a quantized checkpoint, which is not read yet; take the "
             "unquantized checkpoint, or a GGUF file, and quantize here");
}

// NVFP4's factor for a whole tensor, or for each expert, lies beside the weight: "x.weight" has "x.scale". For the experts' last
// matrices that is the tensor which also holds the router's scale per expert: moe.route, which multiplies the same values.
void add_output_scale(const Checkpoint& file, const std::string& name, Weight& w) {
  if (w.format->name() != "NVFP4" || !name.ends_with(".weight") || name.ends_with("ffn_down_exps.weight")) return;
  const TensorEntry* t = file.find(name.substr(0, name.size() - 6) + "scale");
  if (!t) return;
  demand(t->type == "F32" && (t->bytes == 4 || t->bytes == 4 * static_cast<uint64_t>(w.experts)), file.path, ": ", t->name,
         " must hold one F32 factor, or one for each of ", w.experts, " experts");
  w.output_scale.resize(t->bytes / 4);
  std::memcpy(w.output_scale.data(), t->data, t->bytes);
}

class Loader {
 public:
  Loader(const Checkpoint& file, const Config& config)
      : file_(file), config_(config), gguf_(file.kind == Checkpoint::Kind::gguf), prefix_(gguf_ ? "" : text_prefix(file)) {}

  Weights weights() {
    Weights all;
    for (const WeightSpec& spec : weight_specs(config_)) {
      if (gguf_ && spec.name.ends_with("moe.gate_up") && !file_.find(spec.gguf)) {
        add_split(all, spec);
        continue;
      }
      if (const TensorEntry* t = find(spec)) {
        auto w = std::const_pointer_cast<Weight>(weight_of(file_, *t, spec));
        if (gguf_) add_output_scale(file_, t->name, *w);
        all[spec.name] = w;
      } else if (!add_default(all, spec) && !add_unfused(all, spec)) {
        throw Error(text(file_.path, ": the tensor ", gguf_ ? spec.gguf : prefix_ + spec.hf, " (", spec.name, ", ",
                         shape_words(spec.shape()), ") is missing"));
      }
    }
    return all;
  }

 private:
  const TensorEntry* find(const WeightSpec& spec) const {
    if (gguf_) return file_.find(spec.gguf);
    if (spec.name == "head") {
      for (const std::string& prefix : {std::string(), std::string("language_model."), prefix_})
        if (const TensorEntry* t = file_.find(prefix + "lm_head.weight")) return t;
      return nullptr;
    }
    const TensorEntry* t = file_.find(prefix_ + spec.hf);
    return t || spec.kind != WeightSpec::Kind::stack ? t : file_.find(prefix_ + spec.hf + ".weight");
  }

  // What may be absent: a scale per expert that is 1 (some GGUF files fold it into the weights).
  bool add_default(Weights& all, const WeightSpec& spec) const {
    if (!gguf_ || !spec.name.ends_with("moe.route")) return false;
    uint8_t* memory = nullptr;
    Weight w = allocate_weight(format_named("F32"), 1, spec.cols, memory);
    std::fill_n(reinterpret_cast<float*>(memory), spec.cols, 1.0f);
    all[spec.name] = std::make_shared<const Weight>(std::move(w));
    return true;
  }

  // The split spelling of experts: ffn_gate_exps and ffn_up_exps instead of ffn_gate_up_exps.
  void add_split(Weights& all, const WeightSpec& spec) const {
    const std::string stem = spec.gguf.substr(0, spec.gguf.size() - std::string("gate_up_exps.weight").size());
    for (const std::string part : {"gate", "up"}) {
      WeightSpec half = spec;
      half.name = spec.name.substr(0, spec.name.size() - 7) + part;
      half.gguf = stem + part + "_exps.weight";
      half.rows = spec.rows / 2;
      const TensorEntry* t = file_.find(half.gguf);
      demand(t, file_.path, ": neither ", spec.gguf, " nor ", half.gguf, " is there");
      auto w = std::const_pointer_cast<Weight>(weight_of(file_, *t, half));
      add_output_scale(file_, t->name, *w);
      all[half.name] = w;
    }
  }

  // Experts one by one ("experts.7.gate_proj.weight"), as some exports have them: copied into a stack.
  bool add_unfused(Weights& all, const WeightSpec& spec) const {
    if (gguf_ || spec.kind != WeightSpec::Kind::stack) return false;
    const bool gate_up = spec.name.ends_with("gate_up");
    const std::string stem = prefix_ + spec.hf.substr(0, spec.hf.rfind('.') + 1);
    const std::vector<std::string> parts = gate_up ? std::vector<std::string>{"gate_proj", "up_proj"} : std::vector<std::string>{"down_proj"};
    Weight stack;
    uint8_t* memory = nullptr;
    for (int64_t e = 0; e < spec.experts; ++e)
      for (size_t p = 0; p < parts.size(); ++p) {
        WeightSpec one = spec;
        one.kind = WeightSpec::Kind::matrix;
        one.experts = 1;
        one.rows = spec.rows / static_cast<int64_t>(parts.size());
        const TensorEntry* t = file_.find(text(stem, e, ".", parts[p], ".weight"));
        if (!t && e == 0 && p == 0) return false;
        demand(t, file_.path, ": the tensor ", stem, e, ".", parts[p], ".weight is missing");
        const auto w = weight_of(file_, *t, one);
        if (!memory) {
          stack = allocate_weight(w->format, spec.experts * spec.rows, spec.cols, memory);
          stack.experts = spec.experts;
        }
        demand(w->format->name() == stack.format->name(), file_.path, ": ", t->name, " is ", w->format->name(), ", the experts before it ",
               stack.format->name());
        const int64_t bytes = w->format->row_bytes(spec.cols);
        std::memcpy(memory + (e * spec.rows + static_cast<int64_t>(p) * one.rows) * bytes, w->data, static_cast<size_t>(one.rows * bytes));
      }
    all[spec.name] = std::make_shared<const Weight>(std::move(stack));
    return true;
  }

  const Checkpoint& file_;
  const Config& config_;
  bool gguf_;
  std::string prefix_;
};

}  // namespace

Model load_model(const std::string& path, const LoadOptions& options) {
  if (std::error_code ignored; std::filesystem::is_regular_file(path, ignored)) {
    auto bytes = MappedFile::open(path);
    if (path.ends_with(".gem") || GemFile::begins(bytes->bytes())) {
      const GemFile gem(std::move(bytes));
      if (options.verify) gem.verify(options.poll);
      return load_gem(gem);
    }
  }
  const auto file = Checkpoint::open(path);
  Model m;
  m.path = path;
  m.source = file;
  if (file->kind == Checkpoint::Kind::gguf) {
    m.config = config_from_gguf(*file);
  } else {
    refuse_packed(*file);
    demand(!file->config_json.empty(), path, ": there is no config.json beside the tensors, so the model's sizes are unknown");
    const std::string beside = std::filesystem::is_directory(path) ? path + "/config.json" : path + " (config.json beside it)";
    m.config = config_from_json(file->config_json, file->generation_config_json, beside);
    if (m.config.name == m.config.architecture) {
      const auto folder = std::filesystem::is_directory(path) ? std::filesystem::path(path) : std::filesystem::path(path).parent_path();
      const std::string name = std::filesystem::weakly_canonical(folder).filename().string();
      if (!name.empty()) m.config.name = name;
    }
    // An untied head that no file brings was left out because it is the embedding.
    m.config.tied = m.config.tied || !(file->find("lm_head.weight") || file->find("language_model.lm_head.weight") ||
                                       file->find(text_prefix(*file) + "lm_head.weight"));
  }
  for (auto* ids : {&m.config.suppress, &m.config.end_ids})
    std::erase_if(*ids, [&](int32_t id) { return id < 0 || id >= m.config.vocabulary; });
  try {
    Graph graph = build_graph(m.config, Loader(*file, m.config).weights());
    if (options.pack && strips_pay()) add_strips(graph, file->owner.get(), options.poll);
    m.graph = std::make_shared<const Graph>(std::move(graph));
  } catch (const std::invalid_argument& e) {
    throw Error(path + ": " + e.what());
  }
  m.tokenizer = tokenizer_from(*file);
  if (m.tokenizer) {
    demand(m.tokenizer->size() <= m.config.vocabulary + 64, path, ": the tokenizer has ", m.tokenizer->size(), " tokens, the embedding ",
           m.config.vocabulary, " rows");
    if (m.config.end_ids.empty()) m.config.end_ids = m.tokenizer->end_of_generation();
  }
  if (m.config.end_ids.empty() && m.config.eos >= 0) m.config.end_ids = {m.config.eos};
  return m;
}

std::shared_ptr<const Tokenizer> tokenizer_from(const Checkpoint& file) {
  if (file.kind == Checkpoint::Kind::safetensors)
    return file.tokenizer_json.empty() ? nullptr : Tokenizer::from_json(file.tokenizer_json, file.tokenizer_config_json);
  const std::string key = "tokenizer.ggml.";
  const auto model = file.string(key + "model");
  if (!model || *model == "no_vocab" || *model == "none") return nullptr;
  const auto all = [&](const char* name, auto example) -> const decltype(example)* {
    const auto found = file.metadata.find(key + name);
    if (found == file.metadata.end()) return nullptr;
    const auto* v = std::get_if<decltype(example)>(&found->second);
    demand(v, file.path, ": ", key, name, " is of an unexpected type");
    return v;
  };
  Vocabulary v;
  const auto* pieces = all("tokens", std::vector<std::string>{});
  demand(pieces, file.path, ": ", key, "tokens is missing");
  v.pieces = *pieces;
  const auto* merges = all("merges", std::vector<std::string>{});
  // Some older files call a vocabulary with merges "llama".
  demand(*model == "llama" || *model == "gemma4", file.path, ": ", key, "model is \"", *model, "\"; llama and gemma4 are known");
  v.kind = *model == "gemma4" || (merges && file.string(key + "pre").value_or("") == "gemma4") ? Vocabulary::Kind::merges : Vocabulary::Kind::scores;
  if (v.kind == Vocabulary::Kind::merges) {
    demand(merges, file.path, ": ", key, "merges is missing");
    v.merges = *merges;
  }
  if (const auto* scores = all("scores", std::vector<double>{})) v.scores.assign(scores->begin(), scores->end());
  if (const auto* types = all("token_type", std::vector<int64_t>{})) v.types.assign(types->begin(), types->end());
  const auto id = [&](const char* name) {
    const int64_t i = file.integer(key + name).value_or(-1);
    return i >= 0 && i < static_cast<int64_t>(v.pieces.size()) ? static_cast<int>(i) : -1;
  };
  v.bos = id("bos_token_id");
  v.eos = id("eos_token_id");
  v.unk = id("unknown_token_id");
  v.pad = id("padding_token_id");
  if (const int eot = id("eot_token_id"); eot >= 0) v.stops.push_back(eot);
  v.add_bos = file.boolean(key + "add_bos_token").value_or(true);
  v.add_space_prefix = file.boolean(key + "add_space_prefix").value_or(*model == "llama" && !merges);
  return std::make_shared<const Tokenizer>(std::move(v));
}

}  // namespace gemloupe
