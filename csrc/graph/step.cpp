#include "csrc/graph/step.h"

namespace gemloupe {

std::vector<Stretch> Step::stretches(Extent extent) const {
  std::vector<Stretch> found;
  size_t w = 0;
  for (const Segment& segment : segments) {
    int64_t rows = segment.rows;
    if (extent == Extent::wanted)
      for (rows = 0; w < wanted.size() && wanted[w] < segment.first_row + segment.rows; ++w) ++rows;
    if (!rows) continue;
    if (found.empty())
      found.push_back({0, rows, segment.arithmetic});
    else if (found.back().arithmetic == segment.arithmetic)
      found.back().rows += rows;
    else
      found.push_back({found.back().first + found.back().rows, rows, segment.arithmetic});
  }
  return found;
}

}  // namespace gemloupe
