#include "csrc/ops/fit.h"
#include "csrc/ops/ops.h"
#include "kernels/add/add.h"

namespace gemloupe::ops {
namespace {

class Linear final : public Op {
 public:
  Linear(std::vector<int64_t> shape, float factor) : shape_(std::move(shape)), factor_(factor) { check_shape(shape_, "linear"); }
  std::string name() const override { return factor_ == 1.0f ? "linear" : text("linear(factor=", factor_, ")"); }

  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const> weights) const override {
    check_inputs(inputs, 1, "x");
    check_weights(weights, 1, 1);
    check_float(inputs[0], "x");
    check(inputs[0].width() == weights[0]->cols, "the weight takes ", weights[0]->cols, " columns, but x is ", to_string(inputs[0]));
    Type type{DType::f32, shape_.empty() ? std::vector<int64_t>{weights[0]->rows} : shape_, inputs[0].extent};
    check(type.width() == weights[0]->rows, "the weight gives ", weights[0]->rows, " numbers a row, the node's shape is ", to_string(type));
    return {type};
  }

  bool multiplies() const override { return true; }

  void run(const Call& call) const override {
    const Weight& w = *call.weights[0];
    const Matrix<float> x = call.inputs[0].matrix(), y = call.outputs[0].matrix();
    for (const Stretch& s : call.stretches)
      w.format->matmul(x.slice(s.first, s.rows), w, 0, y.slice(s.first, s.rows), s.arithmetic);
    if (factor_ != 1.0f) gemloupe::scale(y, factor_, y);
  }

 private:
  std::vector<int64_t> shape_;
  float factor_;
};

}  // namespace

OpPtr linear(std::vector<int64_t> shape, float factor) { return std::make_shared<Linear>(std::move(shape), factor); }

}  // namespace gemloupe::ops
