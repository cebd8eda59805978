// One function an area, each in the file of its name; module.cpp calls them.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "csrc/core/tensor.h"
#include "csrc/graph/run.h"
#include "csrc/session/session.h"

namespace gemloupe::bindings {

namespace py = pybind11;

void bind_errors(py::module_& m);
void bind_machine(py::module_& m);
void bind_checkpoint(py::module_& m);
void bind_tokenizer(py::module_& m);
void bind_weights(py::module_& m);
void bind_graph(py::module_& m);
void bind_ops(py::module_& m);
void bind_config(py::module_& m);
void bind_model(py::module_& m);
void bind_session(py::module_& m);
void bind_generate(py::module_& m);
void bind_measure(py::module_& m);
void bind_bench(py::module_& m);

using Release = py::call_guard<py::gil_scoped_release>;
using Ids = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;

// Text of files and messages, which may hold any bytes, as a str.
py::str to_str(std::string_view bytes);

std::vector<int32_t> to_ids(const Ids& ids);

// The tensor's own memory as an array [row, …], kept alive by it.
py::array to_numpy(const Tensor& tensor, bool writable);
// A copy of an array-like. Real numbers become float32; int32 takes whole numbers of its range. Otherwise ValueError, which begins
// with `where`.
Tensor to_tensor(const py::handle& values, DType dtype, const std::string& where);

// A Python object that C++ may copy and drop without holding the GIL.
using Kept = std::shared_ptr<const py::object>;
Kept keep(py::object object);

// Looks for signals, at most every 20 ms; throws what the signal's Python code raised (KeyboardInterrupt). Call it without the GIL.
std::function<void()> signal_poll();

// A trace from Python: patterns to record, and (pattern, callable(name, array) -> array) to edit with.
Trace make_trace(const std::vector<std::string>& record, const std::vector<std::pair<std::string, py::object>>& edits);

// Sessions in use by a call that has released the GIL; a second call on one of them is refused.
class InUse {
 public:
  explicit InUse(std::span<const Session* const> sessions);
  explicit InUse(const Session& session);
  ~InUse();
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;

 private:
  std::vector<const Session*> sessions_;
};

}  // namespace gemloupe::bindings
