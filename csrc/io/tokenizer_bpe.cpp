#include "csrc/io/tokenizer_bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <queue>

#include "csrc/io/tokenizer_utf8.h"

namespace gemloupe {

uint64_t hash_of(std::string_view text) {
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15ull;
  uint64_t hash = text.size() * kOdd;
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t eight;
    std::memcpy(&eight, text.data() + i, 8);
    hash = (hash ^ eight) * kOdd;
    hash ^= hash >> 29;
  }
  uint64_t rest = 0;
  std::memcpy(&rest, text.data() + i, text.size() - i);
  hash = (hash ^ rest) * kOdd;
  return (hash ^ hash >> 32) * kOdd;
}

PieceIndex::PieceIndex(const std::vector<std::string>& pieces)
    : pieces_(&pieces), slots_(std::bit_ceil(2 * pieces.size() + 2), -1), mask_(slots_.size() - 1) {
  for (size_t id = 0; id < pieces.size(); ++id) {
    size_t slot = hash_of(pieces[id]) >> 20 & mask_;
    while (slots_[slot] >= 0 && pieces[size_t(slots_[slot])] != pieces[id]) slot = (slot + 1) & mask_;
    if (slots_[slot] < 0) slots_[slot] = int32_t(id);
  }
}

int32_t PieceIndex::find(std::string_view piece) const {
  size_t slot = hash_of(piece) >> 20 & mask_;
  while (slots_[slot] >= 0 && (*pieces_)[size_t(slots_[slot])] != piece) slot = (slot + 1) & mask_;
  return slots_[slot];
}

MergeTable::MergeTable(size_t expected)
    : slots_(std::bit_ceil(2 * expected + 2), Merge{-1, -1, -1, 0}),
      mask_(slots_.size() - 1),
      shift_(64 - std::countr_zero(slots_.size())) {}

void MergeTable::add(const Merge& merge) {
  if (find(merge.left, merge.right)) return;
  size_t slot = slot_of(merge.left, merge.right);
  while (slots_[slot].left >= 0) slot = (slot + 1) & mask_;
  slots_[slot] = merge;
  ++size_;
}

Bpe::Bpe(BpeRules rules) : rules_(std::move(rules)), table_(rules_.merges.size()) {
  for (const Merge& merge : rules_.merges) table_.add(merge);
  for (const auto& [code, symbol] : rules_.characters) {
    auto& page = pages_[size_t(code) >> 8];
    if (!page) {
      page = std::make_unique<std::array<int32_t, 256>>();
      page->fill(-1);
    }
    (*page)[size_t(code) & 255] = symbol;
  }
  find_joins();
  rules_.symbols.erase(rules_.symbols.begin(), rules_.symbols.begin() + rules_.vocabulary);
  rules_.merges = {};
  rules_.characters = {};
}

// A merge that crosses the border between two characters makes a piece in which they are neighbours.
void Bpe::find_joins() {
  for (auto& row : joins_) row.fill(false);
  std::vector<bool> seen(rules_.symbols.size()), spells_byte(rules_.symbols.size());
  for (int32_t id : rules_.bytes) {
    if (id >= 0) spells_byte[size_t(id)] = true;
  }
  const bool bytes_spell_all = std::all_of(rules_.bytes.begin(), rules_.bytes.end(), [](int32_t b) { return b >= 0; });
  bool cuts = bytes_spell_all || !rules_.fuse_unknown;  // a run of unknown characters must stay in one word
  for (const Merge& merge : rules_.merges) {
    if (!cuts || spells_byte[size_t(merge.left)] || spells_byte[size_t(merge.right)]) {
      cuts = false;
      break;
    }
    if (seen[size_t(merge.result)]) continue;
    seen[size_t(merge.result)] = true;
    const std::string& piece = rules_.symbols[size_t(merge.result)];
    int left = -1;
    for (const char *p = piece.data(), *end = p + piece.size(); p < end;) {
      const Character character = first_character(p, end);
      const int right = class_of(character.code);
      if (left >= 0) joins_[size_t(left)][size_t(right)] = true;
      left = right;
      p += character.length;
    }
  }
  if (!cuts) {
    for (auto& row : joins_) row.fill(true);
  }
  if (rules_.whole_word) {
    // A word is then what the pre-tokenizer made: only its own cuts may be used.
    for (auto& row : joins_) row.fill(true);
  }
  if (rules_.cut_before_marks) {
    for (auto& row : joins_) row[kMarkClass] = false;
  }
}

void Bpe::append_bytes(std::string_view bytes, std::vector<int32_t>& symbols) const {
  const bool spelled = std::all_of(bytes.begin(), bytes.end(), [&](char c) { return rules_.bytes[uint8_t(c)] >= 0; });
  if (spelled) {
    for (char c : bytes) symbols.push_back(rules_.bytes[uint8_t(c)]);
  } else if (rules_.unknown >= 0 && !(rules_.fuse_unknown && !symbols.empty() && symbols.back() == rules_.unknown)) {
    symbols.push_back(rules_.unknown);
  }
}

void Bpe::split_into_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  symbols.clear();
  for (const char *p = word.data(), *end = p + word.size(); p < end;) {
    const Character character = first_character(p, end);
    // Each byte of an invalid sequence stands for itself.
    const size_t length = character.code < 0 ? 1 : character.length;
    const int32_t code = character.code == ' ' && rules_.spaces_are_marks ? 0x2581 : character.code;
    const int32_t symbol = code < 0 ? -1 : symbol_of(code);
    if (symbol >= 0) symbols.push_back(symbol);
    else if (code == 0x2581) append_bytes(kSpaceMark, symbols);
    else append_bytes({p, length}, symbols);
    p += length;
  }
}

