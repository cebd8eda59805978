// What ops check about their inputs and weights while a graph is built, said in one way.
#pragma once

#include <span>

#include "csrc/core/error.h"
#include "csrc/core/tensor.h"
#include "csrc/formats/format.h"

namespace gemloupe::ops {

inline void check_inputs(std::span<const Type> inputs, size_t count, const char* names) {
  check(inputs.size() == count, "takes ", count, " inputs (", names, "), got ", inputs.size());
}

inline void check_weights(std::span<const Weight* const> weights, size_t least, size_t most) {
  check(weights.size() >= least && weights.size() <= most, "takes ", least, least == most ? "" : " or more", " weights, got ",
        weights.size());
}

inline void check_float(const Type& type, const char* what) {
  check(type.dtype == DType::f32, what, " must be f32, got ", to_string(type));
}

// A weight that is a plain vector of n floats (norm scales and the like are kept as F32) ...
inline void check_vector(const Weight& w, int64_t n, const char* what) {
  check(w.format->name() == "F32" && w.rows * w.cols == n, what, " must be ", n, " floats, got ", w.rows * w.cols, " as ",
        w.format->name());
}
// ... and its numbers, once that has been checked.
inline const float* floats_of(const Weight& w) { return reinterpret_cast<const float*>(w.data); }

// A shape that an op is told to give; empty means that the weight decides.
inline void check_shape(std::span<const int64_t> shape, const char* op) {
  int64_t width = 1;
  for (int64_t d : shape) {
    check(d >= 1 && d <= (1 << 24) && width <= (1LL << 31), op, ": a shape must have sizes of 1 to ", 1 << 24, ", got ", d);
    width *= d;
  }
}

}  // namespace gemloupe::ops
