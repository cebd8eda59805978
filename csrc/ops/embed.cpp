#include <cmath>

#include "csrc/ops/fit.h"
#include "csrc/ops/ops.h"
#include "kernels/common/team.h"

namespace gemloupe::ops {
namespace {

class Embed final : public Op {
 public:
  Embed(float factor, std::vector<int64_t> shape) : factor_(factor), shape_(std::move(shape)) { check_shape(shape_, "embed"); }
  std::string name() const override { return factor_ == 1.0f ? "embed" : text("embed(factor=", factor_, ")"); }

  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const> weights) const override {
    check_inputs(inputs, 1, "tokens");
    check_weights(weights, 1, 1);
    check(inputs[0].dtype == DType::i32, "tokens must be i32, got ", to_string(inputs[0]));
    Type type{DType::f32, shape_.empty() ? std::vector<int64_t>{weights[0]->cols} : shape_, inputs[0].extent};
    check(type.width() == weights[0]->cols, "a row of the table has ", weights[0]->cols, " numbers, the shape ", to_string(type));
    return {type};
  }

  void run(const Call& call) const override {
    const Weight& table = *call.weights[0];
    const Tensor& tokens = call.inputs[0];
    for (int64_t t = 0; t < tokens.rows(); ++t)
      check(tokens.ints()[t] >= 0 && tokens.ints()[t] < table.rows, "row ", t, ": token id ", tokens.ints()[t],
            " is outside the table of ", table.rows);
    const Matrix<float> y = call.outputs[0].matrix();
    share(y.rows, 4, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t) {
        table.format->unpack(table, tokens.ints()[t], Matrix<float>(y.row(t), 1, y.cols));
        if (factor_ != 1.0f)
          for (int64_t i = 0; i < y.cols; ++i) y.row(t)[i] *= factor_;
      }
    });
  }

 private:
  float factor_;
  std::vector<int64_t> shape_;
};

}  // namespace

OpPtr embed(float factor, std::vector<int64_t> shape) { return std::make_shared<Embed>(factor, std::move(shape)); }

}  // namespace gemloupe::ops
