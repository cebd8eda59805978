// Reads tokenizer.json. Of its pipeline (normalizer, pre_tokenizer, model, decoder) we take what amounts to: mark
// spaces, perhaps add one, perhaps cut before them, merge. All else is refused by name, so that no text is encoded wrongly.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "csrc/core/error.h"
#include "csrc/io/tokenizer_parts.h"

namespace gemloupe {
namespace {

using Json = nlohmann::json;

// Takes model.vocab and model.merges, which are nearly all of the file, as they come; the rest becomes an ordinary document.
class Reader final : public nlohmann::json_sax<Json> {
 public:
  struct Range {
    size_t begin, end;  // in texts
  };
  struct Entry {
    Range piece;
    int64_t id;
  };
  Json document;
  std::string texts, error;
  std::vector<Entry> vocabulary;
  std::vector<Range> merge_parts;      // left, right, left, right ...
  std::vector<std::string> earlier_merges;  // "left right" in one string

  std::string_view text_of(Range range) const { return std::string_view(texts).substr(range.begin, range.end - range.begin); }

  bool null() override { return value(nullptr); }
  bool boolean(bool v) override { return value(v); }
  bool number_integer(int64_t v) override { return place_ == Place::vocabulary ? entry(v) : value(v); }
  bool number_unsigned(uint64_t v) override {
    return place_ == Place::vocabulary ? entry(int64_t(std::min<uint64_t>(v, INT64_MAX))) : value(v);
  }
  bool number_float(double v, const std::string&) override { return value(v); }
  bool binary(Json::binary_t&) override { return fail("binary data"); }
  bool string(std::string& v) override {
    if (place_ != Place::merges) return value(std::move(v));
    if (in_pair_) {
      merge_parts.push_back(store(v));
      ++pair_size_;
    } else {
      earlier_merges.push_back(std::move(v));
    }
    return true;
  }
  bool key(std::string& v) override {
    if (place_ == Place::vocabulary) piece_ = store(v);
    else key_ = std::move(v);
    return true;
  }
  bool start_object(size_t) override {
    if (place_ == Place::merges || place_ == Place::vocabulary) return fail("an object within vocab or merges");
    if (in_model() && key_ == "vocab") return place_ = Place::vocabulary, true;
    return open(Json::object());
  }
  bool end_object() override {
    if (place_ == Place::vocabulary) return place_ = Place::elsewhere, true;
    return close();
  }
  bool start_array(size_t) override {
    if (place_ == Place::vocabulary) return fail("an array within vocab");
    if (place_ == Place::merges) {
      if (in_pair_) return fail("a merge that is not two strings");
      pair_size_ = 0;
      return in_pair_ = true;
    }
    if (in_model() && key_ == "merges") return place_ = Place::merges, true;
    return open(Json::array());
  }
  bool end_array() override {
    if (place_ != Place::merges) return close();
    if (!in_pair_) return place_ = Place::elsewhere, true;
    in_pair_ = false;
    return pair_size_ == 2 || fail("a merge that is not two strings");
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    error = text("not valid JSON at byte ", position, " (", e.what(), ")");
    return false;
  }

 private:
  enum class Place { elsewhere, vocabulary, merges };

