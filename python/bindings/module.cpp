#include "python/bindings/bindings.h"

PYBIND11_MODULE(_core, m) {
  using namespace gemloupe::bindings;
  m.doc() = "The C++ part of gemloupe. Users import gemloupe, which wraps what lies here.";
  bind_errors(m);
  bind_machine(m);
  bind_checkpoint(m);
  bind_tokenizer(m);
  bind_weights(m);
  bind_graph(m);
  bind_ops(m);
  bind_config(m);
  bind_model(m);
  bind_session(m);
  bind_generate(m);
  bind_measure(m);
  bind_bench(m);
}
