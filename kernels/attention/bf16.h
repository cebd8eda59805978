// Attention of prompt rows with bfloat16 products, as AMX tiles sum them: the arithmetic `bf16`. What it computes is
// attention.h's; how is fixed here, so a row's bits depend on nothing but the row and what it sees:
//
//   q', key', value' = tile_bf16 of each element                       (kernels/common/bf16.h)
//   score_k          = scale * (tile_block over the head's columns in ascending blocks of 32, from +0; +0 behind the last column)
//
// Keys are taken in blocks of 256 positions, 256 b .. 256 b + 255, in ascending order; blocks that the row does not see are left
// out. With the largest score m (first -inf), the sum s and y[d] (first +0) of the blocks before, a block makes:
//   M     = the larger of m and the largest score of the visible keys
//   e_k   = exp_(score_k - M), or +0 where score_k - M < -33; +0 for keys that are not visible
//   p_k   = tile_bf16(e_k)
//   f     = exp_(m - M)
//   s     = fma(s, f, sum of the p_k, in the order of sum.h with lane = position mod 16)
//   y[d]  = y[d] * f, or +0 if that is below 2^-126 in size; then tile_block over p_k and value'_k[d] in ascending blocks of 32
//           positions; the value' of keys that are not visible are +0
//   m     = M
// The output is y[d] * (1 / s) + 0. It lies between the smallest and the largest value' seen, but for rounding.
//
// What is not visible adds nothing: a block of 32 keys that a row does not see leaves every y[d] as it is but for the sign of a
// zero, which the last addition removes. That is why a kernel may go through blocks that only other rows see.
//
// A NaN or an infinite score among what a row sees makes that row NaN; infinite values go as IEEE has it. No other row changes.
// A row that sees no key gives 0.
#pragma once

#include "kernels/attention/attention.h"

namespace gemloupe {

inline constexpr int kKeyBlock = 256;    // positions between two looks at the largest score
inline constexpr float kFaint = -33.0f;  // exp of less is no weight: p is 0 or at least 2^-48

// Needs memory for the keys and values of some thousand positions as tiles: throws std::bad_alloc before anything is written.
extern const Kernel<Attention> attention_bf16;

namespace reference { Attention attention_bf16; }
namespace avx2 { Attention attention_bf16; }
namespace avx512 { Attention attention_bf16; }
namespace amx { Attention attention_bf16; }

}  // namespace gemloupe
