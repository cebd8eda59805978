#include "sign.h"

#include <cmath>
#include <cstring>

using namespace gemloupe;

namespace {

// Four methods, and the format works as a linear layer, an embedding and a stack of experts. A matmul of one's own is for speed.
class Sign final : public Format, public std::enable_shared_from_this<Sign> {
 public:
  std::string name() const override { return "sign"; }
  int64_t row_bytes(int64_t cols) const override { return static_cast<int64_t>(sizeof(float)) + (cols + 7) / 8; }

  Weight pack(Matrix<const float> w) const override {
    uint8_t* row = nullptr;
    Weight packed = allocate_weight(shared_from_this(), w.rows, w.cols, row);
    for (int64_t r = 0; r < w.rows; ++r, row += row_bytes(w.cols)) {
      std::memset(row, 0, static_cast<size_t>(row_bytes(w.cols)));
      double sum = 0;
      for (int64_t c = 0; c < w.cols; ++c) {
        sum += std::fabs(w.row(r)[c]);
        if (w.row(r)[c] >= 0) row[sizeof(float) + c / 8] |= static_cast<uint8_t>(1u << c % 8);
      }
      const float scale = static_cast<float>(sum / static_cast<double>(w.cols));
      std::memcpy(row, &scale, sizeof scale);
    }
    return packed;
  }

  void unpack(const Weight& w, int64_t first_row, Matrix<float> out) const override {
    for (int64_t r = 0; r < out.rows; ++r) {
      const uint8_t* row = w.data + (first_row + r) * row_bytes(w.cols);
      float scale;
      std::memcpy(&scale, row, sizeof scale);
      for (int64_t c = 0; c < out.cols; ++c) out.row(r)[c] = row[sizeof(float) + c / 8] >> c % 8 & 1 ? scale : -scale;
    }
  }
};

}  // namespace

std::shared_ptr<const Format> sign_format() { return std::make_shared<Sign>(); }
