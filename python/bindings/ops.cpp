// gl.ops: the core's ops, to be put into graphs.
#include "csrc/ops/ops.h"

#include "csrc/core/error.h"
#include "kernels/rope/rope.h"
#include "python/bindings/bindings.h"

namespace gemloupe::bindings {
namespace {

Routing routing_named(const std::string& name) {
  if (name == "softmax") return Routing::softmax;
  if (name == "softmax_renormalised") return Routing::softmax_renormalised;
  if (name == "top_k_softmax") return Routing::top_k_softmax;
  check(name == "sigmoid_renormalised", "top_k: routing must be softmax, softmax_renormalised, top_k_softmax or "
        "sigmoid_renormalised, got \"", name, "\"");
  return Routing::sigmoid_renormalised;
}

std::shared_ptr<Op> open(ops::OpPtr op) { return std::const_pointer_cast<Op>(op); }

std::vector<float> frequencies(int head_dim, double theta, const std::string& kind, double factor, int rotated) {
  check(head_dim > 0 && head_dim % 2 == 0, "rope: head_dim must be even, got ", head_dim);
  check(theta > 0, "rope: theta must be above 0, got ", theta);
  check(factor > 0, "rope: factor must be above 0, got ", factor);
  check(rotated >= 0 && rotated <= head_dim && rotated % 2 == 0, "rope: rotated must be even and at most head_dim, got ", rotated);
  if (kind == "default") return default_rope(head_dim, theta).inv_freq;
  if (kind == "linear") return linear_rope(head_dim, theta, factor).inv_freq;
  check(kind == "proportional", "rope: kind must be default, linear or proportional, got \"", kind, "\"");
  return proportional_rope(head_dim, theta, rotated ? rotated : head_dim, factor).inv_freq;
}

py::tuple top_k_of(const Floats& scores, int64_t k, const std::string& routing, const std::optional<Floats>& bias,
                   const std::optional<Floats>& scale) {
  check(scores.ndim() == 2, "top_k: scores must be [row, expert], got ", scores.ndim(), " dimensions");
  const int64_t rows = scores.shape(0), experts = scores.shape(1);
  check(k >= 1 && k <= experts, "top_k: k must be in 1 … ", experts, ", got ", k);
  for (const auto* each : {&bias, &scale})
    check(!*each || ((*each)->ndim() == 1 && (*each)->shape(0) == experts), "top_k: bias and per_expert_scale must have one entry for each of ",
          experts, " experts");
  const Routing how = routing_named(routing);
  Ids chosen({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(k)});
  Floats weights({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(k)});
  const Matrix<const float> s(scores.data(), rows, experts);
  const Matrix<int32_t> e(chosen.mutable_data(), rows, k);
  const Matrix<float> w(weights.mutable_data(), rows, k);
  const float *b = bias ? bias->data() : nullptr, *p = scale ? scale->data() : nullptr;
  {
    const py::gil_scoped_release release;
    top_k(s, how, b, p, e, w);
  }
  return py::make_tuple(chosen, weights);
}

}  // namespace

void bind_ops(py::module_& m) {
  py::module_ o = m.def_submodule("ops", "The ops of the models, to be put into graphs with Model.replace.");
  using Shape = std::vector<int64_t>;
  o.def("embed", [](float factor, Shape shape) { return open(ops::embed(factor, std::move(shape))); }, py::arg("factor") = 1.0f,
        py::arg("shape") = Shape{}, "tokens -> the rows of the weight times factor.");
  o.def("linear", [](Shape shape, float factor) { return open(ops::linear(std::move(shape), factor)); }, py::arg("shape") = Shape{},
        py::arg("factor") = 1.0f, "x -> x W^T times factor, seen as shape.");
  o.def("rms_norm", [](float eps, float factor) { return open(ops::rms_norm(eps, factor)); }, py::arg("eps") = 1e-6f,
        py::arg("factor") = 1.0f, "x -> x / sqrt(mean(x^2) + eps) * weight * factor, over the last dimension.");
  o.def(
      "rope",
      [](int head_dim, double theta, const std::string& kind, double factor, int rotated) {
        return open(ops::rope(frequencies(head_dim, theta, kind, factor, rotated),
                              text(kind, ", theta=", theta, kind == "default" ? "" : text(", factor=", factor))));
      },
      py::arg("head_dim"), py::arg("theta"), py::arg("kind") = "default", py::arg("factor") = 1.0, py::arg("rotated") = 0,
      "Rotary positions; kind is default, linear (positions divided by factor) or proportional (the first `rotated` dimensions).");
  o.def(
      "rope_frequencies",
      [](const Floats& inv_freq, const std::string& description) {
        check(inv_freq.ndim() == 1 && inv_freq.size() > 0, "rope_frequencies: one frequency for each pair, got ", inv_freq.size());
        return open(ops::rope({inv_freq.data(), inv_freq.data() + inv_freq.size()}, description));
      },
      py::arg("inv_freq"), py::arg("description") = "custom", "Rotary positions with frequencies of one's own, head_dim / 2 of them.");
  o.def("attention", [](int64_t window, float scale) { return open(ops::attention(window, scale)); }, py::arg("window"), py::arg("scale"),
        "q, keys, values, positions -> softmax(scale q k^T) v over the last `window` positions (0: all).");
  o.def("kv_cache", [](int64_t window) { return open(ops::kv_cache(window)); }, py::arg("window"),
        "k, v -> the keys, values and positions that the step may see; keeps the last `window` positions (0: all).");
  o.def("gelu_gate", [] { return open(ops::gelu_gate()); }, "gate, up -> gelu_tanh(gate) * up.");
  o.def("ple_gate", [](int64_t layer) { return open(ops::ple_gate(layer)); }, py::arg("layer"), "gate, ple -> gelu_tanh(gate) * ple[layer].");
  o.def("ple_combine", [] { return open(ops::ple_combine()); }, "table, context -> (context + table) / sqrt(2).");
  o.def("add", [] { return open(ops::add()); }, "a, b -> a + b.");
  o.def("scale", [] { return open(ops::scale()); }, "x -> x * weight[0].");
  o.def("softcap", [](float cap) { return open(ops::softcap(cap)); }, py::arg("cap"), "x -> cap * tanh(x / cap).");
  o.def("top_k", [](int64_t k, const std::string& routing) { return open(ops::top_k(k, routing_named(routing))); }, py::arg("k"),
        py::arg("routing") = "softmax_renormalised", "scores -> experts and weights of the k best.");
  o.def("experts_linear", [] { return open(ops::experts_linear()); }, "x, experts -> each slot's x times its expert's matrix.");
  o.def("gelu_gate_halves", [] { return open(ops::gelu_gate_halves()); }, "gate_up -> gelu_tanh(first half) * second half.");
  o.def("combine_experts", [] { return open(ops::combine_experts()); }, "x, weights, experts -> the weighted sum over slots.");

  m.def("top_k", &top_k_of, py::arg("scores"), py::arg("k"), py::arg("routing") = "softmax_renormalised", py::arg("bias") = py::none(),
        py::arg("per_expert_scale") = py::none());
}

}  // namespace gemloupe::bindings
