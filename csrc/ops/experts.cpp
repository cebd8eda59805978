// Mixture of experts: routing, the experts' linear layers, the weighted sum.
#include <algorithm>

#include "csrc/ops/fit.h"
#include "csrc/ops/ops.h"
#include "kernels/experts/combine.h"

namespace gemloupe::ops {
namespace {

const char* word(Routing routing) {
  switch (routing) {
    case Routing::softmax: return "softmax";
    case Routing::softmax_renormalised: return "softmax_renormalised";
    case Routing::top_k_softmax: return "top_k_softmax";
    case Routing::sigmoid_renormalised: return "sigmoid_renormalised";
  }
  return "?";
}

class TopK final : public Op {
 public:
  TopK(int64_t k, Routing routing) : k_(k), routing_(routing) { check(k >= 1, "top_k: k must be 1 or more experts, got ", k); }
  std::string name() const override { return text("top_k(k=", k_, ", ", word(routing_), ")"); }

  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const> weights) const override {
    check_inputs(inputs, 1, "scores");
    check_weights(weights, 0, 1);
    check_float(inputs[0], "scores");
    check(k_ >= 1 && k_ <= inputs[0].width(), "k must be 1 to ", inputs[0].width(), " experts, got ", k_);
    if (!weights.empty()) check_vector(*weights[0], inputs[0].width(), "the scale of each expert");
    // How many slots there are is the router's choice, so that another router can take this one's place.
    return {Type{DType::i32, {kAny}}, Type{DType::f32, {kAny}}};
  }

  void run(const Call& call) const override {
    const Tensor& scores = call.inputs[0];
    call.outputs[0] = Tensor(DType::i32, scores.rows(), {k_});
    call.outputs[1] = Tensor(DType::f32, scores.rows(), {k_});
    const float* each = call.weights.empty() ? nullptr : floats_of(*call.weights[0]);
    gemloupe::top_k(scores.matrix(), routing_, static_cast<const float*>(nullptr), each, call.outputs[0].int_matrix(),
                    call.outputs[1].matrix());
  }

 private:
  int64_t k_;
  Routing routing_;
};

class ExpertsLinear final : public Op {
 public:
  std::string name() const override { return "experts_linear"; }

  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const> weights) const override {
    check_inputs(inputs, 2, "x, experts");
    check_weights(weights, 1, 2);
    check_float(inputs[0], "x");
    check(inputs[1].dtype == DType::i32 && inputs[1].shape.size() == 1, "experts must be i32[row, slot], got ", to_string(inputs[1]));
    int64_t made = 0;
    for (const Weight* w : weights) {
      check(w->experts == weights[0]->experts, "the stacks must hold equally many experts, got ", weights[0]->experts, " and ", w->experts);
      check(inputs[0].shape.back() == w->cols, "the experts take ", w->cols, " columns, but x is ", to_string(inputs[0]));
      made += w->rows / w->experts;
    }
    return {Type{DType::f32, {kAny, made}, inputs[0].extent}};
  }

  bool multiplies() const override { return true; }

  void run(const Call& call) const override {
    const Tensor &x = call.inputs[0], &experts = call.inputs[1];
    const int64_t slots = experts.width(), width = x.shape().back(), pairs = x.rows() * slots, count = call.weights[0]->experts;
    const bool per_slot = x.shape().size() == 2;
    check(!per_slot || x.shape()[0] == slots, "x has ", x.shape()[0], " slots, the router gave ", slots);
    int64_t made = 0;
    for (const Weight* w : call.weights) made += w->rows / w->experts;
    call.outputs[0] = Tensor(DType::f32, x.rows(), {slots, made});
    const Matrix<float> y(call.outputs[0].floats(), pairs, made);

    for (int64_t i = 0; i < pairs; ++i) {
      const int32_t e = experts.ints()[i];
      check(e >= -1 && e < count, "expert ", e, " of ", count, " in row ", i / slots, "; -1 leaves a slot unused");
    }
    const int64_t from_rows = per_slot ? slots : 1;  // of x, to a row of the step
    const Matrix<float> from(x.floats(), x.rows() * from_rows, width);
    int64_t begin = 0;
    for (const Weight* w : call.weights) {
      const int64_t n = w->rows / w->experts;
      const Matrix<float> to(y.data + begin, pairs, n, made);
      for (const Stretch& s : call.stretches) {
        const int64_t first = s.first * slots, rows = s.rows * slots;
        w->format->matmul_experts(from.slice(s.first * from_rows, s.rows * from_rows), experts.ints() + first, *w, to.slice(first, rows),
                                  s.arithmetic);
      }
      begin += n;
    }
  }
};

class CombineExperts final : public Op {
 public:
  std::string name() const override { return "combine_experts"; }

  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override {
    check_inputs(inputs, 3, "x, experts, weights");
    check(inputs[0].shape.size() == 2 && inputs[0].dtype == DType::f32, "x must be f32[row, slot, width], got ", to_string(inputs[0]));
    check(inputs[1].dtype == DType::i32, "experts must be i32[row, slot], got ", to_string(inputs[1]));
    check_float(inputs[2], "weights");
    return {Type{DType::f32, {inputs[0].shape[1]}, inputs[0].extent}};
  }

  void run(const Call& call) const override {
    const Tensor &x = call.inputs[0], &experts = call.inputs[1], &weights = call.inputs[2];
    const int64_t slots = experts.width(), width = call.outputs[0].width();
    check(weights.width() == slots && x.shape()[0] == slots, "the router gave ", slots, " experts and ", weights.width(),
          " weights a row, the experts ", x.shape()[0], " results");
    gemloupe::combine_experts(Matrix<const float>(x.floats(), x.rows() * slots, width), experts.int_matrix(), weights.matrix(),
                              call.outputs[0].matrix());
  }
};

}  // namespace

OpPtr top_k(int64_t k, Routing routing) { return std::make_shared<TopK>(k, routing); }
OpPtr experts_linear() { return std::make_shared<ExpertsLinear>(); }
OpPtr combine_experts() { return std::make_shared<CombineExperts>(); }

}  // namespace gemloupe::ops
