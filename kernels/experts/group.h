// Which rows go to which expert. kernels/experts and kernels/strips include it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/common/matrix.h"

namespace gemloupe::experts {

// Rows sorted by expert, in their own order within one: expert `id[j]` has order[first[j] .. first[j + 1]).
struct Groups {
  std::vector<int32_t> order;
  std::vector<int64_t> id, first;
};

inline Groups group(const int32_t* expert_of_row, int64_t rows, int64_t experts) {
  std::vector<int64_t> end(experts + 1);
  for (int64_t t = 0; t < rows; ++t)
    if (expert_of_row[t] >= 0) ++end[expert_of_row[t] + 1];
  Groups groups;
  for (int64_t e = 0; e < experts; ++e) {
    if (end[e + 1]) groups.id.push_back(e), groups.first.push_back(end[e]);
    end[e + 1] += end[e];
  }
  groups.order.resize(end[experts]);
  groups.first.push_back(end[experts]);
  for (int64_t t = 0; t < rows; ++t)
    if (expert_of_row[t] >= 0) groups.order[end[expert_of_row[t]]++] = static_cast<int32_t>(t);
  return groups;
}

inline void clear_unused(const int32_t* expert_of_row, Matrix<float> y) {
  for (int64_t t = 0; t < y.rows; ++t)
    if (expert_of_row[t] < 0) std::fill(y.row(t), y.row(t) + y.cols, 0.0f);
}

}  // namespace gemloupe::experts
