// The tiled form of the arithmetic that the vector variants share.
//
// Weights are expanded a strip (16 rows) and some blocks (32 columns) at a time to bfloat16: a block of a strip is the B operand
// of a tile product, 16 lines of 16 dwords; dword r of line p holds columns 2 p and 2 p + 1 of row r. Activations are rounded once,
// 16 rows to a tile. One expanded panel meets all activation rows while it is in the first cache; sums that are not complete wait
// as tiles of 16 x 16 floats.
#pragma once

#include <cstdint>

#include "kernels/bf16/bf16.h"
#include "kernels/common/bf16.h"

namespace gemloupe::tiles {

inline constexpr int kTile = 16;                   // activation rows or weight rows of a tile
inline constexpr int kLines = kTile * kTileBlock;  // numbers in a block of a strip, or of 16 activation rows
inline constexpr int kSums = kTile * kTile;

// Two strips (or one) times all activation rows of a job, over some blocks.
struct Product {
  const uint8_t* x = nullptr;  // packed rows, from the first block on
  int64_t x_stride = 0;        // bytes from 16 rows to the next 16
  int64_t rows = 0;
  const uint16_t* panel = nullptr;  // [strip][block][line][16][2]
  int64_t panel_stride = 0;         // from strip to strip
  int strips = 0;
  int64_t blocks = 0;
  bool first = false, last = false;  // of a sum: it begins at zero; it goes to y
  float* sums = nullptr;             // [16 rows][strip][16][16]
  float* const* y = nullptr;         // one pointer a row
  int64_t y_first = 0, y_cols = 0;   // columns of y
};

// What a variant brings.
struct Steps {
  int64_t x_tile;  // bytes that 16 activation rows of one block take when packed
  // `rows` (at most 16) rows; the rest of the 16, and columns up to the end of the last block, are zeros.
  void (*pack)(const float* const* x, int rows, int64_t cols, uint8_t* to);
  // Blocks of a strip, from the beginning of a unit on. Columns past the weight's are whatever the strip makes of them.
  void (*strip)(const StripLayout& layout, const uint8_t* units, int64_t blocks, uint16_t* panel);
  // The same of up to 16 plain rows; rows and columns that there are not are zeros.
  void (*half)(const uint16_t* w, int64_t stride, int rows, int64_t cols, uint16_t* panel);
  void (*bf16)(const uint16_t* w, int64_t stride, int rows, int64_t cols, uint16_t* panel);
  void (*single)(const float* w, int64_t stride, int rows, int64_t cols, uint16_t* panel);
  void (*multiply)(const Product& product);
  void (*begin)();  // before a thread's first product, and after its last
  void (*end)();
};
extern const Steps avx2_steps, avx512_steps, amx_steps;

// Rows [first, first + rows) in the order of a batch, all of one part.
struct Job {
  int64_t part = 0, first = 0, rows = 0;
};

// y row order[i] (i where order is null) belongs to x row order[i].
struct Batch {
  Matrix<const float> x;
  Matrix<float> y;
  const int32_t* order = nullptr;
};

// Columns [0, y.cols) of y from the weight's rows on that begin at `first` of the job's part.
void multiply(const Steps& steps, const Batch& batch, const TileWeight& w, int64_t first, const Job* jobs, int64_t count);

}  // namespace gemloupe::tiles
