// Writes a vocabulary as a tokenizer.json that the tokenizers package reads to the same effect.
#include <nlohmann/json.hpp>

#include "csrc/io/tokenizer_parts.h"

namespace gemloupe {

using Json = nlohmann::json;

std::string Tokenizer::to_json() const {
  if (!parts_->json.empty()) return parts_->json;
  std::vector<std::string> symbols = marked_pieces(vocabulary_, true);
  const size_t count = symbols.size();
  const std::vector<Merge> merges = vocabulary_.kind == Vocabulary::Kind::scores ? merges_of_scores(vocabulary_, symbols)
                                                                                 : merges_of_list(vocabulary_, *parts_->index);
  const PieceIndex index(symbols);
  const auto quoted = [](std::string_view piece) {
    return Json(piece).dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  const Json mark = std::string(kSpaceMark);
  Json normalizers = Json::array(), decoders = Json::array();
  if (vocabulary_.add_space_prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", mark}});
  normalizers.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", mark}});
  decoders.push_back({{"type", "Replace"}, {"pattern", {{"String", mark}}}, {"content", " "}});
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (vocabulary_.add_space_prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  Json post_processor;
  if (vocabulary_.add_bos && bos() >= 0) {
    const std::string& name = piece(bos());
    const Json first = {{"SpecialToken", {{"id", name}, {"type_id", 0}}}};
    const auto sequence = [](const char* id, int type) { return Json{{"Sequence", {{"id", id}, {"type_id", type}}}}; };
    post_processor = {{"type", "TemplateProcessing"},
                      {"single", Json::array({first, sequence("A", 0)})},
                      {"pair", Json::array({first, sequence("A", 0), sequence("B", 1)})},
                      {"special_tokens", {{name, {{"id", name}, {"ids", {bos()}}, {"tokens", {name}}}}}}};
  }
  Json added = Json::array();
  for (int32_t id = 0; id < size(); ++id) {
    if (!is_control(id) && vocabulary_.types[size_t(id)] != Vocabulary::user_defined) continue;
    if (symbols[size_t(id)].empty() || index.find(symbols[size_t(id)]) != id) continue;
    added.push_back({{"id", id}, {"content", symbols[size_t(id)]}, {"single_word", false}, {"lstrip", false}, {"rstrip", false},
                     {"normalized", false}, {"special", is_control(id)}});
  }
  std::string out = "{\n\"version\": \"1.0\",\n\"truncation\": null,\n\"padding\": null,\n\"added_tokens\": ";
  const auto dump = [](const Json& part) { return part.dump(-1, ' ', false, Json::error_handler_t::replace); };
  out += dump(added) + ",\n\"normalizer\": " + dump({{"type", "Sequence"}, {"normalizers", normalizers}});
  out += ",\n\"pre_tokenizer\": null,\n\"post_processor\": " + dump(post_processor);
  out += ",\n\"decoder\": " + dump({{"type", "Sequence"}, {"decoders", decoders}});
  out += ",\n\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": ";
  out += vocabulary_.unk < 0 ? "null" : quoted(symbols[size_t(vocabulary_.unk)]);
  out += ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": true, \"byte_fallback\": true, "
         "\"ignore_merges\": false,\n\"vocab\": {";
  const char* separator = "\n";
  for (size_t id = 0; id < count; ++id) {
    if (index.find(symbols[id]) != int32_t(id)) continue;
    out.append(separator).append(quoted(symbols[id])).append(": ").append(std::to_string(id));
    separator = ",\n";
  }
  out += "},\n\"merges\": [";
  separator = "\n";
  for (const Merge& merge : merges) {
    if (size_t(merge.left) >= count || size_t(merge.right) >= count) continue;
    out.append(separator).append("[").append(quoted(symbols[size_t(merge.left)])).append(", ");
    out.append(quoted(symbols[size_t(merge.right)])).append("]");
    separator = ",\n";
  }
  return out += "]}\n}\n";
}

}  // namespace gemloupe
