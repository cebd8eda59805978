#include "csrc/gemma/gem.h"

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "csrc/core/error.h"
#include "csrc/formats/strips.h"
#include "csrc/gemma/names.h"
#include "csrc/io/gguf.h"
#include "csrc/io/json_text.h"
#include "csrc/io/printable.h"

namespace gemloupe {
namespace {

using nlohmann::json;

// The texts of a folder, by their files' names.
template <class AnyCheckpoint, class Each>
void each_text(AnyCheckpoint& c, Each&& each) {
  each("config.json", c.config_json);
  each("generation_config.json", c.generation_config_json);
  each("tokenizer.json", c.tokenizer_json);
  each("tokenizer_config.json", c.tokenizer_config_json);
}

json numbers_of(const StripLayout& l) { return {l.bits, l.group, l.unit, l.header, static_cast<int>(l.scale)}; }

// Pieces to write, in order; 0 is the description.
struct Pieces {
  std::vector<TensorToWrite> all{1};

  size_t add(TensorToWrite piece) {
    all.push_back(std::move(piece));
    return all.size() - 1;
  }
  static TensorToWrite of_text(std::string name, std::string text) {
    auto kept = std::make_shared<const std::string>(std::move(text));
    return {std::move(name), "", {}, reinterpret_cast<const uint8_t*>(kept->data()), kept->size(), kept, {}};
  }
};

// Strips, in memory or made now; or else the rows.
TensorToWrite piece_of(const std::string& name, const std::shared_ptr<const Weight>& w, const std::optional<Strips>& strips,
                       const std::function<void()>& poll) {
  TensorToWrite piece{name, "", {}, nullptr, static_cast<uint64_t>(strips ? strips->bytes() : w->bytes()), w, {}};
  piece.produce = [w, strips, poll](const TensorToWrite::Write& write) {
    std::shared_ptr<const Weight> held = w;
    std::span<const uint8_t> bytes(w->data, static_cast<size_t>(w->bytes()));
    if (strips) {
      if (poll) poll();
      held = packed_weight(w, Rows::keep);
      bytes = {held->strips->data, static_cast<size_t>(strips->bytes())};
    }
    for (constexpr size_t kSlab = size_t{64} << 20; !bytes.empty(); bytes = bytes.subspan(std::min(bytes.size(), kSlab))) {
      if (poll) poll();
      write(bytes.first(std::min(bytes.size(), kSlab)));
    }
  };
  return piece;
}

json source_of(const Model& model, Pieces& pieces) {
  if (!model.source && !model.tokenizer) return nullptr;
  Checkpoint own;
  own.kind = Checkpoint::Kind::safetensors;
  if (!model.source) {
    own.tokenizer_json = model.tokenizer->to_json();
    own.tokenizer_config_json = tokenizer_config_json(*model.tokenizer);
  }
  const Checkpoint& source = model.source ? *model.source : own;
  if (source.kind == Checkpoint::Kind::gguf) {
    const std::vector<std::pair<std::string, MetaValue>> metadata(source.metadata.begin(), source.metadata.end());
    return {{"kind", "gguf"}, {"metadata", pieces.add(Pieces::of_text("metadata", gguf_without_tensors(metadata, source.metadata_types)))}};
  }
  json j{{"kind", "safetensors"}};
  each_text(source, [&](const char* name, const std::string& words) {
    if (!words.empty()) j[name] = pieces.add(Pieces::of_text(name, words));
  });
  return j;
}

class GemReader {
 public:
  explicit GemReader(const GemFile& file) : file_(file), path_(file.path()) {
    const auto description = file.piece(0);
    all_ = parse_json({reinterpret_cast<const char*>(description.data()), description.size()}, path_);
    demand(all_.is_object(), path_, ": the description must be an object");
  }

  Config config() const { return config_from_gem(field(all_, "config").dump(), path_); }

  std::shared_ptr<const Checkpoint> source() const {
    auto made = std::make_shared<Checkpoint>();
    made->path = path_;
    made->owner = file_.file();
    const json& j = field(all_, "source");
    if (j.is_null()) return nullptr;
    const json& kind = field(j, "kind");
    if (kind == "gguf") {
      GgufContents contents = read_gguf(piece(field(j, "metadata")), path_ + " (metadata)");
      made->metadata = std::move(contents.metadata);
      made->metadata_types = std::move(contents.types);
      return made;
    }
    demand(kind == "safetensors", path_, ": the source must be gguf or safetensors");
    made->kind = Checkpoint::Kind::safetensors;
    each_text(*made, [&](const char* name, std::string& words) {
      const auto found = j.find(name);
      if (found == j.end()) return;
      const auto bytes = piece(*found);
      words.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    });
    return made;
  }

