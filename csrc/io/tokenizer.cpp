#include "csrc/io/tokenizer.h"

#include <algorithm>
#include <cmath>
#include <deque>

#include "csrc/core/error.h"
#include "csrc/io/tokenizer_parts.h"
#include "csrc/io/tokenizer_utf8.h"

namespace gemloupe {

AddedTokens::AddedTokens() { roots_.fill(-1); }

void AddedTokens::add(std::string_view text, int32_t id) {
  if (text.empty()) return;
  int32_t node = roots_[uint8_t(text[0])];
  if (node < 0) {
    node = roots_[uint8_t(text[0])] = int32_t(nodes_.size());
    nodes_.push_back({-1, -1, -1, text[0]});
  }
  for (char byte : text.substr(1)) {
    int32_t child = nodes_[size_t(node)].child;
    while (child >= 0 && nodes_[size_t(child)].byte != byte) child = nodes_[size_t(child)].sibling;
    if (child < 0) {
      child = int32_t(nodes_.size());
      nodes_.push_back({-1, -1, nodes_[size_t(node)].child, byte});
      nodes_[size_t(node)].child = child;
    }
    node = child;
  }
  if (nodes_[size_t(node)].id < 0) nodes_[size_t(node)].id = id;
}

AddedTokens::Match AddedTokens::longest(std::string_view text) const {
  Match match{-1, 0};
  int32_t node = roots_[uint8_t(text[0])];
  for (size_t length = 1; node >= 0; ++length) {
    if (nodes_[size_t(node)].id >= 0) match = {nodes_[size_t(node)].id, length};
    if (length == text.size()) break;
    node = nodes_[size_t(node)].child;
    while (node >= 0 && nodes_[size_t(node)].byte != text[length]) node = nodes_[size_t(node)].sibling;
  }
  return match;
}

namespace {

void demand_consistent(const Vocabulary& vocabulary) {
  const size_t count = vocabulary.pieces.size();
  demand(count > 0, "vocabulary: it has no pieces");
  demand(count < size_t(1) << 26, "vocabulary: ", count, " pieces, expected fewer than 2^26");
  demand(vocabulary.types.empty() || vocabulary.types.size() == count, "vocabulary: ", vocabulary.types.size(),
         " token types for ", count, " pieces, expected one each");
  const bool needs_scores = vocabulary.kind == Vocabulary::Kind::scores;
  demand(vocabulary.scores.size() == count || (!needs_scores && vocabulary.scores.empty()), "vocabulary: ",
         vocabulary.scores.size(), " scores for ", count, " pieces, expected one each");
  for (size_t id = 0; id < vocabulary.scores.size(); ++id) {
    demand(!std::isnan(vocabulary.scores[id]), "vocabulary: the score of piece ", id, " is not a number");
  }
  const auto demand_id = [&](int id, const char* what) {
    demand(id >= -1 && (id < 0 || size_t(id) < count), "vocabulary: the ", what, " id is ", id, ", expected 0 to ", count - 1,
           ", or -1 for none");
  };
  demand_id(vocabulary.bos, "BOS");
  demand_id(vocabulary.eos, "EOS");
  demand_id(vocabulary.unk, "unknown");
  demand_id(vocabulary.pad, "padding");
  for (int32_t id : vocabulary.stops) demand_id(id, "stop");
}

std::string marked_spaces(size_t count) {
  std::string marks;
  while (count-- > 0) marks += kSpaceMark;
  return marks;
}

std::string byte_piece(int byte) {
  const char* const digits = "0123456789ABCDEF";
  return std::string("<0x") + digits[byte >> 4] + digits[byte & 15] + ">";
}

}  // namespace

Tokenizer::Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)), parts_(std::make_unique<Parts>()) {
  if (vocabulary_.add_space_prefix) {
    parts_->prefix = Parts::Prefix::always;
    parts_->drop_leading_space = true;
  }
  finish_loading();
}

Tokenizer::Tokenizer(Vocabulary vocabulary, std::unique_ptr<Parts> parts)
    : vocabulary_(std::move(vocabulary)), parts_(std::move(parts)) {
  finish_loading();
}

Tokenizer::~Tokenizer() = default;

