// Graph, Node and Value.
#include "csrc/graph/graph.h"


#include "csrc/core/error.h"
#include "csrc/core/names.h"
#include "csrc/session/session.h"
#include "python/bindings/bindings.h"
#include "python/bindings/python_op.h"

namespace gemloupe::bindings {
namespace {

py::list names_of(const Graph& graph, const std::vector<int>& values) {
  py::list names;
  for (int v : values) names.append(to_str(graph.values()[v].name));
  return names;
}

py::tuple node_view(const Graph& graph, int index) {
  check(index >= 0 && index < static_cast<int>(graph.nodes().size()), "there is no node ", index);
  const Node& node = graph.nodes()[index];
  py::list weights;
  for (const auto& w : node.weights) weights.append(to_str(w));
  return py::make_tuple(to_str(node.name), to_str(node.op->name()), names_of(graph, node.inputs), weights, names_of(graph, node.outputs));
}

py::tuple value_view(const Graph& graph, int index) {
  const Value& v = graph.values().at(static_cast<size_t>(index));
  py::list shape;
  for (int64_t d : v.type.shape) {
    if (d == kAny) shape.append(py::none());
    else shape.append(d);
  }
  return py::make_tuple(to_str(v.name), to_str(to_string(v.type)), v.type.dtype == DType::f32 ? "float32" : "int32", py::tuple(shape));
}

// One callable for every node that the pattern selects: make(node, output names) gives it. All other nodes stay.
Graph replace_by_callables(const Graph& graph, const std::string& pattern, const py::function& make) {
  return graph.replace(pattern, Graph::OpFor([&](const Node& node) {
    check(graph.state(node, Limits{1, 1, false}).empty(), node.name,
          ": it keeps state, which a Python callable cannot; replace the nodes that read it");
    std::vector<std::string> names;
    std::vector<Type> outputs;
    for (int v : node.outputs) {
      names.push_back(graph.values()[v].name);
      outputs.push_back(graph.values()[v].type);
    }
    const py::tuple op = make(node.name, names);
    return python_op(op[0], op[1].cast<std::string>(), outputs);
  }));
}

int64_t cache_bytes(const Graph& graph, int64_t context, int64_t chunk, bool half) {
  int64_t bytes = 0;
  for (const Node& node : graph.nodes())
    for (const StateType& s : graph.state(node, Limits{context, chunk ? chunk : usual_chunk(graph), half}))
      bytes += s.capacity * s.width * (s.half ? 2 : 4);
  return bytes;
}

}  // namespace

void bind_graph(py::module_& m) {
  py::class_<Op, std::shared_ptr<Op>>(m, "Op", "One box of the diagram.")
      .def_property_readonly("name", [](const Op& op) { return to_str(op.name()); })
      .def("__repr__", [](const Op& op) { return to_str("<op " + op.name() + ">"); });

  py::class_<Graph, std::shared_ptr<Graph>>(m, "Graph", "A model as a program of named values.")
      .def("__len__", [](const Graph& g) { return g.nodes().size(); })
      .def("node", &node_view, py::arg("index"))
      .def_property_readonly("values",
                             [](const Graph& g) {
                               py::list all;
                               for (size_t v = 0; v < g.values().size(); ++v) all.append(value_view(g, static_cast<int>(v)));
                               return all;
                             })
      .def_property_readonly("value_names", &Graph::value_names)
      .def("select", [](const Graph& g, const std::string& pattern) { return g.select(pattern); }, py::arg("pattern"))
      .def("print", [](const Graph& g, const std::vector<int>& nodes) { return to_str(g.print(nodes)); }, py::arg("nodes"))
      .def("to_dot", [](const Graph& g, const std::vector<int>& nodes) { return to_str(g.to_dot(nodes)); }, py::arg("nodes"))
      .def("replace", [](const Graph& g, const std::string& pattern, const std::shared_ptr<Op>& op) { return g.replace(pattern, op); },
           py::arg("pattern"), py::arg("op"))
      .def("replace_by_callables", &replace_by_callables, py::arg("pattern"), py::arg("make"))
      .def("weight", [](const Graph& g, const std::string& name) { return g.weight(name); }, py::arg("name"))
      .def_property_readonly("weight_names",
                             [](const Graph& g) {
                               py::list names;
                               for (const auto& [name, w] : g.weights()) names.append(to_str(name));
                               return names;
                             })
      .def("cache_bytes", &cache_bytes, py::arg("context"), py::arg("chunk"), py::arg("half"))
      .def_property_readonly("fingerprint", [](const Graph& g) { return fingerprint(g); });

  m.def("matches", [](const std::string& pattern, const std::string& name) { return matches(pattern, name); }, py::arg("pattern"),
        py::arg("name"));
  m.def("did_you_mean", [](const std::string& name, const std::vector<std::string>& known) { return did_you_mean(name, known); },
        py::arg("name"), py::arg("known"));
}

}  // namespace gemloupe::bindings