  Weights weights(const Config& config) const {
    std::map<std::string, const json*> entries;
    const json& list = field(all_, "weights");
    demand(list.is_array(), path_, ": weights must be a list");
    for (const json& entry : list) {
      const std::string name = word(entry, "name");
      demand(entries.emplace(name, &entry).second, path_, ": the weight ", printable(name), " is there twice");
    }
    Weights weights;
    for (const WeightSpec& spec : weight_specs(config)) {
      // The two halves of the experts' first matrices may lie in stacks of their own.
      if (spec.name.ends_with("moe.gate_up") && !entries.count(spec.name)) {
        const std::string stem = spec.name.substr(0, spec.name.size() - 7);
        for (const char* half : {"gate", "up"}) weights[stem + half] = weight(entries, stem + half, spec.rows / 2, spec.cols, spec.experts);
      } else {
        const bool vector = spec.kind == WeightSpec::Kind::vector;
        weights[spec.name] = weight(entries, spec.name, vector ? 1 : spec.rows, spec.cols, spec.experts);
        demand(!vector || weights[spec.name]->format->name() == "F32", path_, ": ", spec.name, " must be F32");
      }
    }
    if (entries.size() != weights.size())
      for (const auto& [name, entry] : entries)
        demand(weights.count(name), path_, ": the configuration has no weight ", printable(name));
    return weights;
  }

 private:
  const json& field(const json& j, const char* key) const {
    demand(j.is_object() && j.contains(key), path_, ": the description lacks ", key);
    return j[key];
  }
  std::string word(const json& j, const char* key) const {
    const json& value = field(j, key);
    demand(value.is_string(), path_, ": ", key, " must be a string");
    return value.get<std::string>();
  }
  std::span<const uint8_t> piece(const json& number) const {
    demand(number.is_number_unsigned() && number.get<uint64_t>() >= 1 && number.get<uint64_t>() < file_.pieces(), path_,
           ": the description names a piece that is not there");
    return file_.piece(number.get<size_t>());
  }

  std::shared_ptr<const Weight> weight(const std::map<std::string, const json*>& entries, const std::string& name, int64_t rows, int64_t cols,
                                       int64_t experts) const {
    const auto found = entries.find(name);
    demand(found != entries.end(), path_, ": the weight ", name, " is missing");
    const json& entry = *found->second;
    const std::string at = path_ + ": " + name;
    Weight w;
    w.rows = rows * experts;
    w.cols = cols;
    w.experts = experts;
    int64_t row_bytes = 0, bytes = 0;
    try {
      w.format = format_named(word(entry, "format"));
      row_bytes = w.format->row_bytes(cols);
    } catch (const std::invalid_argument& e) {
      throw Error(at + ": " + e.what());
    }
    demand(!__builtin_mul_overflow(row_bytes, w.rows, &bytes), at, ": is too large");
    const auto data = piece(field(entry, "piece"));
    if (const json& numbers = field(entry, "strips"); !numbers.is_null()) {
      const std::optional<Strips> strips = strips_for(w);
      demand(strips && numbers == numbers_of(strips->layout), at, ": ", w.format->name(),
             " is arranged as another version of this program does it; make the file again from the model's own files");
      bytes = strips->bytes();
      auto view = std::make_shared<std::pair<std::shared_ptr<const void>, Strips>>(file_.file(), *strips);
      view->second.data = data.data();
      w.strips = std::shared_ptr<const Strips>(view, &view->second);
    } else {
      w.data = data.data();
    }
    w.owner = file_.file();
    demand(static_cast<uint64_t>(bytes) == data.size(), at, ": takes ", bytes, " bytes, the file has ", data.size());
    const json& scales = field(entry, "output_scale");
    demand(scales.is_array() && (scales.size() <= 1 || scales.size() == static_cast<size_t>(experts)), at, ": has ", scales.size(),
           " output scales, expected none, one, or one for each of ", experts, " experts");
    for (const json& bits : scales) {
      demand(bits.is_number_unsigned() && bits.get<uint64_t>() <= UINT32_MAX, at, ": an output scale must be the bits of a float");
      w.output_scale.push_back(std::bit_cast<float>(bits.get<uint32_t>()));
    }
    return std::make_shared<const Weight>(std::move(w));
  }

  const GemFile& file_;
  const std::string& path_;
  json all_;
};

}  // namespace

void save_gem(const Model& model, const std::string& path, const std::function<void()>& poll) {
  refuse_other_graphs(model, path);
  const std::set<std::string> multiplied = model.graph->multiplied();
  Pieces pieces;
  json description{{"config", json::parse(config_to_gem(model.config))}, {"source", source_of(model, pieces)}};
  json& list = description["weights"] = json::array();
  for (const auto& [name, w] : model.graph->weights()) {
    std::optional<Strips> strips;
    if (w->strips)
      strips = *w->strips;
    else if (multiplied.count(name))
      strips = strips_for(*w);
    json scales = json::array();
    for (const float s : w->output_scale) scales.push_back(std::bit_cast<uint32_t>(s));
    list.push_back({{"name", name},
                    {"format", w->format->name()},
                    {"piece", pieces.add(piece_of(name, w, strips, poll))},
                    {"strips", strips ? numbers_of(strips->layout) : json()},
                    {"output_scale", std::move(scales)}});
  }
  pieces.all[0] = Pieces::of_text("description", description.dump());
  write_gem(path, pieces.all);
}

Model load_gem(const GemFile& file) {
  const GemReader reader(file);
  Model m;
  m.path = file.path();
  m.config = reader.config();
  m.source = reader.source();
  try {
    m.graph = std::make_shared<const Graph>(build_graph(m.config, reader.weights(m.config)));
  } catch (const std::invalid_argument& e) {
    throw Error(m.path + ": " + e.what());
  }
  if (m.source) m.tokenizer = tokenizer_from(*m.source);
  return m;
}

}  // namespace gemloupe
