// Model: loading, making, quantizing, saving.
#include "csrc/gemma/model.h"

#include "csrc/core/error.h"
#include "python/bindings/bindings.h"

namespace gemloupe::bindings {
namespace {

// A weight as a callable makes it, matrix by matrix (one expert at a time): a matrix of the same shape, kept as float32.
Weight transformed(const std::string& name, const Weight& w, const py::object& transform) {
  const py::gil_scoped_acquire gil;
  uint8_t* data = nullptr;
  Weight made = allocate_weight(format_named("F32"), w.rows, w.cols, data);
  made.experts = w.experts;
  const int64_t rows = w.rows / w.experts;
  for (int64_t e = 0; e < w.experts; ++e) {
    Floats matrix({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(w.cols)});
    const Matrix<float> out(matrix.mutable_data(), rows, w.cols);
    {
      const py::gil_scoped_release release;
      w.format->unpack(w, e * rows, out);
    }
    const py::object result = transform(to_str(name), matrix);
    const Tensor tensor = to_tensor(result, DType::f32, name + ": the quantizer's result");
    const auto shape = [](const Tensor& t) {
      std::string s = "[" + std::to_string(t.rows());
      for (int64_t d : t.shape()) s += ", " + std::to_string(d);
      return s + "]";
    };
    check(tensor.rows() == rows && tensor.shape() == std::vector<int64_t>{w.cols}, name, ": the quantizer must return [", rows, ", ", w.cols,
          "], got ", shape(tensor));
    std::memcpy(data + e * rows * w.cols * 4, tensor.floats(), static_cast<size_t>(rows * w.cols) * 4);
  }
  return made;
}

Quantization rule(const std::string& pattern, const py::object& scheme) {
  if (py::isinstance<Format>(scheme)) {
    const std::shared_ptr<const Format> format = scheme.cast<std::shared_ptr<Format>>();
    return {pattern, [format, poll = signal_poll()](const std::string&, const Weight& w) { return repack(w, format, poll); }};
  }
  return {pattern, [kept = keep(scheme)](const std::string& name, const Weight& w) { return transformed(name, w, *kept); }};
}

}  // namespace

void bind_model(py::module_& m) {
  py::class_<Model, std::shared_ptr<Model>>(m, "Model", "A Gemma: configuration, graph and weights, tokenizer.")
      .def_readonly("config", &Model::config)
      .def_property_readonly("graph", [](const Model& model) { return std::const_pointer_cast<Graph>(model.graph); })
      .def_property_readonly("tokenizer", [](const Model& model) { return std::const_pointer_cast<Tokenizer>(model.tokenizer); })
      .def_property_readonly("path", [](const Model& model) { return to_str(model.path); })
      .def("with_graph", [](const Model& model, const Graph& graph) { return model.with_graph(graph); }, py::arg("graph"))
      .def(
          "quantize",
          [](const Model& model, const std::vector<std::pair<std::string, py::object>>& rules) {
            std::vector<Quantization> list;
            for (const auto& [pattern, scheme] : rules) list.push_back(rule(pattern, scheme));
            const py::gil_scoped_release release;
            return quantize(model, list, signal_poll());
          },
          py::arg("rules"))
      .def("save_gguf", [](const Model& model, const std::string& path) { save_gguf(model, path, signal_poll()); }, py::arg("path"), Release())
      .def("save_gem", [](const Model& model, const std::string& path) { save_gem(model, path, signal_poll()); }, py::arg("path"), Release())
      .def("save_folder", [](const Model& model, const std::string& folder) { save_folder(model, folder, signal_poll()); },
           py::arg("folder"), Release());

  m.def(
      "load_model", [](const std::string& path, bool pack, bool verify) { return load_model(path, {pack, verify, signal_poll()}); },
      py::arg("path"), py::arg("pack"), py::arg("verify"), Release());
  m.def(
      "random_model",
      [](const Config& config, const std::string& format, int64_t layers, int64_t vocabulary, uint64_t seed) {
        RandomOptions options;
        options.format = format;
        options.layers = layers;
        options.vocabulary = vocabulary;
        options.seed = seed;
        options.poll = signal_poll();
        return random_model(config, options);
      },
      py::arg("config"), py::arg("format"), py::arg("layers"), py::arg("vocabulary"), py::arg("seed"), Release());
}

}  // namespace gemloupe::bindings
