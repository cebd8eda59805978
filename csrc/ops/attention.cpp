#include "kernels/attention/attention.h"

#include <atomic>
#include <cmath>

#include "csrc/ops/fit.h"
#include "csrc/ops/ops.h"
#include "kernels/attention/bf16.h"
#include "kernels/common/team.h"

namespace gemloupe::ops {
namespace {

class Attention final : public Op {
 public:
  Attention(int64_t window, float scale) : window_(window), scale_(scale) {
    check(window >= 0, "attention: window must be a number of positions, or 0 for all, got ", window);
    check(std::isfinite(scale), "attention: scale must be a number, got ", scale);
  }
  std::string name() const override {
    return window_ ? text("attention(window=", window_, ", scale=", scale_, ")") : text("attention(scale=", scale_, ")");
  }

  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override {
    check_inputs(inputs, 4, "q, keys, values, positions");
    const Type &q = inputs[0], &k = inputs[1], &v = inputs[2];
    check(q.shape.size() == 2 && q.dtype == DType::f32 && q.extent == Extent::rows, "q must be f32[row, heads, d], got ", to_string(q));
    check(k.shape.size() == 2 && k.extent == Extent::keys && k.shape[1] == q.shape[1], "keys must be f32[key, kv_heads, ", q.shape[1],
          "], got ", to_string(k));
    check(v.shape == k.shape && v.extent == Extent::keys, "values must be as the keys, ", to_string(k), ", got ", to_string(v));
    check(q.shape[0] % k.shape[0] == 0, "heads must be a multiple of key heads, got ", q.shape[0], " and ", k.shape[0]);
    check(inputs[3].dtype == DType::i32 && inputs[3].extent == Extent::keys, "positions must be i32[key], got ", to_string(inputs[3]));
    return {q};
  }

  void run(const Call& call) const override {
    const Tensor &q = call.inputs[0], &keys = call.inputs[1], &values = call.inputs[2];
    // Rings state their positions; an edit that moved keys elsewhere has no meaning for a rule of positions.
    if (call.inputs[3].memory()) {
      const Tensor truth = cache_value(DType::i32, {}, keys.rings).dense();
      for (int64_t i = 0; i < truth.rows(); ++i)
        check(truth.ints()[i] == call.inputs[3].ints()[i], "positions of a cache can be looked at, not changed: key ", i, " is at ",
              truth.ints()[i], ", got ", call.inputs[3].ints()[i]);
    }
    // Keys or values that were edited are dense floats; the kernel wants both of one kind.
    const bool edited = keys.memory() || values.memory();
    const Tensor k = edited ? as_rings(keys.dense(), keys.rings) : keys, v = edited ? as_rings(values.dense(), values.rings) : values;
    const int64_t heads = q.shape()[0], d = q.shape()[1], kv_heads = keys.shape()[0];
    const auto attend = [&](size_t s) {
      const Segment& segment = call.step.segments[s];
      if (!segment.rows) return;
      const Ring &key = k.rings[s], &value = v.rings[s];
      const Matrix<const float> x(q.floats() + segment.first_row * heads * d, segment.rows, heads * d);
      const Matrix<float> y(call.outputs[0].floats() + segment.first_row * heads * d, segment.rows, heads * d);
      const KeyValues cache{key.data, value.data, key.capacity, key.first, key.last, key.half, key.stride, value.stride};
      const auto& kernel = segment.arithmetic == Arithmetic::bf16 ? attention_bf16 : gemloupe::attention;
      kernel(x, segment.position, cache, static_cast<int>(heads), static_cast<int>(kv_heads), static_cast<int>(d), scale_, window_, y);
    };
    // Large segments share their own work; many small ones are shared among themselves, a free thread taking the next.
    std::vector<size_t> small;
    for (size_t s = 0; s < call.step.segments.size(); ++s) {
      const int64_t seen = k.rings[s].last - k.rings[s].first;
      if (call.step.segments[s].rows * seen * heads * d < kSmall)
        small.push_back(s);
      else
        attend(s);
    }
    std::atomic<size_t> next{0};
    const bool many = static_cast<int64_t>(small.size()) >= threads();
    share(many ? threads() : 1, 1, [&](int64_t, int64_t) {
      for (size_t i; (i = next++) < small.size();) attend(small[i]);
    });
  }

 private:
  static constexpr int64_t kSmall = 1 << 22;  // multiply-adds that one thread does in a fraction of a millisecond

  int64_t window_;
  float scale_;
};

}  // namespace

OpPtr attention(int64_t window, float scale) { return std::make_shared<Attention>(window, scale); }

}  // namespace gemloupe::ops
