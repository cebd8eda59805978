// What the formats of this room share: checks of a call's shapes, and the weight's output scale.
#pragma once

#include <cstdint>

#include "csrc/formats/format.h"
#include "kernels/bf16/bf16.h"

namespace gemloupe {

// Rows that make it worth waking a thread.
inline int64_t rows_a_share(int64_t cols) { return cols > 0 ? 1 + 16384 / cols : 16384; }

// Throws std::invalid_argument unless rows [first_row, first_row + rows) of `cols` columns are in w.
void check_rows(const Weight& w, int64_t first_row, int64_t rows, int64_t cols);
// Throws unless y has a row for each row of x.
void check_outputs(Matrix<const float> x, Matrix<float> y);

// Throws unless x, y and the slices of w fit, and expert has numbers of w's experts, or -1 (an unused row, whose output is 0).
void check_experts(Matrix<const float> x, const int32_t* expert, const Weight& w, Matrix<float> y);

// row *= w.scale_of_row(r), where there is a scale.
void scale_row(const Weight& w, int64_t r, float* row, int64_t cols);
// Column c of y *= w.scale_of_row(first_row + c), where there is a scale.
void scale_outputs(const Weight& w, int64_t first_row, Matrix<float> y);
// The same for rows of different experts.
void scale_experts(const Weight& w, const int32_t* expert, Matrix<float> y);

// Rows [first, …) of a weight in any format, as kernels/bf16 takes them: unpacked when they are wanted. Both the format and the
// weight must outlive the result of tiles().
struct UnpackedRows {
  const Format& format;
  const Weight& w;
  int64_t first = 0;

  TileWeight tiles(int64_t parts, int64_t rows) const;
};

}  // namespace gemloupe
