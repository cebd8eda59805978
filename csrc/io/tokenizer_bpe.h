// Byte-pair encoding of one stretch of plain text. Every character starts as a symbol; while some neighbours can be merged, the
// pair of lowest rank is, the leftmost of equals. Vocabularies with scores are the same algorithm with equal ranks allowed.
//
// The text is first cut into words between two characters that no merge joins: as merging never crosses such a border, the ids
// are those of the uncut text. Which characters those are is read off the vocabulary when it is loaded, nothing is assumed.
// A word of n symbols costs O(n log n); words that repeat within one call are merged once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gemloupe {

// U+2581, which stands for a space inside pieces.
inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

uint64_t hash_of(std::string_view text);

// Finds a piece's id by its text. Where a text occurs twice, its first id. The pieces must outlive the index.
class PieceIndex {
 public:
  explicit PieceIndex(const std::vector<std::string>& pieces);
  int32_t find(std::string_view piece) const;  // -1 if there is none

 private:
  const std::vector<std::string>* pieces_;
  std::vector<int32_t> slots_;
  size_t mask_;
};

struct Merge {
  int32_t left, right, result;
  uint32_t rank;
};

// Open addressing over (left, right): a table at most half full, filled once.
class MergeTable {
 public:
  explicit MergeTable(size_t expected);
  void add(const Merge& merge);  // the first merge of a pair counts
  const Merge* find(int32_t left, int32_t right) const {
    for (size_t slot = slot_of(left, right);; slot = (slot + 1) & mask_) {
      const Merge& merge = slots_[slot];
      if (merge.left == left && merge.right == right) return &merge;
      if (merge.left < 0) return nullptr;
    }
  }
  size_t size() const { return size_; }

 private:
  size_t slot_of(int32_t left, int32_t right) const {
    const uint64_t key = uint64_t(uint32_t(left)) << 32 | uint32_t(right);
    return size_t((key * 0x9E3779B97F4A7C15ull) >> shift_);
  }
  std::vector<Merge> slots_;
  size_t mask_, size_ = 0;
  int shift_;
};

// What a Bpe is made of. Ids of symbols may go beyond the vocabulary: characters that are no piece but part of one.
struct BpeRules {
  std::vector<Merge> merges;
  std::vector<std::pair<int32_t, int32_t>> characters;  // code point, symbol
  std::array<int32_t, 256> bytes;                       // symbol of a byte that is not (part of) a known character, or -1
  std::vector<std::string> symbols;                     // text of each symbol: the vocabulary's pieces, then the characters
  int32_t vocabulary = 0;                               // symbols from here on are spelled in bytes at the end
  int32_t unknown = -1;                                 // for what even bytes cannot spell; -1 leaves it out
  bool fuse_unknown = true;                             // a run of unknown characters is one unknown
  bool spaces_are_marks = true;                         // " " is read as U+2581
  bool cut_before_marks = false;                        // Metaspace with split: no piece goes past the mark of the next word
  std::function<int32_t(std::string_view)> whole_word;  // if set: a word that is a piece is taken whole (ignore_merges)
};

class Bpe {
 public:
  explicit Bpe(BpeRules rules);

  // One call of encode: the words met so far and their ids in out. Texts given to append must live as long as it does.
  class Call {
   public:
    Call(const Bpe& bpe, size_t text_size, std::vector<int32_t>& out);
    void append(std::string_view text);

   private:
    struct Word {
      const char* text = nullptr;
      uint32_t length = 0, count = 0;
      size_t first = 0;
    };
    void append_word(std::string_view word);

    const Bpe& bpe_;
    std::vector<int32_t>& out_;
    std::vector<Word> words_;
    std::vector<int32_t> symbols_;
    int shift_;
  };

 private:
  // ASCII characters are their own class; then the mark, then all others.
  static constexpr int kMarkClass = 128, kOtherClass = 129, kClasses = 130;

  int32_t symbol_of(int32_t code) const {
    const auto& page = pages_[size_t(code) >> 8];
    return page ? (*page)[size_t(code) & 255] : -1;
  }
  int class_of(int32_t code) const {
    if (code == ' ' && rules_.spaces_are_marks) return kMarkClass;
    return code >= 0 && code < 128 ? code : code == 0x2581 ? kMarkClass : kOtherClass;
  }
  void find_joins();
  void split_into_symbols(std::string_view word, std::vector<int32_t>& symbols) const;
  void append_bytes(std::string_view bytes, std::vector<int32_t>& symbols) const;
  void merge(std::vector<int32_t>& symbols) const;
  void merge_few(std::vector<int32_t>& symbols) const;
  void merge_many(std::vector<int32_t>& symbols) const;
  void spell_unknown_symbols(std::vector<int32_t>& symbols) const;

  BpeRules rules_;
  MergeTable table_;
  std::array<std::unique_ptr<std::array<int32_t, 256>>, 0x1100> pages_;
  std::array<std::array<bool, kClasses>, kClasses> joins_;  // [left][right]: some merge joins two such characters
};

}  // namespace gemloupe
