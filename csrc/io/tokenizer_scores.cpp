#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "csrc/core/error.h"
#include "csrc/io/tokenizer_parts.h"
#include "csrc/io/tokenizer_utf8.h"

namespace gemloupe {

std::vector<std::string> marked_pieces(const Vocabulary& vocabulary, bool spaces_are_marks) {
  std::vector<std::string> pieces = vocabulary.pieces;
  if (!spaces_are_marks) return pieces;
  for (std::string& piece : pieces) {
    for (size_t at = piece.find(' '); at != std::string::npos; at = piece.find(' ', at)) piece.replace(at, 1, kSpaceMark);
  }
  return pieces;
}

std::vector<Merge> merges_of_scores(const Vocabulary& vocabulary, std::vector<std::string>& symbols) {
  // Trying every cut of a piece costs the square of its length, so a hostile file could ask for hours.
  constexpr size_t kLongest = 1024;
  const size_t count = vocabulary.pieces.size();
  // Pieces that no text becomes must be no half of a merge either: their slots are emptied in the index' copy.
  std::vector<std::string> halves = symbols;
  for (size_t id = 0; id < count; ++id) {
    if (!comes_from_text(vocabulary, id)) halves[id].clear();
  }
  const PieceIndex index(halves);

  const auto score_of = [&](size_t id) {
    return vocabulary.types[id] == Vocabulary::user_defined ? HUGE_VALF : vocabulary.scores[id];
  };
  std::vector<int32_t> order;
  for (size_t id = 0; id < count; ++id) {
    if (index.find(halves[id]) == int32_t(id) && !halves[id].empty()) order.push_back(int32_t(id));
  }
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    if (score_of(size_t(a)) != score_of(size_t(b))) return score_of(size_t(a)) > score_of(size_t(b));
    // A tie for the merging, but a merge list written from this order must still prefer the longer run of spaces.
    return halves[size_t(a)].size() != halves[size_t(b)].size() ? halves[size_t(a)].size() > halves[size_t(b)].size() : a < b;
  });

  std::unordered_map<std::string_view, int32_t> characters;  // of pieces, but no pieces themselves
  const auto symbol_of = [&](std::string_view half) {
    const int32_t id = index.find(half);
    if (id >= 0) return id;
    const Character character = first_character(half.data(), half.data() + half.size());
    if (character.code < 0 || character.length != half.size()) return -1;
    return characters.try_emplace(half, int32_t(count + characters.size())).first->second;
  };
  std::vector<Merge> merges;
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const size_t id = size_t(order[i]);
    const std::string_view piece = halves[id];
    demand(piece.size() <= kLongest, "vocabulary: piece ", id, " has ", piece.size(), " bytes, expected at most ", kLongest);
    if (i > 0 && score_of(id) != score_of(size_t(order[i - 1]))) ++rank;
    const char* const end = piece.data() + piece.size();
    for (const char* p = piece.data(); p < end; p += first_character(p, end).length) {
      if (p == piece.data()) continue;
      const std::string_view left(piece.data(), size_t(p - piece.data())), right(p, size_t(end - p));
      const int32_t left_id = symbol_of(left);
      const int32_t right_id = left_id < 0 ? -1 : symbol_of(right);
      if (right_id >= 0) merges.push_back({left_id, right_id, order[i], rank});
    }
  }
  symbols.resize(count + characters.size());
  for (const auto& [character, id] : characters) symbols[size_t(id)] = character;
  return merges;
}

std::vector<Merge> merges_of_list(const Vocabulary& vocabulary, const PieceIndex& index) {
  std::vector<Merge> merges;
  merges.reserve(vocabulary.merges.size());
  std::string joined;
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string_view entry = vocabulary.merges[i];
    const size_t gap = entry.find(' ', 1);  // a piece may be a space itself, but contains none
    demand(gap != std::string_view::npos && gap + 1 < entry.size(), "vocabulary: merge ", i, " is \"", entry,
           "\", expected two pieces with a space between");
    joined.assign(entry.substr(0, gap)).append(entry.substr(gap + 1));
    const int32_t left = index.find(entry.substr(0, gap)), right = index.find(entry.substr(gap + 1));
    const int32_t result = index.find(joined);
    if (left < 0 || right < 0 || result < 0) continue;
    const int type = vocabulary.types[size_t(result)];
    if (type == Vocabulary::control || type == Vocabulary::unknown) continue;
    merges.push_back({left, right, result, uint32_t(i)});
  }
  return merges;
}

}  // namespace gemloupe
