// What is computed at once: the rows of one or many sessions, as segments. There is no batch dimension, no padding, no mask.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "csrc/core/arithmetic.h"
#include "csrc/core/tensor.h"

namespace gemloupe {

// Rows of one session: consecutive rows of the step, at consecutive positions of the sequence.
struct Segment {
  int64_t first_row = 0;
  int64_t rows = 0;
  int64_t position = 0;  // of the first row
  Arithmetic arithmetic = Arithmetic::exact;
};

// Consecutive rows of one arithmetic: of the step, or of those whose logits are wanted.
struct Stretch {
  int64_t first = 0;
  int64_t rows = 0;
  Arithmetic arithmetic = Arithmetic::exact;
};

struct Step {
  std::vector<Segment> segments;
  std::vector<int32_t> tokens;        // [row]
  std::vector<int32_t> positions;     // [row]
  std::vector<int32_t> wanted;        // rows whose logits are computed, ascending
  std::map<std::string, Tensor> given;  // values that are not computed but brought along ("embed": ready embeddings)

  int64_t rows() const { return static_cast<int64_t>(positions.size()); }
  // As few stretches as cover the rows, or the wanted rows.
  std::vector<Stretch> stretches(Extent extent) const;
};

}  // namespace gemloupe