  bool fail(const char* what) {
    error = text("it has ", what);
    return false;
  }
  bool in_model() const { return open_.size() == 2 && in_model_; }
  Range store(std::string_view v) {
    texts += v;
    return {texts.size() - v.size(), texts.size()};
  }
  bool entry(int64_t id) {
    vocabulary.push_back({piece_, id});
    return true;
  }
  Json* put(Json v) {
    if (open_.empty()) return &(document = std::move(v));
    Json& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(v));
    parent.push_back(std::move(v));
    return &parent.back();
  }
  bool value(Json v) {
    if (place_ != Place::elsewhere) return fail("a value of the wrong type within vocab or merges");
    put(std::move(v));
    return true;
  }
  bool open(Json v) {
    if (open_.size() == 64) return fail("more than 64 levels");
    if (open_.size() == 1) in_model_ = key_ == "model";
    open_.push_back(put(std::move(v)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  Place place_ = Place::elsewhere;
  std::vector<Json*> open_;
  std::string key_;
  Range piece_{0, 0};
  bool in_pair_ = false, in_model_ = false;
  int pair_size_ = 0;
};

constexpr const char* kFile = "tokenizer.json";

[[noreturn]] void refuse(const std::string& part, const Json& found, const char* expected) {
  std::string shown = found.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (shown.size() > 200) shown = shown.substr(0, 200) + "...";
  throw Error(text(kFile, ": ", part, " is ", shown, ", which is not supported; expected ", expected));
}

std::string string_at(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}
bool flag_at(const Json& object, const char* key, bool otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() ? found->get<bool>() : otherwise;
}
Json member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? Json() : *found;
}
std::string pattern_of(const Json& part) { return string_at(member(part, "pattern"), "String"); }

// The steps of a part of the pipeline, sequences unrolled.
std::vector<Json> steps_of(const Json& part, const char* list) {
  if (part.is_null()) return {};
  if (string_at(part, "type") != "Sequence") return {part};
  std::vector<Json> steps;
  for (const Json& step : member(part, list)) {
    const std::vector<Json> inner = steps_of(step, list);
    steps.insert(steps.end(), inner.begin(), inner.end());
  }
  return steps;
}

// Tokenizer::Parts is private: the readers take it as a template parameter, which need not name it.
struct TokenizerJson {
  template <class Parts>
  static void read_normalizer(const Json& document, Parts& parts) {
    for (const Json& step : steps_of(member(document, "normalizer"), "normalizers")) {
      const std::string type = string_at(step, "type");
      if (type == "Replace" && pattern_of(step) == " " && string_at(step, "content") == kSpaceMark) {
        parts.spaces_are_marks = true;
      } else if (type == "Prepend" && string_at(step, "prepend") == kSpaceMark) {
        parts.prefix = Parts::Prefix::always;
      } else {
        refuse("normalizer", step, "Replace \" \" by U+2581, Prepend U+2581, or none");
      }
    }
  }

  template <class Parts>
  static void read_pre_tokenizer(const Json& document, Parts& parts) {
    const char* const expected = "Metaspace, Split on \" \" after a normalizer that replaces \" \", or none";
    for (const Json& step : steps_of(member(document, "pre_tokenizer"), "pretokenizers")) {
      const std::string type = string_at(step, "type");
      if (type == "Split" && pattern_of(step) == " " && parts.spaces_are_marks) continue;  // no space is left to split on
      if (type != "Metaspace" || string_at(step, "replacement") != kSpaceMark) refuse("pre_tokenizer", step, expected);
      const bool prefix = flag_at(step, "add_prefix_space", true);
      const std::string usual = prefix ? "always" : "never";
      const std::string scheme = step.contains("prepend_scheme") ? string_at(step, "prepend_scheme") : usual;
      if (scheme != "always" && scheme != "first" && scheme != "never") refuse("pre_tokenizer", step, expected);
      if (scheme != "never" && parts.prefix == Parts::Prefix::never) {
        parts.prefix = scheme == "always" ? Parts::Prefix::unless_marked : Parts::Prefix::at_start;
      }
      parts.spaces_are_marks = true;
      parts.cut_before_marks = flag_at(step, "split", true);
    }
  }

  template <class Parts>
  static void read_decoder(const Json& document, Parts& parts) {
    for (const Json& step : steps_of(member(document, "decoder"), "decoders")) {
      const std::string type = string_at(step, "type");
      const bool marks = type == "Replace" && pattern_of(step) == kSpaceMark && string_at(step, "content") == " ";
      const bool strip = type == "Strip" && string_at(step, "content") == " " && step.value("start", Json(0)) == Json(1) &&
                         step.value("stop", Json(0)) == Json(0);
      if (strip) parts.drop_leading_space = true;
      else if (type == "Metaspace") parts.drop_leading_space = parts.prefix != Parts::Prefix::never;
      else if (!marks && type != "ByteFallback" && type != "Fuse") {
        refuse("decoder", step, "Replace U+2581 by \" \", ByteFallback, Fuse, Strip of one leading \" \", or Metaspace");
      }
    }
  }

  template <class Parts>
  static void read_model(const Json& document, Parts& parts) {
    const Json model = member(document, "model");
    const std::string type = string_at(model, "type");
    if (type != "BPE" && !type.empty()) refuse("model.type", type, "\"BPE\"");
    demand(model.is_object(), kFile, ": it has no object \"model\"");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json affix = member(model, key);
      if (!affix.is_null() && affix != Json("")) refuse(text("model.", key), affix, "null");
    }
    const Json dropout = member(model, "dropout");
    if (!dropout.is_null() && dropout != Json(0)) refuse("model.dropout", dropout, "null");
    parts.byte_fallback = flag_at(model, "byte_fallback", false);
    parts.fuse_unknown = flag_at(model, "fuse_unk", false);
    parts.ignore_merges = flag_at(model, "ignore_merges", false);
  }

  static void read_pieces(const Reader& reader, Vocabulary& vocabulary) {
    constexpr int64_t kMost = int64_t(1) << 26;
    const auto set = [&](int64_t id, std::string_view piece, int type) {
      demand(id >= 0 && id < kMost, kFile, ": the id of \"", piece, "\" is ", id, ", expected 0 to ", kMost - 1);
      if (size_t(id) >= vocabulary.pieces.size()) {
        vocabulary.pieces.resize(size_t(id) + 1);
        vocabulary.types.resize(size_t(id) + 1, Vocabulary::unused);
      }
      std::string& place = vocabulary.pieces[size_t(id)];
      demand(place.empty() || place == piece, kFile, ": id ", id, " is both \"", place, "\" and \"", piece, "\"");
      place = piece;
      vocabulary.types[size_t(id)] = type;
    };
    int64_t largest = -1;
    for (const auto& [piece, id] : reader.vocabulary) largest = std::max(largest, id);
    demand(largest < int64_t(4 * reader.vocabulary.size() + 65536), kFile, ": model.vocab has ", reader.vocabulary.size(),
           " pieces, but an id of ", largest);
    for (const auto& [piece, id] : reader.vocabulary) set(id, reader.text_of(piece), Vocabulary::normal);
    for (const Json& token : member(reader.document, "added_tokens")) {
      const Json id = member(token, "id");
      demand(id.is_number_integer() && member(token, "content").is_string(), kFile,
             ": an entry of added_tokens has no id or no content");
      for (const char* key : {"lstrip", "rstrip", "single_word"}) {
        if (flag_at(token, key, false)) refuse(text("added_tokens: ", key), token, "false");
      }
      demand(id.get<int64_t>() < int64_t(4 * reader.vocabulary.size() + 65536), kFile, ": added_tokens has an id of ",
             id.dump());
      set(id.get<int64_t>(), string_at(token, "content"),
          flag_at(token, "special", false) ? Vocabulary::control : Vocabulary::user_defined);
    }
    for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
      if (vocabulary.types[id] == Vocabulary::unused) vocabulary.pieces[id] = text("[unused id ", id, "]");
    }
  }

