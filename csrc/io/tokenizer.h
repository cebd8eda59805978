// Text to token ids and back, for vocabularies of GGUF files ("llama": scores, "gemma4": merges) and tokenizer.json files.
//
// encode: texts of added tokens are cut out first (leftmost, then longest); what lies between is plain text. User-defined
//   tokens are always recognised, control tokens only if special is true: with special = false no text yields a control token.
//   Spaces become U+2581, add_space_prefix puts one before each stretch of plain text, then merging (tokenizer_bpe.h)
//   makes the ids.
//   A character that is no piece is spelled by its bytes' pieces <0x00> ... <0xFF>, and so is each byte of invalid UTF-8.
// decode: pieces joined, U+2581 as a space, byte pieces as their bytes; one space at the very beginning is dropped where encode
//   adds one. The result is valid UTF-8: an invalid sequence is one U+FFFD for each longest valid beginning, as Python's
//   errors="replace" reads it (the tokenizers package spoils the whole run of byte pieces instead).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gemloupe {

// What a file says about a vocabulary: the keys tokenizer.ggml.* of GGUF, one field each. Ids are -1 where absent.
struct Vocabulary {
  // GGUF "llama": neighbours that make the piece of best score are merged first; "gemma4": the order is a list of merges.
  enum class Kind { scores, merges };
  enum Type : int { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

  Kind kind = Kind::scores;
  std::vector<std::string> pieces;
  std::vector<float> scores;        // one a piece; Kind::merges may leave it empty
  std::vector<int> types;           // a Type a piece; empty: all normal
  std::vector<std::string> merges;  // "left right", the first is the best; empty for Kind::scores
  int bos = -1, eos = -1, unk = -1, pad = -1;
  bool add_bos = false;
  bool add_space_prefix = false;
  std::vector<int32_t> stops;  // more ids that end a generation (eot_token_id, eos_token_id of generation_config.json)
};

class StreamDecoder;

// Immutable: any number of threads may use one Tokenizer.
class Tokenizer {
 public:
  // Throws Error where the vocabulary contradicts itself. Entries of the merge list that name no pieces are left out.
  explicit Tokenizer(Vocabulary vocabulary);
  ~Tokenizer();

  // tokenizer.json of BPE tokenizers in the manner of Gemma and Llama 2 (spaces marked, byte fallback); tokenizer_config.json,
  // which may be empty, names bos, eos and pad. Any part of the pipeline we do not know is refused with an Error naming it.
  static std::shared_ptr<const Tokenizer> from_json(std::string_view tokenizer_json,
                                                    std::string_view tokenizer_config_json = {});

  // bos = true puts BOS first, unless special is true and the text already begins with it. Text may contain any bytes.
  std::vector<int32_t> encode(std::string_view text, bool special, bool bos) const;
  // special = true prints control and unknown tokens as their pieces, false leaves them out.
  std::string decode(std::span<const int32_t> ids, bool special = false) const;

  int32_t size() const { return int32_t(vocabulary_.pieces.size()); }
  const std::string& piece(int32_t id) const;
  std::string_view bytes(int32_t id) const;  // what the token adds to a text, before UTF-8 is repaired
  std::optional<int32_t> id_of(std::string_view piece) const;
  bool is_control(int32_t id) const;  // control or unknown: no text of its own
  int32_t bos() const { return vocabulary_.bos; }
  int32_t eos() const { return vocabulary_.eos; }
  // eos, the vocabulary's stops and the well-known ends of a turn (<end_of_turn>, <turn|>, <|tool_response>, ...); ascending.
  const std::vector<int32_t>& end_of_generation() const { return end_of_generation_; }
  bool ends_generation(int32_t id) const;
  std::string_view name() const;  // as GGUF's tokenizer.ggml.model: "llama" or "gemma4"

  const Vocabulary& vocabulary() const { return vocabulary_; }
  // The file this was read from, byte for byte; for a GGUF vocabulary, one that the tokenizers package reads alike.
  std::string to_json() const;

 private:
  friend class StreamDecoder;
  struct Parts;  // tokenizer_parts.h
  Tokenizer(Vocabulary vocabulary, std::unique_ptr<Parts> parts);
  void finish_loading();
  bool merging_finds_run(size_t id) const;
  void check_id(int32_t id, const char* where) const;
  bool printed(int32_t id, bool special) const { return special || !is_control(id); }

  Vocabulary vocabulary_;
  std::unique_ptr<Parts> parts_;
  std::vector<int32_t> end_of_generation_;
};

// Decodes ids as they come. No push ends inside a character, and all pushes with finish are what decode gives for all ids.
class StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool special = false);
  std::string push(int32_t id);
  std::string finish();  // what is still held back; afterwards a new text may begin

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string held_;
  bool special_;
  bool drop_space_;
};

}  // namespace gemloupe
