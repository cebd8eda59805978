// Between the core's values and Python's: arrays, text, ids, callables, signals.
#include <chrono>
#include <cstring>
#include <limits>
#include <mutex>
#include <set>

#include "csrc/core/error.h"
#include "python/bindings/bindings.h"

namespace gemloupe::bindings {

py::str to_str(std::string_view bytes) {
  PyObject* made = PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "backslashreplace");
  if (!made) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(made);
}

std::vector<int32_t> to_ids(const Ids& ids) {
  check(ids.ndim() == 1, "token ids must be one list, got an array of ", ids.ndim(), " dimensions");
  return {ids.data(), ids.data() + ids.size()};
}

py::array to_numpy(const Tensor& tensor, bool writable) {
  const Tensor dense = tensor.dense();
  std::vector<py::ssize_t> shape = {dense.rows()};
  shape.insert(shape.end(), dense.shape().begin(), dense.shape().end());
  auto memory = std::make_unique<std::shared_ptr<void>>(dense.memory());
  py::capsule owner(memory.get(), [](void* p) { delete static_cast<std::shared_ptr<void>*>(p); });
  memory.release();
  const py::dtype dtype = dense.dtype() == DType::f32 ? py::dtype::of<float>() : py::dtype::of<int32_t>();
  py::array array(dtype, shape, dense.floats(), owner);
  if (!writable) array.attr("flags").attr("writeable") = false;
  return array;
}

Tensor to_tensor(const py::handle& values, DType dtype, const std::string& where) {
  const py::module_ numpy = py::module_::import("numpy");
  py::array array;
  try {
    array = numpy.attr("asarray")(values);
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_ValueError) && !e.matches(PyExc_TypeError)) throw;
    throw std::invalid_argument(where + ": no array can be made of " + std::string(py::str(py::type::handle_of(values).attr("__name__"))) +
                                ": " + std::string(py::str(e.value())));
  }
  const char kind = array.dtype().kind();
  const std::string kinds = dtype == DType::f32 ? "fiub" : "iu";
  check(kinds.find(kind) != std::string::npos, where, ": must be ", dtype == DType::f32 ? "float32" : "int32", ", got dtype ",
        std::string(py::str(array.dtype())));
  check(array.ndim() >= 1, where, ": must be an array [row, …], got a single number");
  std::vector<int64_t> shape(array.shape() + 1, array.shape() + array.ndim());
  Tensor tensor(dtype, array.shape(0), shape);
  if (dtype == DType::f32) {
    const Floats plain(array);
    if (plain.size()) std::memcpy(tensor.floats(), plain.data(), static_cast<size_t>(plain.size()) * 4);
  } else {
    const py::array_t<int64_t, py::array::c_style | py::array::forcecast> plain(array);
    for (py::ssize_t i = 0; i < plain.size(); ++i) {
      const int64_t value = plain.data()[i];
      check(value >= std::numeric_limits<int32_t>::min() && value <= std::numeric_limits<int32_t>::max(), where, ": ", value,
            " does not fit into int32");
      tensor.ints()[i] = static_cast<int32_t>(value);
    }
  }
  return tensor;
}

Kept keep(py::object object) {
  return Kept(new py::object(std::move(object)), [](const py::object* kept) {
    if (!Py_IsInitialized()) return;  // at the end of the process the memory goes anyway
    const py::gil_scoped_acquire gil;
    delete kept;
  });
}

std::function<void()> signal_poll() {
  using Clock = std::chrono::steady_clock;
  return [next = Clock::now() + std::chrono::milliseconds(20)]() mutable {
    const auto now = Clock::now();
    if (now < next) return;
    next = now + std::chrono::milliseconds(20);
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  };
}

Trace make_trace(const std::vector<std::string>& record, const std::vector<std::pair<std::string, py::object>>& edits) {
  Trace trace;
  trace.record = record;
  trace.poll = signal_poll();
  for (const auto& [pattern, function] : edits) {
    trace.edits.emplace_back(pattern, [kept = keep(function)](const std::string& name, const Tensor& value) {
      const py::gil_scoped_acquire gil;
      const py::object made = (*kept)(to_str(name), to_numpy(value, false));
      return to_tensor(made, value.dtype(), name + ": the edit's result");
    });
  }
  return trace;
}

namespace {

std::mutex in_use_mutex;
std::set<const Session*> in_use;

}  // namespace

InUse::InUse(std::span<const Session* const> sessions) {
  const std::lock_guard lock(in_use_mutex);
  for (const Session* session : sessions)
    check(!in_use.count(session), "this session is in use: wait for the other call, or fork() it");
  for (const Session* session : sessions)
    if (in_use.insert(session).second) sessions_.push_back(session);
}

InUse::InUse(const Session& session) : InUse(std::vector<const Session*>{&session}) {}

InUse::~InUse() {
  const std::lock_guard lock(in_use_mutex);
  for (const Session* session : sessions_) in_use.erase(session);
}

}  // namespace gemloupe::bindings
