// A Python callable as an op: it takes the place of a node and gives values of the same types.
#pragma once

#include "python/bindings/bindings.h"

namespace gemloupe::bindings {

// callable(step, inputs, weights) -> one array, or a tuple of as many as `outputs` has. `step` lists (first row, rows, position,
// keys) of each segment, inputs are read-only arrays [row, …], weights are Weight objects.
std::shared_ptr<const Op> python_op(py::object callable, std::string description, std::vector<Type> outputs);

}  // namespace gemloupe::bindings
