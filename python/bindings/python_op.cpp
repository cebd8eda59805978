#include "python/bindings/python_op.h"

#include "csrc/core/error.h"

namespace gemloupe::bindings {
namespace {

std::string shape_text(const Tensor& t) {
  std::string s = "[" + std::to_string(t.rows());
  for (int64_t d : t.shape()) s += ", " + std::to_string(d);
  return s + "]";
}

class PythonOp : public Op {
 public:
  PythonOp(py::object callable, std::string description, std::vector<Type> outputs)
      : callable_(keep(std::move(callable))), description_(std::move(description)), outputs_(std::move(outputs)) {}

  std::string name() const override { return "python(" + description_ + ")"; }
  bool by_row() const override { return false; }

  std::vector<Type> outputs(std::span<const Type>, std::span<const Weight* const>) const override { return outputs_; }

  void run(const Call& call) const override {
    const py::gil_scoped_acquire gil;
    const auto& segments = call.step.segments;
    py::list step;
    for (size_t s = 0; s < segments.size(); ++s)
      step.append(py::make_tuple(segments[s].first_row, segments[s].rows, segments[s].position, keys(call, s),
                                 gemloupe::name(segments[s].arithmetic)));
    py::tuple inputs(call.inputs.size()), weights(call.weights.size());
    for (size_t i = 0; i < call.inputs.size(); ++i) inputs[i] = to_numpy(call.inputs[i], false);
    for (size_t i = 0; i < call.weights.size(); ++i) weights[i] = py::cast(*call.weights[i]);
    py::object made = (*callable_)(step, inputs, weights);
    if (outputs_.size() == 1 && !py::isinstance<py::tuple>(made)) made = py::make_tuple(made);
    check(py::isinstance<py::tuple>(made) || py::isinstance<py::list>(made), "the callable must return a tuple of ", outputs_.size(),
          " arrays, got ", std::string(py::str(py::type::handle_of(made).attr("__name__"))));
    const py::sequence values = made;
    check(values.size() == outputs_.size(), "the callable must return ", outputs_.size(), " arrays, got ", values.size());
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const Type& type = outputs_[i];
      const std::string where = "value " + std::to_string(i) + " of the callable";
      Tensor tensor = to_tensor(py::object(values[i]), type.dtype, where);
      const int64_t rows = type.extent == Extent::rows     ? call.step.rows()
                           : type.extent == Extent::wanted ? static_cast<int64_t>(call.step.wanted.size())
                                                           : tensor.rows();
      bool fits = tensor.rows() == rows && tensor.shape().size() == type.shape.size();
      for (size_t d = 0; fits && d < type.shape.size(); ++d) fits = type.shape[d] == kAny || type.shape[d] == tensor.shape()[d];
      check(fits, where, ": must be ", to_string(type), " with ", rows, " rows, got ", shape_text(tensor));
      call.outputs[i] = std::move(tensor);
    }
  }

 private:
  // How many keys of a cache belong to the segment, where the node reads one.
  static int64_t keys(const Call& call, size_t segment) {
    for (const Tensor& t : call.inputs)
      if (segment < t.rings.size()) return t.rings[segment].last - t.rings[segment].first;
    return 0;
  }

  Kept callable_;
  std::string description_;
  std::vector<Type> outputs_;
};

}  // namespace

std::shared_ptr<const Op> python_op(py::object callable, std::string description, std::vector<Type> outputs) {
  return std::make_shared<PythonOp>(std::move(callable), std::move(description), std::move(outputs));
}

}  // namespace gemloupe::bindings