  static std::vector<Merge> read_merges(const Reader& reader, Vocabulary& vocabulary) {
    const PieceIndex index(vocabulary.pieces);
    std::vector<Merge> merges;
    const size_t count = reader.earlier_merges.size() + reader.merge_parts.size() / 2;
    merges.reserve(count);
    vocabulary.merges.reserve(count);
    std::string joined;
    const auto add = [&](std::string_view left, std::string_view right) {
      joined.assign(left).append(right);
      const int32_t ids[3] = {index.find(left), index.find(right), index.find(joined)};
      demand(ids[0] >= 0 && ids[1] >= 0 && ids[2] >= 0, kFile, ": merge ", merges.size(), " makes \"", joined, "\" of \"", left,
             "\" and \"", right, "\", which are not all in the vocabulary");
      vocabulary.merges.emplace_back().append(left).append(" ").append(right);
      merges.push_back({ids[0], ids[1], ids[2], uint32_t(merges.size())});
    };
    for (const std::string& entry : reader.earlier_merges) {
      const size_t gap = entry.find(' ', 1);
      demand(gap != std::string::npos, kFile, ": merge ", merges.size(), " is \"", entry,
             "\", expected two pieces with a space between");
      add(std::string_view(entry).substr(0, gap), std::string_view(entry).substr(gap + 1));
    }
    for (size_t i = 0; i + 1 < reader.merge_parts.size(); i += 2) {
      add(reader.text_of(reader.merge_parts[i]), reader.text_of(reader.merge_parts[i + 1]));
    }
    // Scores of the same effect, for a GGUF file of kind "llama": pieces that no merge makes come last.
    vocabulary.scores.assign(vocabulary.pieces.size(), -float(merges.size()));
    for (auto merge = merges.rbegin(); merge != merges.rend(); ++merge) {
      vocabulary.scores[size_t(merge->result)] = -float(merge->rank);
    }
    // No plain text may become a control token.
    std::erase_if(merges, [&](const Merge& merge) { return vocabulary.types[size_t(merge.result)] == Vocabulary::control; });
    return merges;
  }

