// Grids: a researcher's own few-bit formats. w = scale * level + min, the level one of 2^bits int8 numbers, a scale (and a
// minimum, if there is one) for each group of columns. Any number of columns fits: the last group is padded.
//
// pack looks for the scale of each group with the least squared error (quantization as in GGML's packers: candidates that put the
// largest element on a level, each improved by least squares); a group that lies on a lattice already keeps it exactly.
//
// Names, which format_named reads back: gridB_gG, with gridB_row for one scale a row; then, where they apply, _min, _f32 or
// _bf16 for the scale's type, and levels that are not the integers around zero: "grid2_g64_min_f32[-3,-1,1,3]".
// Short forms: "int8" = grid8_g64, "int4" = grid4_g32; "nf4" = the 16 levels of QLoRA's NormalFloat rounded to 1/127, group 64;
// "ternary" = levels -1, 0, 1, group 64. All take the same endings: "int4_g64", "nf4_g128_bf16".
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "csrc/formats/format.h"
#include "kernels/codes/codes.h"

namespace gemloupe {

struct GridOptions {
  int bits = 4;                // 1..8
  int64_t group = 64;          // columns that share a scale: a multiple of 16 up to 65536, or 0 for the whole row
  std::vector<int> levels;     // 2^bits numbers in -128..127; empty: -2^(bits-1) .. 2^(bits-1) - 1 (1 bit: -1, 1)
  ScaleType scale = ScaleType::f16;
  bool min = false;            // a minimum beside each scale (asymmetric)
};

// Throws std::invalid_argument where an option does not fit.
std::shared_ptr<const Format> grid(const GridOptions& options);

// The options that a grid's name spells, or none.
std::optional<GridOptions> parse_grid(const std::string& name);

}  // namespace gemloupe
