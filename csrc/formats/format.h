// What a weight's bytes mean: the seam for quantization schemes.
//
// A new scheme writes name, row_bytes, pack and unpack, and works everywhere, in every arithmetic; matmul is for speed. `first_row` makes three uses
// one: a linear layer (0), an embedding row, one expert out of a stack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "csrc/core/arithmetic.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

class Format;
struct Strips;

// A matrix [rows, cols] in some format. A stack of experts has experts * (rows of one) rows. Immutable once made.
struct Weight {
  std::shared_ptr<const Format> format;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t experts = 1;                 // rows / experts rows belong to each
  const uint8_t* data = nullptr;       // rows * format->row_bytes(cols) bytes, row after row; null where only strips are kept:
                                       // read_bytes (csrc/formats/strips.h) gives them in both cases
  std::shared_ptr<const Strips> strips;  // the rows rearranged for the kernels, with their memory; null where there are none
  std::shared_ptr<const void> owner;   // keeps data alive: a mapped file, or memory of our own
  std::vector<float> output_scale;     // empty for 1, else one for all or one an expert: multiplies the unpacked value (NVFP4)

  int64_t bytes() const;
  float scale_of_row(int64_t row) const;
};

class Format {
 public:
  virtual ~Format() = default;

  virtual std::string name() const = 0;  // "Q4_K", "BF16", "grid3_g64": the same word in files, prints and Python
  // Bytes of a row; throws std::invalid_argument where cols does not fit (no multiple of the block).
  virtual int64_t row_bytes(int64_t cols) const = 0;
  // The nearest weight of this format, by the format's own rounding. Throws where the format can only be read.
  virtual Weight pack(Matrix<const float> w) const = 0;
  // out[r] = row first_row + r, for out.rows rows.
  virtual void unpack(const Weight& w, int64_t first_row, Matrix<float> out) const = 0;
  // y[t, r] = sum over c of x[t, c] * w[first_row + r, c], for y.cols rows. By default rows are unpacked a tile at a time, and
  // multiplied in `bf16` as kernels/bf16/bf16.h says, else in float32 sums in the order of kernels/common/sum.h.
  virtual void matmul(Matrix<const float> x, const Weight& w, int64_t first_row, Matrix<float> y, Arithmetic arithmetic) const;
  // y[t] = x[t] times the slice of expert[t] in the stack; expert -1 gives zeros. Where y has several times the rows of x, a row of
  // x serves as many of y in succession. The bits of a row are those of matmul.
  // By default one matmul for each expert.
  virtual void matmul_experts(Matrix<const float> x, const int32_t* expert, const Weight& w, Matrix<float> y,
                              Arithmetic arithmetic) const;
};

// A weight with memory of its own for `rows` rows, to be filled through the returned pointer.
Weight allocate_weight(std::shared_ptr<const Format> format, int64_t rows, int64_t cols, uint8_t*& data);

// The format of that name ("F32", "F16", "BF16", "F8_E4M3", "Q4_0", … all ggml types, "gridB_gG"); throws
// std::invalid_argument that names the known ones.
std::shared_ptr<const Format> format_named(const std::string& name);
// All that format_named knows by a fixed name.
std::vector<std::string> format_names();

}  // namespace gemloupe
