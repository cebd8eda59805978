#include "csrc/graph/narrow.h"

#include <cstring>

namespace gemloupe {

std::optional<Step> narrowed(const Step& step) {
  const int64_t count = static_cast<int64_t>(step.wanted.size());
  if (count == 0 || count == step.rows()) return {};
  Step narrow;
  size_t w = 0;
  for (const Segment& whole : step.segments) {
    Segment part{static_cast<int64_t>(w), 0, whole.position, whole.arithmetic};
    if (w < step.wanted.size()) part.position += step.wanted[w] - whole.first_row;
    for (; w < step.wanted.size() && step.wanted[w] < whole.first_row + whole.rows; ++w, ++part.rows)
      if (part.rows && step.wanted[w] != step.wanted[w - 1] + 1) return {};
    if (!part.rows) part.position = whole.position;
    narrow.segments.push_back(part);
  }
  for (int64_t t = 0; t < count; ++t) {
    const auto row = static_cast<size_t>(step.wanted[static_cast<size_t>(t)]);
    if (row >= step.positions.size()) return {};
    narrow.tokens.push_back(step.tokens[row]);
    narrow.positions.push_back(step.positions[row]);
    narrow.wanted.push_back(static_cast<int32_t>(t));
  }
  return narrow;
}

Tensor narrowed(const Tensor& value, const std::vector<int32_t>& rows) {
  Tensor some(value.dtype(), static_cast<int64_t>(rows.size()), value.shape());
  const auto bytes = static_cast<size_t>(value.width()) * 4;
  auto* to = reinterpret_cast<uint8_t*>(some.floats());
  const auto* from = reinterpret_cast<const uint8_t*>(value.floats());
  for (size_t t = 0; t < rows.size(); ++t) std::memcpy(to + t * bytes, from + static_cast<size_t>(rows[t]) * bytes, bytes);
  return some;
}

}  // namespace gemloupe