void Tokenizer::finish_loading() {
  demand_consistent(vocabulary_);
  const size_t count = vocabulary_.pieces.size();
  if (vocabulary_.types.empty()) vocabulary_.types.assign(count, Vocabulary::normal);
  parts_->index = std::make_unique<PieceIndex>(vocabulary_.pieces);

  BpeRules rules;
  rules.vocabulary = int32_t(count);
  rules.unknown = vocabulary_.unk;
  rules.fuse_unknown = parts_->fuse_unknown;
  rules.spaces_are_marks = parts_->spaces_are_marks;
  rules.cut_before_marks = parts_->cut_before_marks;
  rules.symbols = marked_pieces(vocabulary_, parts_->spaces_are_marks);
  rules.bytes.fill(-1);
  std::vector<int16_t> byte_of(count, -1);
  for (int byte = 0; parts_->byte_fallback && byte < 256; ++byte) {
    const int32_t id = parts_->index->find(byte_piece(byte));
    if (id < 0) continue;
    rules.bytes[size_t(byte)] = id;
    byte_of[size_t(id)] = int16_t(byte);
    if (vocabulary_.types[size_t(id)] == Vocabulary::normal) vocabulary_.types[size_t(id)] = Vocabulary::byte;
  }
  if (vocabulary_.kind == Vocabulary::Kind::scores) {
    rules.merges = merges_of_scores(vocabulary_, rules.symbols);
  } else {
    rules.merges = parts_->merges.empty() ? merges_of_list(vocabulary_, *parts_->index) : std::move(parts_->merges);
  }
  for (size_t id = rules.symbols.size(); id-- > 0;) {  // backwards: of equal pieces the first counts
    const std::string& symbol = rules.symbols[id];
    if (symbol.empty() || (id < count && !comes_from_text(vocabulary_, id))) continue;
    const Character character = first_character(symbol.data(), symbol.data() + symbol.size());
    if (character.code >= 0 && character.length == symbol.size()) rules.characters.emplace_back(character.code, int32_t(id));
  }
  if (parts_->ignore_merges) {
    rules.whole_word = [this](std::string_view word) {
      std::string marked(word);
      for (size_t at = marked.find(' '); parts_->spaces_are_marks && at != std::string::npos; at = marked.find(' ', at)) {
        marked.replace(at, 1, kSpaceMark);
      }
      const int32_t id = parts_->index->find(marked);
      return id >= 0 && comes_from_text(vocabulary_, size_t(id)) ? id : -1;
    };
  }
  parts_->bpe = std::make_unique<Bpe>(std::move(rules));

  parts_->decoded_end.reserve(count);
  for (size_t id = 0; id < count; ++id) {
    const std::string& piece = vocabulary_.pieces[id];
    const int type = vocabulary_.types[id];
    const bool added = type == Vocabulary::control || type == Vocabulary::unknown || type == Vocabulary::user_defined;
    if (added) parts_->added.add(merging_finds_run(id) ? marked_spaces(piece.size()) : piece, int32_t(id));
    if (byte_of[id] >= 0) {
      parts_->decoded += char(byte_of[id]);
    } else if (!parts_->spaces_are_marks) {
      parts_->decoded += piece;
    } else {
      size_t from = 0;
      for (size_t at; (at = piece.find(kSpaceMark, from)) != std::string::npos; from = at + kSpaceMark.size()) {
        parts_->decoded.append(piece, from, at - from).push_back(' ');
      }
      parts_->decoded.append(piece, from);
    }
    parts_->decoded_end.push_back(parts_->decoded.size());
  }

  end_of_generation_.assign(vocabulary_.stops.begin(), vocabulary_.stops.end());
  if (eos() >= 0) end_of_generation_.push_back(eos());
  for (const char* name : {"<end_of_turn>", "<turn|>", "<|tool_response>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>",
                           "<|end_of_text|>", "<|endoftext|>"}) {
    const int32_t id = parts_->index->find(name);
    if (id < 0) continue;
    const int type = vocabulary_.types[size_t(id)];
    if (type == Vocabulary::control || type == Vocabulary::user_defined) end_of_generation_.push_back(id);
  }
  std::sort(end_of_generation_.begin(), end_of_generation_.end());
  end_of_generation_.erase(std::unique(end_of_generation_.begin(), end_of_generation_.end()), end_of_generation_.end());
  if (!end_of_generation_.empty() && end_of_generation_.front() < 0) end_of_generation_.erase(end_of_generation_.begin());
}

