// Elementwise work on a matrix, shared by the threads.
#pragma once

#include "kernels/common/team.h"

namespace gemloupe {

// Calls body(row, first, last) for pieces of rows that cover rows x cols once. `grain` is how many cells are worth a thread.
template <class Body>
void share_cells(int64_t rows, int64_t cols, int64_t grain, Body&& body) {
  if (cols <= 0) return;
  constexpr int64_t kPiece = 1024;  // a multiple of every vector width, so only a row's end has a tail
  const int64_t pieces = (cols + kPiece - 1) / kPiece, width = cols < kPiece ? cols : kPiece;
  share(rows * pieces, (grain + width - 1) / width, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t column = i % pieces * kPiece, end = column + kPiece;
      body(i / pieces, column, end < cols ? end : cols);
    }
  });
}

}  // namespace gemloupe
