// How well logits foretell a text, and how far two models' logits lie apart: all in double, a row in one thread, in one order.
#include <algorithm>
#include <cmath>

#include "csrc/core/error.h"
#include "kernels/common/team.h"
#include "python/bindings/bindings.h"

namespace gemloupe::bindings {
namespace {

using Doubles = py::array_t<double>;

double max_of(const float* x, int64_t n) { return *std::max_element(x, x + n); }

// log p[target[t]] of softmax(logits[t]).
Doubles log_probabilities(const Floats& logits, const Ids& targets) {
  check(logits.ndim() == 2 && targets.ndim() == 1 && targets.shape(0) == logits.shape(0), "one target for each row of logits");
  const int64_t rows = logits.shape(0), n = logits.shape(1);
  const int32_t* target = targets.data();
  for (int64_t t = 0; t < rows; ++t) check(target[t] >= 0 && target[t] < n, "token ", target[t], " is not in 0 … ", n - 1);
  Doubles out(rows);
  const Matrix<const float> x(logits.data(), rows, n);
  double* y = out.mutable_data();
  const py::gil_scoped_release release;
  share(rows, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const double largest = max_of(x.row(t), n);
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += std::exp(x.row(t)[i] - largest);
      y[t] = x.row(t)[target[t]] - largest - std::log(sum);
    }
  });
  return out;
}

// KL(softmax(a[t]) || softmax(b[t])) in nats: sum p_a (a - b) - (lse_a - lse_b); and whether their largest entries are the same.
py::tuple divergences(const Floats& a, const Floats& b) {
  check(a.ndim() == 2 && b.ndim() == 2 && a.shape(0) == b.shape(0) && a.shape(1) == b.shape(1), "two arrays of logits of one shape");
  const int64_t rows = a.shape(0), n = a.shape(1);
  Doubles out(rows);
  py::array_t<bool> same(rows);
  const Matrix<const float> x(a.data(), rows, n), y(b.data(), rows, n);
  double* kl = out.mutable_data();
  bool* agree = same.mutable_data();
  {
    const py::gil_scoped_release release;
    share(rows, 1, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t) {
        const float *p = x.row(t), *q = y.row(t);
        const double top_p = max_of(p, n), top_q = max_of(q, n);
        double sum_p = 0, sum_q = 0, weighed = 0;
        for (int64_t i = 0; i < n; ++i) {
          const double e = std::exp(p[i] - top_p);
          sum_p += e;
          sum_q += std::exp(q[i] - top_q);
          if (e > 0) weighed += e * (static_cast<double>(p[i]) - q[i]);
        }
        const double between = (top_p + std::log(sum_p)) - (top_q + std::log(sum_q));
        kl[t] = std::max(weighed / sum_p - between, 0.0) + (std::isnan(weighed) ? weighed : 0.0);
        agree[t] = std::max_element(p, p + n) - p == std::max_element(q, q + n) - q;
      }
    });
  }
  return py::make_tuple(out, same);
}

}  // namespace

void bind_measure(py::module_& m) {
  m.def("log_probabilities", &log_probabilities, py::arg("logits"), py::arg("targets"));
  m.def("divergences", &divergences, py::arg("a"), py::arg("b"));
}

}  // namespace gemloupe::bindings
