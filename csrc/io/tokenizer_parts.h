// What a Tokenizer is made of besides its vocabulary; for the tokenizer*.cpp files only.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/io/tokenizer.h"
#include "csrc/io/tokenizer_bpe.h"

namespace gemloupe {

// The texts that are cut out before merging, as a trie of bytes.
class AddedTokens {
 public:
  struct Match {
    int32_t id;
    size_t length;
  };
  AddedTokens();
  void add(std::string_view text, int32_t id);  // an empty text is never found; of equal texts the first counts
  bool may_begin(char byte) const { return roots_[uint8_t(byte)] >= 0; }
  Match longest(std::string_view text) const;  // at the beginning of text; id -1 if there is none

 private:
  struct Node {
    int32_t id = -1, child = -1, sibling = -1;
    char byte = 0;
  };
  std::array<int32_t, 256> roots_;
  std::vector<Node> nodes_;
};

struct Tokenizer::Parts {
  // When a stretch of plain text gets a space before it: unless_marked leaves out those that begin with one; at_start
  // likewise, and serves only the stretch that begins the text.
  enum class Prefix { never, always, unless_marked, at_start };
  Prefix prefix = Prefix::never;
  bool spaces_are_marks = true;
  bool cut_before_marks = false;
  bool byte_fallback = true;
  bool fuse_unknown = true;
  bool ignore_merges = false;
  bool drop_leading_space = false;
  std::vector<Merge> merges;  // from tokenizer.json; otherwise found from the vocabulary
  std::string json;           // the file, if there was one

  std::unique_ptr<PieceIndex> index;
  std::unique_ptr<Bpe> bpe;
  AddedTokens added;
  std::string decoded;              // the bytes of all tokens, one after the other
  std::vector<size_t> decoded_end;  // of each id
};

// The pieces as merging sees them: with spaces marked.
std::vector<std::string> marked_pieces(const Vocabulary& vocabulary, bool spaces_are_marks);

// All pairs of symbols that make a piece, ranked by its score; equal scores have equal ranks. User-defined pieces come first,
// as if they were one character. Characters that are no piece of their own are appended to symbols.
std::vector<Merge> merges_of_scores(const Vocabulary& vocabulary, std::vector<std::string>& symbols);

// The merge list in ids. Entries that name no pieces, or that would make a control token of plain text, are left out.
std::vector<Merge> merges_of_list(const Vocabulary& vocabulary, const PieceIndex& index);

// Plain text may become this piece: it is not a control, unknown or byte piece.
inline bool comes_from_text(const Vocabulary& vocabulary, size_t id) {
  const int type = vocabulary.types[id];
  return type != Vocabulary::control && type != Vocabulary::unknown && type != Vocabulary::byte;
}

}  // namespace gemloupe
