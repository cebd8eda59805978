// The tiled form of the arithmetic that the vector variants share.
//
// Weights are expanded a strip (16 rows) and some blocks (32 columns) at a time to bfloat16: a block of a strip is the B operand
// of a tile product, 16 lines of 16 dwords; dword r of line p holds columns 2 p and 2 p + 1 of row r. Activations are rounded once,
// 16 rows to a tile. One expanded panel, two strips wide, meets all activation rows while it is in the first cache; sums that are
// not complete wait as tiles of 16 x 16 floats.
//
// The tile unit works beside the vector units. So the next panel is expanded a little with every step of a product. Finished sums
// go from the tiles to y, or, where its rows are scattered or a variant has no tiles, are copied there in the same way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/bf16/bf16.h"
#include "kernels/common/bf16.h"

namespace gemloupe::tiles {

inline constexpr int kTile = 16;                   // activation rows or weight rows of a tile
inline constexpr int kLines = kTile * kTileBlock;  // numbers in a block of a strip, or of 16 activation rows
inline constexpr int kSums = kTile * kTile;

// A strip or up to 16 plain rows, to be expanded block by block. Rows and columns that there are not are zeros (of a strip,
// whatever it makes of them).
struct Source {
  void (*expand)(const Source& source, int64_t block, uint16_t* lines) = nullptr;
  const void* data = nullptr;             // the strip's units, or the first row
  const StripLayout* layout = nullptr;    // of a strip,
  int unit_shift = 0, group_shift = 0;    // logarithms: of the blocks in a unit, of the columns in a group,
  alignas(64) float level[kTile] = {};    // and float(code - offset) of an index's low 4 bits, where it has no more
  int64_t stride = 0;                     // of plain rows
  int rows = 0;
  int64_t cols = 0;
};

// Blocks of two strips that are being expanded.
struct Filling {
  const Source* source = nullptr;  // the next strip is behind it
  uint16_t* to = nullptr;
  int64_t begin = 0, end = 0, block = 0;
  int64_t left = 0;                // of both

  [[gnu::always_inline]] void step() {
    source->expand(*source, block, to);
    next();
  }
  // One block has been expanded.
  [[gnu::always_inline]] void next() {
    if ((block + 1) * kTileBlock > source->cols) clear(to, source->cols - block * kTileBlock);
    to += kLines, --left;
    if (++block == end) block = begin, ++source;
  }
  // Columns past the end are zeros.
  static void clear(uint16_t* lines, int64_t cols) {
    for (int64_t i = cols; i < kTileBlock; ++i)
      for (int r = 0; r < kTile; ++r) lines[i / 2 * kTileBlock + 2 * r + i % 2] = 0;
  }
};

// Finished sums that are being copied to y: row after row, so that memory sees long runs.
struct Putting {
  const float* sums = nullptr;  // [pair][16 rows][strip][16][16]; the last pair may be a single strip
  int64_t pair_stride = 0, pairs = 0;
  float* const* y = nullptr;        // one pointer a row
  int64_t column = 0, columns = 0;  // of y
  int64_t row = 0, pair = 0;        // the next to copy
  int64_t left = 0;                 // rows times pairs
  bool large = false;               // more than caches keep

  [[gnu::always_inline]] int64_t width() const { return columns - pair * 2 * kTile; }
  [[gnu::always_inline]] float* to() const { return y[row] + column + pair * 2 * kTile; }
  [[gnu::always_inline]] const float* from() const {
    return sums + pair * pair_stride + (row / kTile * (width() > kTile ? 2 : 1) * kTile + row % kTile) * kTile;
  }
  [[gnu::always_inline]] void advance() {
    if (++pair == pairs) pair = 0, ++row;
    --left;
  }
  [[gnu::always_inline]] void step() {
    for (int64_t i = 0, n = width() < 2 * kTile ? width() : 2 * kTile; i < n; i += kTile)
      std::memcpy(to() + i, from() + i / kTile * kSums, sizeof(float) * static_cast<std::size_t>(n - i < kTile ? n - i : kTile));
    advance();
  }
};

// Two strips (or one) times some activation rows, over some blocks.
struct Product {
  const uint8_t* x = nullptr;  // packed rows, from the first block on
  int64_t x_stride = 0;        // bytes from 16 rows to the next 16
  int64_t rows = 0;
  const uint16_t* panel = nullptr;  // [strip][block][line][16][2]
  int strips = 0;
  int64_t blocks = 0;
  bool first = false;     // of a sum: it begins at zero
  float* sums = nullptr;  // [16 rows][strip][16][16]
  // Where the sums go instead, if they are complete and y's rows lie evenly; `columns` of it.
  float* y = nullptr;
  int64_t y_stride = 0, columns = 0;
  // Done beside, as far as the variant likes.
  Filling* filling = nullptr;
  Putting* putting = nullptr;
  int64_t to_put = 0;
};

// Of one kind of weight: how it is expanded, and products while more of it is.
struct Expansion {
  decltype(Source::expand) expand;
  void (*multiply)(const Product& product);
};

// What a variant brings.
struct Steps {
  int64_t x_tile;  // bytes that 16 activation rows of one block take when packed
  // `rows` (at most 16) rows; the rest of the 16, and columns up to the end of the last block, are zeros.
  void (*pack)(const float* const* x, int rows, int64_t cols, uint8_t* to);
  Expansion strip[9][2];  // [bits][has minima]
  Expansion half, bf16, single;
  bool stores_rows;  // products whose sums are complete go to y themselves
  void (*begin)();   // before a thread's first product, and after its last
  void (*end)();
};
extern const Steps avx2_steps, avx512_steps, amx_steps;

// Rows [first, first + rows) in the order of a batch, all of one part.
struct Job {
  int64_t part = 0, first = 0, rows = 0;
};

// Rows order[i] of y (i where order is null). A row of x serves one row of y, or as many in succession as y has more rows.
struct Batch {
  Matrix<const float> x;
  Matrix<float> y;
  const int32_t* order = nullptr;

  const float* x_row(int64_t t) const { return x.row(t / (y.rows / x.rows)); }
};

// Columns [0, y.cols) of y from the weight's rows on that begin at `first` of the job's part.
void multiply(const Steps& steps, const Batch& batch, const TileWeight& w, int64_t first, const Job* jobs, int64_t count);

}  // namespace gemloupe::tiles
