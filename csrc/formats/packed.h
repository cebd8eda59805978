// Formats whose rows decode to integer codes (kernels/codes/codes.h): the quantized types of GGML, and grids.
#pragma once

#include <memory>
#include <vector>

#include "csrc/formats/format.h"
#include "kernels/codes/codes.h"
#include "kernels/matmul/exact.h"

namespace gemloupe {

// Unpacks through the codes and multiplies by kernels/matmul/exact.h. Derived classes say what their rows are and pack.
class CodesFormat : public Format, public std::enable_shared_from_this<CodesFormat> {
 public:
  virtual CodesLayout layout(int64_t cols) const = 0;
  virtual const Kernel<DecodeCodes>& decode() const = 0;
  virtual const void* context() const { return nullptr; }

  int64_t row_bytes(int64_t cols) const override;
  Weight pack(Matrix<const float> w) const override;
  void unpack(const Weight& w, int64_t first_row, Matrix<float> out) const override;
  void matmul(Matrix<const float> x, const Weight& w, int64_t first_row, Matrix<float> y, Arithmetic arithmetic) const override;
  void matmul_experts(Matrix<const float> x, const int32_t* expert, const Weight& w, Matrix<float> y,
                      Arithmetic arithmetic) const override;

  // The weight as the kernels of kernels/matmul and kernels/experts take it. Without data where only strips are kept.
  PackedRows rows_of(const Weight& w) const;

 protected:
  // Packs one row of `cols` elements into row_bytes(cols) zeroed bytes; called by several threads at once; must not throw.
  virtual void pack_row(const float* row, int64_t cols, uint8_t* bytes) const = 0;
};

// All quantized types of GGML, made once. Q2_K, Q3_K, IQ1, IQ2, IQ3, IQ4_XS and Q1_0, Q2_0 can only be read.
const std::vector<std::shared_ptr<const Format>>& ggml_formats();

}  // namespace gemloupe