// Quadratic, and the fastest for words: a few loads a merge, no heap.
void Bpe::merge_few(std::vector<int32_t>& symbols) const {
  const Merge* pairs[32];
  size_t count = symbols.size();
  int32_t* ids = symbols.data();
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = table_.find(ids[i], ids[i + 1]);
  for (;;) {
    size_t best = count;
    uint32_t rank = UINT32_MAX;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (pairs[i] && pairs[i]->rank < rank) rank = pairs[i]->rank, best = i;
    }
    if (best == count) break;
    ids[best] = pairs[best]->result;
    --count;
    for (size_t i = best + 1; i < count; ++i) ids[i] = ids[i + 1];
    for (size_t i = best + 1; i + 1 < count; ++i) pairs[i] = pairs[i + 1];
    if (best > 0) pairs[best - 1] = table_.find(ids[best - 1], ids[best]);
    if (best + 1 < count) pairs[best] = table_.find(ids[best], ids[best + 1]);
  }
  symbols.resize(count);
}

void Bpe::merge_many(std::vector<int32_t>& symbols) const {
  struct Candidate {
    uint32_t rank, at;
    const Merge* merge;
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;  // the queue gives the greatest: lowest rank, leftmost
    }
  };
  constexpr uint32_t kNone = UINT32_MAX;
  const uint32_t count = uint32_t(symbols.size());
  std::vector<uint32_t> next(count), previous(count);
  std::vector<Candidate> candidates;
  for (uint32_t i = 0; i < count; ++i) {
    previous[i] = i ? i - 1 : kNone;
    next[i] = i + 1 < count ? i + 1 : kNone;
    const Merge* merge = i + 1 < count ? table_.find(symbols[i], symbols[i + 1]) : nullptr;
    if (merge) candidates.push_back({merge->rank, i, merge});
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(candidates));
  const auto offer = [&](uint32_t left, uint32_t right) {
    if (left == kNone || right == kNone) return;
    if (const Merge* merge = table_.find(symbols[left], symbols[right])) queue.push({merge->rank, left, merge});
  };
  while (!queue.empty()) {
    const auto [rank, left, merge] = queue.top();
    queue.pop();
    // A merged symbol's id is -1 or another one, so a candidate that lost a half no longer matches.
    const uint32_t right = next[left];
    if (right == kNone || symbols[left] != merge->left || symbols[right] != merge->right) continue;
    symbols[left] = merge->result;
    symbols[right] = -1;
    next[left] = next[right];
    if (next[left] != kNone) previous[next[left]] = left;
    offer(previous[left], left);
    offer(left, next[left]);
  }
  symbols.erase(std::remove(symbols.begin(), symbols.end(), -1), symbols.end());
}

void Bpe::merge(std::vector<int32_t>& symbols) const {
  if (symbols.size() < 2) return;
  if (symbols.size() <= 32) merge_few(symbols);
  else merge_many(symbols);
}

void Bpe::spell_unknown_symbols(std::vector<int32_t>& symbols) const {
  if (std::all_of(symbols.begin(), symbols.end(), [&](int32_t id) { return id < rules_.vocabulary; })) return;
  std::vector<int32_t> spelled;
  for (int32_t id : symbols) {
    if (id < rules_.vocabulary) spelled.push_back(id);
    else append_bytes(rules_.symbols[size_t(id - rules_.vocabulary)], spelled);
  }
  symbols.swap(spelled);
}

Bpe::Call::Call(const Bpe& bpe, size_t text_size, std::vector<int32_t>& out)
    : bpe_(bpe), out_(out), words_(std::bit_ceil(std::clamp<size_t>(text_size / 8, 2, 32768))) {
  shift_ = 64 - std::countr_zero(words_.size());
}

void Bpe::Call::append_word(std::string_view word) {
  constexpr size_t kLongestRemembered = 64;
  Word* place = nullptr;
  if (word.size() <= kLongestRemembered) {
    place = &words_[hash_of(word) >> shift_];
    if (place->length == word.size() && std::memcmp(place->text, word.data(), word.size()) == 0) {
      const size_t end = out_.size();
      out_.resize(end + place->count);
      std::copy_n(out_.begin() + std::ptrdiff_t(place->first), place->count, out_.begin() + std::ptrdiff_t(end));
      return;
    }
  }
  const size_t first = out_.size();
  const int32_t whole = bpe_.rules_.whole_word ? bpe_.rules_.whole_word(word) : -1;
  if (whole >= 0) {
    out_.push_back(whole);
  } else {
    bpe_.split_into_symbols(word, symbols_);
    bpe_.merge(symbols_);
    bpe_.spell_unknown_symbols(symbols_);
    out_.insert(out_.end(), symbols_.begin(), symbols_.end());
  }
  if (place) *place = {word.data(), uint32_t(word.size()), uint32_t(out_.size() - first), first};
}

void Bpe::Call::append(std::string_view text) {
  if (text.empty()) return;
  const char* const end = text.data() + text.size();
  const char* word = text.data();
  int left = -1;
  for (const char* p = word; p < end;) {
    const Character character = first_character(p, end);
    const int right = bpe_.class_of(character.code);
    if (left >= 0 && !bpe_.joins_[size_t(left)][size_t(right)]) {
      append_word({word, size_t(p - word)});
      word = p;
    }
    left = right;
    p += character.length;
  }
  append_word({word, size_t(end - word)});
}

}  // namespace gemloupe
