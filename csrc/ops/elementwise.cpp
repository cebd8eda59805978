// Ops that treat every number, or every row, alone: gates, sums, scales, the soft cap, selection of rows.
#include <cstring>

#include "csrc/ops/fit.h"
#include "csrc/ops/ops.h"
#include "kernels/add/add.h"
#include "kernels/gelu_gate/gelu_gate.h"
#include "kernels/ple/ple.h"
#include "kernels/softcap/softcap.h"

namespace gemloupe::ops {
namespace {

void check_alike(std::span<const Type> inputs) {
  check_float(inputs[0], "the first input");
  check(inputs[1] == inputs[0], "the inputs must be alike, got ", to_string(inputs[0]), " and ", to_string(inputs[1]));
}

// The value's numbers as a matrix of rows of its last dimension.
Matrix<float> by_last(const Tensor& t) {
  const int64_t d = t.shape().empty() ? 1 : t.shape().back();
  return {t.floats(), t.rows() * (t.width() / d), d};
}

class GeluGate final : public Op {
 public:
  std::string name() const override { return "gelu_gate"; }
  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override {
    check_inputs(inputs, 2, "gate, up");
    check_alike(inputs);
    return {inputs[0]};
  }
  void run(const Call& call) const override {
    gemloupe::gelu_gate(call.inputs[0].matrix(), call.inputs[1].matrix(), call.outputs[0].matrix());
  }
};

class GeluGateHalves final : public Op {
 public:
  std::string name() const override { return "gelu_gate"; }
  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override {
    check_inputs(inputs, 1, "gate_up");
    check_float(inputs[0], "gate_up");
    check(!inputs[0].shape.empty() && inputs[0].shape.back() % 2 == 0, "gate_up must have an even last dimension, got ", to_string(inputs[0]));
    Type half = inputs[0];
    half.shape.back() /= 2;
    return {half};
  }
  void run(const Call& call) const override {
    const Matrix<float> x = by_last(call.inputs[0]);
    const int64_t half = x.cols / 2;
    std::vector<int64_t> shape = call.inputs[0].shape();
    shape.back() = half;
    if (call.outputs[0].empty()) call.outputs[0] = Tensor(DType::f32, call.inputs[0].rows(), shape);
    gemloupe::gelu_gate(Matrix<const float>(x.data, x.rows, half, x.stride), Matrix<const float>(x.data + half, x.rows, half, x.stride),
              by_last(call.outputs[0]));
  }
};

class PleGate final : public Op {
 public:
  explicit PleGate(int64_t layer) : layer_(layer) { check(layer >= 0, "ple_gate: layer must be 0 or more, got ", layer); }
  std::string name() const override { return text("ple_gate(layer=", layer_, ")"); }
  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override {
    check_inputs(inputs, 2, "gate, ple");
    check_float(inputs[0], "gate");
    check(inputs[1].shape.size() == 2 && inputs[1].shape[0] > layer_ && inputs[1].shape[1] == inputs[0].width(), "ple must be f32[row, >",
          layer_, ", ", inputs[0].width(), "], got ", to_string(inputs[1]));
    return {inputs[0]};
  }
  void run(const Call& call) const override {
    const Tensor& ple = call.inputs[1];
    const int64_t p = call.inputs[0].width();
    gemloupe::gelu_gate(call.inputs[0].matrix(), Matrix<const float>(ple.floats() + layer_ * p, ple.rows(), p, ple.width()),
              call.outputs[0].matrix());
  }

 private:
  int64_t layer_;
};

class PleCombine final : public Op {
 public:
  std::string name() const override { return "ple_combine"; }
  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override {
    check_inputs(inputs, 2, "table, context");
    check_alike(inputs);
    return {inputs[0]};
  }
  void run(const Call& call) const override {
    gemloupe::ple_combine(call.inputs[1].matrix(), call.inputs[0].matrix(), call.outputs[0].matrix());
  }
};

class Add final : public Op {
 public:
  std::string name() const override { return "add"; }
  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override {
    check_inputs(inputs, 2, "a, b");
    check_alike(inputs);
    return {inputs[0]};
  }
  void run(const Call& call) const override {
    gemloupe::add(call.inputs[0].matrix(), call.inputs[1].matrix(), call.outputs[0].matrix());
  }
};

class Scale final : public Op {
 public:
  std::string name() const override { return "scale"; }
  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const> weights) const override {
    check_inputs(inputs, 1, "x");
    check_weights(weights, 1, 1);
    check_float(inputs[0], "x");
    check_vector(*weights[0], 1, "the factor");
    return {inputs[0]};
  }
  void run(const Call& call) const override {
    gemloupe::scale(call.inputs[0].matrix(), *floats_of(*call.weights[0]), call.outputs[0].matrix());
  }
};

class Softcap final : public Op {
 public:
  explicit Softcap(float cap) : cap_(cap) { check(cap > 0, "softcap: the cap must be above 0, got ", cap); }
  std::string name() const override { return text("softcap(", cap_, ")"); }
  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override {
    check_inputs(inputs, 1, "x");
    check_float(inputs[0], "x");
    return {inputs[0]};
  }
  void run(const Call& call) const override { gemloupe::softcap(call.inputs[0].matrix(), cap_, call.outputs[0].matrix()); }

 private:
  float cap_;
};

class SelectRows final : public Op {
 public:
  std::string name() const override { return "select_rows"; }
  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override {
    check_inputs(inputs, 2, "x, wanted");
    check_float(inputs[0], "x");
    check(inputs[1].dtype == DType::i32 && inputs[1].extent == Extent::wanted, "wanted must be i32[wanted], got ", to_string(inputs[1]));
    return {Type{DType::f32, inputs[0].shape, Extent::wanted}};
  }
  void run(const Call& call) const override {
    const Matrix<float> x = call.inputs[0].matrix(), y = call.outputs[0].matrix();
    for (int64_t t = 0; t < y.rows; ++t) {
      const int32_t from = call.inputs[1].ints()[t];
      check(from >= 0 && from < x.rows, "wanted row ", from, " of ", x.rows);
      std::memcpy(y.row(t), x.row(from), static_cast<size_t>(x.cols) * 4);
    }
  }
};

}  // namespace

OpPtr gelu_gate() { return std::make_shared<GeluGate>(); }
OpPtr gelu_gate_halves() { return std::make_shared<GeluGateHalves>(); }
OpPtr ple_gate(int64_t layer) { return std::make_shared<PleGate>(layer); }
OpPtr ple_combine() { return std::make_shared<PleCombine>(); }
OpPtr add() { return std::make_shared<Add>(); }
OpPtr scale() { return std::make_shared<Scale>(); }
OpPtr softcap(float cap) { return std::make_shared<Softcap>(cap); }
OpPtr select_rows() { return std::make_shared<SelectRows>(); }

}  // namespace gemloupe::ops
