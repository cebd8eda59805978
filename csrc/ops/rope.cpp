#include "kernels/rope/rope.h"

#include "csrc/ops/fit.h"
#include "csrc/ops/ops.h"

namespace gemloupe::ops {
namespace {

class Rope final : public Op {
 public:
  Rope(std::vector<float> inv_freq, std::string description) : inv_freq_(std::move(inv_freq)), description_(std::move(description)) {}
  std::string name() const override { return "rope(" + description_ + ")"; }

  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override {
    check(inputs.size() == 2 || inputs.size() == 3, "takes q (and k) and positions, got ", inputs.size(), " inputs");
    std::vector<Type> types(inputs.begin(), inputs.end() - 1);
    for (const Type& t : types)
      check(t.shape.size() == 2 && t.shape[1] == static_cast<int64_t>(inv_freq_.size()) * 2, "expected f32[row, heads, ",
            inv_freq_.size() * 2, "], got ", to_string(t));
    check(inputs.back().dtype == DType::i32, "positions must be i32, got ", to_string(inputs.back()));
    return types;
  }

  void run(const Call& call) const override {
    const int32_t* positions = call.inputs.back().ints();
    for (size_t i = 0; i < call.outputs.size(); ++i)
      gemloupe::rope(call.inputs[i].matrix(), positions, inv_freq_.data(), static_cast<int>(inv_freq_.size()) * 2,
                     call.outputs[i].matrix());
  }

 private:
  std::vector<float> inv_freq_;
  std::string description_;
};

}  // namespace

OpPtr rope(std::vector<float> inv_freq, std::string description) {
  return std::make_shared<Rope>(std::move(inv_freq), std::move(description));
}

}  // namespace gemloupe::ops