  static void read_special_ids(const Json& document, const Json& config, Vocabulary& vocabulary) {
    const PieceIndex index(vocabulary.pieces);
    const auto added = [&](std::string_view piece) {
      const int32_t id = index.find(piece);
      return id >= 0 && vocabulary.types[size_t(id)] == Vocabulary::control ? id : -1;
    };
    const auto id_of = [&](const char* key, std::initializer_list<const char*> usual) {
      const Json named = config.is_object() ? member(config, key) : Json();
      const std::string piece = named.is_string() ? named.get<std::string>() : string_at(named, "content");
      if (!piece.empty()) {
        const int32_t id = index.find(piece);
        demand(id >= 0, "tokenizer_config.json: ", key, " is \"", piece, "\", which is not in the vocabulary");
        return id;
      }
      if (config.is_object() && config.contains(key)) return -1;  // null: there is none
      for (const char* name : usual) {
        if (added(name) >= 0) return added(name);
      }
      return -1;
    };
    vocabulary.bos = id_of("bos_token", {"<bos>", "<s>", "<|begin_of_text|>"});
    vocabulary.eos = id_of("eos_token", {"<eos>", "</s>", "<|end_of_text|>", "<|endoftext|>"});
    vocabulary.pad = id_of("pad_token", {"<pad>"});
    const std::string unknown = string_at(member(document, "model"), "unk_token");
    vocabulary.unk = unknown.empty() ? -1 : index.find(unknown);
    demand(unknown.empty() || vocabulary.unk >= 0, kFile, ": model.unk_token is \"", unknown,
           "\", which is not in the vocabulary");

    // The post-processor does not change how we encode; it only says whether a BOS is usual.
    for (const Json& step : steps_of(member(document, "post_processor"), "processors")) {
      const Json single = member(step, "single");
      if (string_at(step, "type") != "TemplateProcessing" || !single.is_array() || single.empty()) continue;
      const std::string first = string_at(member(single[0], "SpecialToken"), "id");
      if (!first.empty() && vocabulary.bos >= 0) vocabulary.add_bos = index.find(first) == vocabulary.bos;
    }
    if (config.is_object()) vocabulary.add_bos = flag_at(config, "add_bos_token", vocabulary.add_bos);
  }
};

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json, std::string_view tokenizer_config_json) {
  Reader reader;
  reader.texts.reserve(tokenizer_json.size() / 2);
  const bool read = Json::sax_parse(tokenizer_json.begin(), tokenizer_json.end(), &reader);
  demand(read && reader.document.is_object(), kFile, ": ", reader.error.empty() ? "not a JSON object" : reader.error);
  const Json config = tokenizer_config_json.empty() ? Json() : Json::parse(tokenizer_config_json, nullptr, false);
  demand(tokenizer_config_json.empty() || config.is_object(), "tokenizer_config.json: not a JSON object");

  auto parts = std::make_unique<Parts>();
  parts->spaces_are_marks = false;
  TokenizerJson::read_normalizer(reader.document, *parts);
  TokenizerJson::read_pre_tokenizer(reader.document, *parts);
  TokenizerJson::read_decoder(reader.document, *parts);
  TokenizerJson::read_model(reader.document, *parts);
  Vocabulary vocabulary;
  vocabulary.kind = Vocabulary::Kind::merges;
  vocabulary.add_space_prefix = parts->prefix != Parts::Prefix::never;
  TokenizerJson::read_pieces(reader, vocabulary);
  parts->merges = TokenizerJson::read_merges(reader, vocabulary);
  TokenizerJson::read_special_ids(reader.document, config, vocabulary);
  parts->json = tokenizer_json;
  reader = {};
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(vocabulary), std::move(parts)));
}

}  // namespace gemloupe
