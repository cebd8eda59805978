#include "top_p.h"

#include <algorithm>
#include <vector>

#include "csrc/core/error.h"
#include "kernels/route/route.h"

using namespace gemloupe;

namespace {

// An op is immutable: it computes, and owns neither weights nor state.
class TopP final : public Op {
 public:
  TopP(float p, int64_t most) : p_(p), most_(most) { check(p > 0 && p <= 1, "top_p: p must be in (0, 1], got ", p); }

  std::string name() const override { return text("top_p(p=", p_, ", most=", most_, ")"); }

  // Called when a graph is built: what does not fit is said here, and the graph adds the node's name.
  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const> weights) const override {
    check(inputs.size() == 1 && inputs[0].dtype == DType::f32, "takes one input, scores f32[row, experts]");
    check(most_ >= 1 && most_ <= inputs[0].width(), "most must be 1 to ", inputs[0].width(), " experts, got ", most_);
    check(weights.empty() || weights[0]->rows * weights[0]->cols == inputs[0].width(), "the weight must scale each expert");
    return {Type{DType::i32, {kAny}}, Type{DType::f32, {kAny}}};  // how many slots is known only when it runs
  }

  void run(const Call& call) const override {
    const Tensor& scores = call.inputs[0];
    const int64_t n = scores.width();
    const float* scale = call.weights.empty() ? nullptr : reinterpret_cast<const float*>(call.weights[0]->data);
    call.outputs[0] = Tensor(DType::i32, scores.rows(), {most_});
    call.outputs[1] = Tensor(DType::f32, scores.rows(), {most_});
    std::vector<float> p(static_cast<size_t>(n));
    for (int64_t t = 0; t < scores.rows(); ++t) {
      int32_t* experts = call.outputs[0].int_matrix().row(t);
      float* weights = call.outputs[1].matrix().row(t);
      // A policy is put together from the parts of kernels/route/route.h.
      softmax(scores.matrix().row(t), n, p.data());
      select(p.data(), n, most_, experts);
      int64_t used = 0;
      for (float reached = 0; used < most_ && reached < p_; ++used) {
        weights[used] = p[experts[used]];
        reached += weights[used];
      }
      renormalise(weights, used);
      for (int64_t s = 0; scale && s < used; ++s) weights[s] *= scale[experts[s]];
      std::fill(experts + used, experts + most_, -1);
      std::fill(weights + used, weights + most_, 0.0f);
    }
  }

 private:
  float p_;
  int64_t most_;
};

}  // namespace

std::shared_ptr<const Op> top_p(float p, int64_t most) { return std::make_shared<TopP>(p, most); }
