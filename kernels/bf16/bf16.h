// y = x Wᵀ in the arithmetic `bf16`: both operands rounded to bfloat16, products summed as AMX tiles sum them.
//
// bf16(v) is v rounded to the nearest bfloat16, ties to even; v below 2^-126 in size becomes a zero of its sign; a NaN stays one.
// With x' = bf16(x), w' = bf16(w) (w the float32 number that the weight's format defines), columns past the end zero, and acc =
// +0, for every block b of 32 columns in ascending order
//     even = odd = +0
//     for p = 0 .. 15:   even = fma(x'[32 b + 2 p], w'[32 b + 2 p], even),   odd = fma(x'[32 b + 2 p + 1], w'[32 b + 2 p + 1], odd)
//     acc = acc + (even + odd)
// all in float32, rounded to nearest even, with results below 2^-126 flushed to a zero of their sign (common/bf16.h). y = acc.
// That is what TDPBF16PS does, so the AMX variant is the definition in hardware and the others give its bits (where the result
// is a NaN, any NaN). An output depends on its two rows alone.
#pragma once

#include <cstdint>

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"
#include "kernels/strips/strips.h"

namespace gemloupe {

// A weight [parts * rows, cols] in one of the forms that can be expanded to bfloat16 tiles.
struct TileWeight {
  int64_t parts = 1, rows = 0, cols = 0;  // rows of one part
  const Strips* strips = nullptr;         // packed; or, where null,
  const uint16_t* half = nullptr;         // rows of IEEE halves or bfloat16, `stride` elements apart; or, where null,
  bool is_bf16 = false;
  int64_t stride = 0;
  // any rows at all: rows [first, first + count), counted through all parts, as float32 [count, cols]. Called by several threads.
  void (*unpack)(const void* context, int64_t first, int64_t count, float* out) = nullptr;
  const void* context = nullptr;
};

// y[t, r] for y.cols rows of `part` from row `first` (a multiple of 16) on. Shared by the team's threads; inside a shared loop
// it runs on the calling thread. y overlaps nothing else.
using MatmulTiles = void(Matrix<const float> x, const TileWeight& w, int64_t part, int64_t first, Matrix<float> y);
extern const Kernel<MatmulTiles> matmul_tiles;

// Row t of y is a row of x times part expert_of_row[t] (-1: a zero row); rows need not be sorted. x has as many rows as y, or each
// serves y.rows / x.rows of them in succession. Bits as matmul_tiles of that row alone.
using MatmulExpertsTiles = void(Matrix<const float> x, const int32_t* expert_of_row, const TileWeight& stack, Matrix<float> y);
extern const Kernel<MatmulExpertsTiles> matmul_experts_tiles;

}  // namespace gemloupe
