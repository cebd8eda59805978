#include "kernels/rms_norm/rms_norm.h"

#include "csrc/ops/fit.h"
#include "csrc/ops/ops.h"

namespace gemloupe::ops {
namespace {

class RmsNormOp final : public Op {
 public:
  RmsNormOp(float eps, float factor) : eps_(eps), factor_(factor) {
    check(eps >= 0, "rms_norm: eps must be 0 or more, got ", eps);
  }
  std::string name() const override { return factor_ == 1.0f ? "rms_norm" : text("rms_norm(factor=", factor_, ")"); }

  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const> weights) const override {
    check_inputs(inputs, 1, "x");
    check_weights(weights, 0, 1);
    check_float(inputs[0], "x");
    check(!inputs[0].shape.empty(), "x must have a last dimension, got ", to_string(inputs[0]));
    if (!weights.empty()) check_vector(*weights[0], inputs[0].shape.back(), "the weight");
    return {inputs[0]};
  }

  void run(const Call& call) const override {
    const int64_t d = call.inputs[0].shape().back(), rows = call.inputs[0].rows() * call.inputs[0].width() / d;
    const float* weight = call.weights.empty() ? nullptr : floats_of(*call.weights[0]);
    gemloupe::rms_norm(Matrix<const float>(call.inputs[0].floats(), rows, d), weight, eps_, factor_,
             Matrix<float>(call.outputs[0].floats(), rows, d));
  }

 private:
  float eps_, factor_;
};

}  // namespace

OpPtr rms_norm(float eps, float factor) { return std::make_shared<RmsNormOp>(eps, factor); }

}  // namespace gemloupe::ops
