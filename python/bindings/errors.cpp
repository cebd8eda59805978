// Which Python exception each of ours becomes. pybind11 itself translates std::bad_alloc and std::out_of_range.
#include "csrc/core/error.h"

#include "python/bindings/bindings.h"

namespace gemloupe::bindings {
namespace {

PyObject* error_type = nullptr;

void set_error(PyObject* type, const char* message) { PyErr_SetObject(type, to_str(message).ptr()); }

}  // namespace

void bind_errors(py::module_& m) {
  error_type = PyErr_NewExceptionWithDoc(
      "gemloupe.Error", "The file, the model or the machine is not what we need: no argument of the call mends it.",
      PyExc_RuntimeError, nullptr);
  if (!error_type) throw py::error_already_set();
  m.add_object("Error", py::handle(error_type));
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const Error& e) {
      set_error(error_type, e.what());
    } catch (const Interrupted&) {
      PyErr_SetNone(PyExc_KeyboardInterrupt);
    } catch (const std::invalid_argument& e) {
      set_error(PyExc_ValueError, e.what());
    }
  });
}

}  // namespace gemloupe::bindings
