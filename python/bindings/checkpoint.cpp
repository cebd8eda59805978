// Files as they are, for `gemloupe inspect`: any GGUF or safetensors, Gemma or not.
#include "csrc/io/checkpoint.h"

#include "python/bindings/bindings.h"

namespace gemloupe::bindings {
namespace {

py::object to_python(const MetaValue& value) {
  return std::visit(
      [](const auto& v) -> py::object {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return to_str(v);
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          py::list list;
          for (const auto& s : v) list.append(to_str(s));
          return list;
        } else {
          return py::cast(v);
        }
      },
      value);
}

}  // namespace

void bind_checkpoint(py::module_& m) {
  py::class_<Checkpoint, std::shared_ptr<Checkpoint>>(m, "Checkpoint", "A model's files, opened but not loaded.")
      .def(py::init([](const std::string& path) {
             const py::gil_scoped_release release;
             return std::const_pointer_cast<Checkpoint>(Checkpoint::open(path));
           }),
           py::arg("path"))
      .def_property_readonly("kind", [](const Checkpoint& c) { return c.kind == Checkpoint::Kind::gguf ? "gguf" : "safetensors"; })
      .def_property_readonly("path", [](const Checkpoint& c) { return to_str(c.path); })
      .def_property_readonly("config_json", [](const Checkpoint& c) { return to_str(c.config_json); })
      .def_property_readonly("metadata",
                             [](const Checkpoint& c) {
                               py::dict all;
                               for (const auto& [key, value] : c.metadata) all[to_str(key)] = to_python(value);
                               return all;
                             })
      .def_property_readonly("tensors", [](const Checkpoint& c) {
        py::list all;
        for (const TensorEntry& t : c.tensors) all.append(py::make_tuple(to_str(t.name), to_str(t.type), py::tuple(py::cast(t.shape)), t.bytes));
        return all;
      }, "(name, type, shape, bytes) of each, in the file's order.");
}

}  // namespace gemloupe::bindings
