// Packed weights rearranged so that a kernel streams through them: sixteen rows to a strip, a register's lane to a row.
//
// The same bytes serve one activation row (VNNI: a dword lane holds four columns of its row) and five hundred (AMX: expanded,
// a register is one line of a tile). Nothing is rounded: indices, scales and minima keep the bits that the file has, so the
// rows can be put together again.
//
// A weight is `parts` matrices (experts; 1 for a plain one) of `rows` rows. A part is ceil(rows / 16) strips; rows past the end
// are zero bytes. A strip is ceil(cols / unit) units of unit_bytes, one after the other: a header, then indices.
//
// Header, for G = unit / group groups. [16] is a number of each row of the strip, row after row:
//   f16, bf16, f32   G x [16] scales; with minima, G x [16] minima of the same type behind them all
//   super            [16] f16 d; with minima [16] f16 dmin; G x [16] int8 s; with minima G x [16] uint8 m
//                    scale = d * float(s), min = -(dmin * float(m));    the unit is 256 columns, one super-block
//   super4           [16] f16 d, [16] f16 dmin; G x [16] uint8, s in the low nibble, m in the high one; as above
//   e8m0, ue4m3      G x [16] bytes
// padded with zeros to a multiple of 64 bytes. The scale and the minimum of a row and group are exactly the float32 numbers of
// kernels/codes/codes.h.
//
// Indices, for each 32 columns 64 * bits bytes. With quad q = columns 4 q .. 4 q + 3 of these 32, and byte i of dword lane r
// meaning row r, column 4 q + i, an index of `bits` bits is spread over planes, the least significant first:
//   8 bits   one plane of 8 registers: register q is quad q
//   else     4 bits if bits & 4: 4 registers; the low nibbles of register j are quad 2 j, the high ones quad 2 j + 1
//            then 2 bits if bits & 2: 2 registers; bits 2 m, 2 m + 1 of register h are quad 4 h + m
//            then 1 bit if bits & 1: 1 register; bit q is quad q
// 7 bits are stored as 8. code = table ? code_of[index] : index. Columns past `cols` have index 0, groups past it zero bits.
#pragma once

#include <cstdint>

#include "kernels/codes/codes.h"
#include "kernels/matmul/exact.h"

namespace gemloupe {

enum class StripScale : int { f16, bf16, f32, super, super4, e8m0, ue4m3 };

struct StripLayout {
  int bits = 0;           // 1..6 or 8
  bool table = false;     // only with bits <= 4
  uint8_t code_of[16] = {};
  int group = 0;          // as in CodesLayout
  int offset = 0;         // 0..128. A grid of consecutive levels has its indices as codes, and so another offset than its rows
  bool has_min = false;
  StripScale scale = StripScale::f16;
  int unit = 0;           // columns: 64, 128 or 256, a multiple of the group
  int header = 0;         // bytes, a multiple of 64
  int unit_bytes = 0;     // header + unit * bits * 2

  bool operator==(const StripLayout&) const = default;
};

inline constexpr int kStripRows = 16;

struct Strips {
  StripLayout layout;
  int64_t parts = 1, rows = 0, cols = 0;  // rows of one part
  const uint8_t* data = nullptr;          // aligned to 64 bytes

  int64_t units() const { return (cols + layout.unit - 1) / layout.unit; }
  int64_t strip_bytes() const { return units() * layout.unit_bytes; }
  int64_t strips_per_part() const { return (rows + kStripRows - 1) / kStripRows; }
  int64_t bytes() const { return parts * strips_per_part() * strip_bytes(); }
  const uint8_t* strip(int64_t part, int64_t s) const { return data + (part * strips_per_part() + s) * strip_bytes(); }
};

// The layout that rows of this kind get as strips; false for those that have none: the lattice types IQ1, IQ2, IQ3 and TQ1_0,
// grids of more than 4 bits with levels of their own, and groups that do not divide 256 (of 48 columns, or a row of 640 in parts
// of 160).
bool strip_layout(const PackedRows& w, StripLayout& layout);

// Rearranges all rows of w, which are `parts` matrices of strips.rows rows, into `to` (strips.bytes() bytes, aligned to 64).
// strips.layout is that of strip_layout(w). Shared by the team's threads. Every byte of `to` is written.
void pack_strips(const PackedRows& w, const Strips& strips, uint8_t* to);

// The inverse: rows [first, first + count), counted through all parts, as they were in w, row_bytes apart, into `rows`.
// w gives the kind of rows only; its data is not read. To the byte for GGML's types; what pads the last group of a grid is zero.
// Shared by the team's threads.
void unpack_strips(const Strips& strips, const PackedRows& w, int64_t first, int64_t count, uint8_t* rows);

// Scales and minima of one unit as float32: scale[group in the unit][16], min likewise where there are minima (else untouched).
// The readable one; variants have their own, inlined (kernels/strips/vector.h).
void strip_scales(const StripLayout& layout, const uint8_t* unit, float* scale, float* min);
// Codes of one unit, [column / 4][16 rows][4].
void strip_codes(const StripLayout& layout, const uint8_t* unit, uint8_t* code);

// y[t, r] = sum over i of x[t, i] * w[r, i] in the arithmetic `exact` (kernels/matmul/exact.h): the same bits as matmul_exact on
// the rows that the strips were packed from. y.cols rows of `part` from row `first` (a multiple of 16) on. Shared by the team's
// threads; inside a shared loop it runs on the calling thread.
using MatmulStrips = void(Matrix<const float> x, const Strips& w, int64_t part, int64_t first, Matrix<float> y);
extern const Kernel<MatmulStrips> matmul_strips;

// Tells the threads of the team that a product of few rows with this weight, all of one part, comes next (kernels/common/team.h,
// expect()).
void expect_product(const Strips& w);

// The same for a stack of experts: row t of y is row t / (y.rows / x.rows) of x times part expert_of_row[t]; -1 gives a zero row.
// As matmul_experts, to the bit.
using MatmulExpertsStrips = void(Matrix<const float> x, const int32_t* expert_of_row, const Strips& stack, Matrix<float> y);
extern const Kernel<MatmulExpertsStrips> matmul_experts_strips;

}  // namespace gemloupe
