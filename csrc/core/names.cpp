#include "csrc/core/names.h"

#include <algorithm>
#include <numeric>

namespace gemloupe {
namespace {

// The alternatives of the first {a,b} of a pattern, expanded; the pattern itself if it has none.
std::vector<std::string> expand(std::string_view pattern) {
  const size_t open = pattern.find('{');
  const size_t close = open == std::string_view::npos ? open : pattern.find('}', open);
  if (close == std::string_view::npos) return {std::string(pattern)};
  std::vector<std::string> all;
  size_t begin = open + 1;
  while (begin <= close) {
    const size_t end = std::min(pattern.find(',', begin), close);
    const std::string one =
        std::string(pattern.substr(0, open)) + std::string(pattern.substr(begin, end - begin)) + std::string(pattern.substr(close + 1));
    for (auto& e : expand(one)) all.push_back(std::move(e));
    begin = end + 1;
  }
  return all;
}

// Does the set that begins at pattern[p] == '[' hold c? Moves p behind its ']'; a set without ']' is the character '['.
bool in_set(std::string_view pattern, size_t& p, char c) {
  const size_t close = pattern.find(']', p + 2);
  if (close == std::string_view::npos) return pattern[p++] == c;
  bool found = false;
  for (size_t i = p + 1; i < close; ++i) {
    if (i + 2 < close && pattern[i + 1] == '-') {
      found |= pattern[i] <= c && c <= pattern[i + 2];
      i += 2;
    } else {
      found |= pattern[i] == c;
    }
  }
  p = close + 1;
  return found;
}

bool matches_plain(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, from = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
      continue;
    }
    size_t next = p;
    bool fits = p < pattern.size();
    if (fits && pattern[p] == '[') {
      fits = in_set(pattern, next, name[n]);
    } else if (fits) {
      fits = pattern[p] == '?' || pattern[p] == name[n];
      next = p + 1;
    }
    if (fits) {
      p = next;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

int distance(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.find('{') == std::string_view::npos) return matches_plain(pattern, name);
  const auto all = expand(pattern);
  return std::any_of(all.begin(), all.end(), [&](const std::string& p) { return matches_plain(p, name); });
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& known) {
  const std::string prefix = std::string(name) + ".";
  if (std::any_of(known.begin(), known.end(), [&](const std::string& k) { return k.starts_with(prefix); })) return ", did you mean " + prefix + "*?";
  std::vector<std::pair<int, const std::string*>> near;
  for (const auto& k : known)
    if (const int d = distance(name, k); d <= std::max<int>(2, static_cast<int>(name.size()) / 3)) near.push_back({d, &k});
  std::stable_sort(near.begin(), near.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string said;
  for (size_t i = 0; i < near.size() && i < 3; ++i) said += (i ? ", " : ", did you mean ") + *near[i].second;
  return said.empty() ? said : said + "?";
}

}  // namespace gemloupe
