#include <algorithm>

#include "csrc/ops/fit.h"
#include "csrc/ops/ops.h"
#include "kernels/attention/attention.h"

namespace gemloupe::ops {
namespace {

class KvCache final : public Op {
 public:
  explicit KvCache(int64_t window) : window_(window) {
    check(window >= 0, "kv_cache: window must be a number of positions, or 0 for all, got ", window);
  }
  std::string name() const override { return window_ ? text("kv_cache(window=", window_, ")") : "kv_cache"; }

  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override {
    check_inputs(inputs, 2, "k, v");
    for (const Type& t : inputs)
      check(t.dtype == DType::f32 && t.shape.size() == 2 && t.shape[0] == inputs[0].shape[0], "expected f32[row, kv_heads, d], got ",
            to_string(t));
    return {Type{DType::f32, inputs[0].shape, Extent::keys}, Type{DType::f32, inputs[1].shape, Extent::keys},
            Type{DType::i32, {}, Extent::keys}};
  }

  std::vector<StateType> state(std::span<const Type> inputs, const Limits& limits) const override {
    const int64_t capacity = window_ ? std::min(limits.context, window_ + limits.chunk) : limits.context;
    return {StateType{capacity, inputs[0].width(), window_, limits.half_cache},
            StateType{capacity, inputs[1].width(), window_, limits.half_cache}};
  }

  void run(const Call& call) const override {
    std::vector<Ring> rings[2];
    for (size_t s = 0; s < call.step.segments.size(); ++s) {
      const Segment& segment = call.step.segments[s];
      for (int i = 0; i < 2; ++i) {
        State& state = call.state[s][i];
        const Tensor& x = call.inputs[i];
        const int64_t width = x.width(), capacity = state.type.capacity;
        cache_write(Matrix<const float>(x.floats() + segment.first_row * width, segment.rows, width), segment.position,
                    state.memory.get(), capacity, width, state.type.half);
        // The oldest key that the segment's first row may see; its last row sees fewer of the old ones.
        const int64_t last = segment.position + segment.rows;
        const int64_t first = window_ ? std::max<int64_t>(0, segment.position - window_ + 1) : 0;
        rings[i].push_back(Ring{state.memory.get(), capacity, first, last, width, state.type.half});
      }
    }
    call.outputs[2] = cache_value(DType::i32, {}, rings[0]);
    call.outputs[0] = cache_value(DType::f32, call.inputs[0].shape(), std::move(rings[0]));
    call.outputs[1] = cache_value(DType::f32, call.inputs[1].shape(), std::move(rings[1]));
  }

 private:
  int64_t window_;
};

}  // namespace

OpPtr kv_cache(int64_t window) { return std::make_shared<KvCache>(window); }

}  // namespace gemloupe::ops
