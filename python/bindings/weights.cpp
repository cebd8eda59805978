// Format and Weight.
#include <cstring>

#include "csrc/core/error.h"
#include "csrc/formats/format.h"
#include "csrc/formats/grid.h"
#include "csrc/formats/strips.h"
#include "python/bindings/bindings.h"

namespace gemloupe::bindings {
namespace {

ScaleType scale_named(const std::string& name) {
  if (name == "f32") return ScaleType::f32;
  if (name == "f16") return ScaleType::f16;
  check(name == "bf16", "grid: scale must be f16, bf16 or f32, got \"", name, "\"");
  return ScaleType::bf16;
}

Floats unpack(const Weight& w, int64_t first, int64_t last) {
  check(0 <= first && first <= last && last <= w.rows, "rows ", first, " to ", last, " are not all in 0 … ", w.rows);
  Floats out({static_cast<py::ssize_t>(last - first), static_cast<py::ssize_t>(w.cols)});
  const Matrix<float> matrix(out.mutable_data(), last - first, w.cols);
  const py::gil_scoped_release release;
  constexpr int64_t kRows = 256;
  for (int64_t row = 0; row < matrix.rows; row += kRows)
    w.format->unpack(w, first + row, {matrix.row(row), std::min(kRows, matrix.rows - row), w.cols});
  return out;
}

}  // namespace

void bind_weights(py::module_& m) {
  py::class_<Format, std::shared_ptr<Format>>(m, "Format", "What a weight's bytes mean.")
      .def_property_readonly("name", [](const Format& f) { return to_str(f.name()); })
      .def("row_bytes", &Format::row_bytes, py::arg("cols"))
      .def(
          "pack",
          [](const Format& f, const Floats& values) {
            check(values.ndim() == 2, f.name(), ": packs a matrix [rows, cols], got ", values.ndim(), " dimensions");
            const Matrix<const float> matrix(values.data(), values.shape(0), values.shape(1));
            const py::gil_scoped_release release;
            return f.pack(matrix);
          },
          py::arg("values"))
      .def("__repr__", [](const Format& f) { return "<format " + f.name() + ">"; });

  py::class_<Weight>(m, "Weight", "A matrix [rows, cols] in some format; a stack of experts has all their rows.")
      .def_property_readonly("format", [](const Weight& w) { return to_str(w.format->name()); })
      .def_readonly("rows", &Weight::rows)
      .def_readonly("cols", &Weight::cols)
      .def_readonly("experts", &Weight::experts)
      .def_property_readonly("bytes", &Weight::bytes)
      .def("data",
           [](const Weight& w) {
             py::bytes bytes(nullptr, static_cast<size_t>(w.bytes()));
             auto* to = reinterpret_cast<uint8_t*>(PyBytes_AS_STRING(bytes.ptr()));
             const py::gil_scoped_release release;
             read_bytes(w, 0, w.bytes(), to);
             return bytes;
           })
      .def("unpack", &unpack, py::arg("first"), py::arg("last"));

  m.def("format_names", &format_names);
  m.def("format_named", [](const std::string& name) { return std::const_pointer_cast<Format>(format_named(name)); }, py::arg("name"));
  m.def(
      "grid",
      [](int bits, int64_t group, const std::vector<int>& levels, const std::string& scale, bool min) {
        GridOptions options;
        options.bits = bits;
        options.group = group;
        options.levels = levels;
        options.scale = scale_named(scale);
        options.min = min;
        return std::const_pointer_cast<Format>(grid(options));
      },
      py::arg("bits"), py::arg("group"), py::arg("levels"), py::arg("scale"), py::arg("min"));
}

}  // namespace gemloupe::bindings