// GGUF spells user-defined runs of U+2581 with spaces. Where merging finds the runs of spaces anyway, only runs of U+2581
// itself are cut out first, as tokenizer.json has it: the two differ for texts in which spaces and U+2581 stand side by side.
bool Tokenizer::merging_finds_run(size_t id) const {
  const std::string& piece = vocabulary_.pieces[id];
  if (parts_->prefix != Parts::Prefix::never || !parts_->spaces_are_marks) return false;
  if (vocabulary_.types[id] != Vocabulary::user_defined || piece.find_first_not_of(' ') != std::string::npos) return false;
  std::vector<int32_t> ids;
  Bpe::Call(*parts_->bpe, piece.size(), ids).append(piece);
  return ids.size() == 1 && ids[0] == int32_t(id);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool special, bool bos) const {
  check(text.size() < size_t(1) << 31, "encode: the text has ", text.size(),
        " bytes, expected fewer than 2^31: encode it in parts");
  check(!bos || vocabulary_.bos >= 0, "encode: bos is true, but this vocabulary has no BOS token");
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 2);
  if (bos) ids.push_back(vocabulary_.bos);

  std::deque<std::string> prefixed;  // must outlive the call: it remembers words where they stand
  Bpe::Call call(*parts_->bpe, text.size(), ids);
  const auto append_plain = [&](size_t from, size_t to) {
    const std::string_view plain = text.substr(from, to - from);
    if (plain.empty()) return;
    const bool marked = plain[0] == ' ' || plain.starts_with(kSpaceMark);
    using Prefix = Parts::Prefix;
    const Prefix prefix = parts_->prefix;
    const bool add = prefix == Prefix::always || (prefix == Prefix::unless_marked && !marked) ||
                     (prefix == Prefix::at_start && !marked && from == 0);
    if (add) prefixed.emplace_back(" ").append(plain);
    call.append(add ? std::string_view(prefixed.back()) : plain);
  };
  size_t plain = 0;
  for (size_t at = 0; at < text.size();) {
    if (!parts_->added.may_begin(text[at])) {
      ++at;
      continue;
    }
    const auto [id, length] = parts_->added.longest(text.substr(at));
    if (id < 0) {
      ++at;
      continue;
    }
    // The text of a control token that does not count is plain text as a whole, whatever other token it contains.
    if (special || !is_control(id)) {
      append_plain(plain, at);
      ids.push_back(id);
      plain = at + length;
    }
    at += length;
  }
  append_plain(plain, text.size());
  if (bos && ids.size() > 1 && ids[1] == vocabulary_.bos) ids.erase(ids.begin());
  return ids;
}

void Tokenizer::check_id(int32_t id, const char* where) const {
  check(id >= 0 && id < size(), where, ": token id ", id, " is not in the vocabulary, expected 0 to ", size() - 1);
}

const std::string& Tokenizer::piece(int32_t id) const {
  check_id(id, "piece");
  return vocabulary_.pieces[size_t(id)];
}

std::string_view Tokenizer::bytes(int32_t id) const {
  check_id(id, "bytes");
  const size_t begin = id == 0 ? 0 : parts_->decoded_end[size_t(id) - 1];
  return std::string_view(parts_->decoded).substr(begin, parts_->decoded_end[size_t(id)] - begin);
}

std::optional<int32_t> Tokenizer::id_of(std::string_view piece) const {
  const int32_t id = parts_->index->find(piece);
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}

bool Tokenizer::is_control(int32_t id) const {
  check_id(id, "is_control");
  const int type = vocabulary_.types[size_t(id)];
  return type == Vocabulary::control || type == Vocabulary::unknown;
}

bool Tokenizer::ends_generation(int32_t id) const {
  return std::binary_search(end_of_generation_.begin(), end_of_generation_.end(), id);
}

std::string_view Tokenizer::name() const { return vocabulary_.kind == Vocabulary::Kind::scores ? "llama" : "gemma4"; }

std::string Tokenizer::decode(std::span<const int32_t> ids, bool special) const {
  std::string raw;
  for (int32_t id : ids) {
    check_id(id, "decode");
    if (printed(id, special)) raw += bytes(id);
  }
  std::string_view bytes = raw;
  if (parts_->drop_leading_space && bytes.starts_with(' ')) bytes.remove_prefix(1);
  std::string out;
  out.reserve(bytes.size());
  append_valid_utf8(bytes, true, out);
  return out;
}

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool special)
    : tokenizer_(std::move(tokenizer)), special_(special), drop_space_(false) {
  check(tokenizer_ != nullptr, "StreamDecoder: the tokenizer is null");
  drop_space_ = tokenizer_->parts_->drop_leading_space;
}

std::string StreamDecoder::push(int32_t id) {
  tokenizer_->check_id(id, "StreamDecoder::push");
  std::string out;
  if (!tokenizer_->printed(id, special_)) return out;
  std::string_view bytes = tokenizer_->bytes(id);
  if (drop_space_ && !bytes.empty()) {
    drop_space_ = false;
    if (bytes.starts_with(' ')) bytes.remove_prefix(1);
  }
  held_ += bytes;
  held_.erase(0, append_valid_utf8(held_, false, out));
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  append_valid_utf8(held_, true, out);
  held_.clear();
  drop_space_ = tokenizer_->parts_->drop_leading_space;
  return out;
}

}  // namespace gemloupe
