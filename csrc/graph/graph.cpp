#include "csrc/graph/graph.h"

#include <algorithm>
#include <sstream>

#include "csrc/core/error.h"
#include "csrc/core/names.h"

namespace gemloupe {

Graph::Graph(Weights weights) : weights_(std::move(weights)) {
  const std::pair<const char*, Extent> inputs[] = {
      {"tokens", Extent::rows}, {"positions", Extent::rows}, {"wanted", Extent::wanted}};
  for (const auto& [name, extent] : inputs) {
    index_[name] = static_cast<int>(values_.size());
    values_.push_back({name, Type{DType::i32, {}, extent}, -1});
  }
  plan_.items.push_back({nullptr, 0, 0, 0});
}

const Weight& Graph::weight(const std::string& name) const {
  const auto found = weights_.find(name);
  if (found == weights_.end()) {
    std::vector<std::string> known;
    for (const auto& [n, w] : weights_) known.push_back(n);
    throw std::invalid_argument("there is no weight \"" + name + "\"" + did_you_mean(name, known));
  }
  return *found->second;
}

void Graph::add(const NodeSpec& spec) {
  Node node{spec.name, spec.op, {}, spec.weights, {}};
  std::vector<Type> types;
  for (const auto& input : spec.inputs) {
    const int v = find(input);
    if (v < 0)
      throw std::invalid_argument(text(spec.name, ": its input \"", input, "\" is no value of the graph so far", did_you_mean(input, value_names())));
    node.inputs.push_back(v);
    types.push_back(values_[v].type);
  }
  std::vector<const Weight*> weights;
  for (const auto& w : spec.weights) {
    try {
      weights.push_back(&weight(w));
    } catch (const std::invalid_argument& e) {
      throw std::invalid_argument(spec.name + ": " + e.what());
    }
  }
  std::vector<Type> made;
  try {
    made = spec.op->outputs(types, weights);
  } catch (const std::invalid_argument& e) {
    throw std::invalid_argument(spec.name + ": " + e.what());
  }
  const std::vector<std::string> names = spec.outputs.empty() ? std::vector<std::string>{spec.name} : spec.outputs;
  check(names.size() == made.size(), spec.name, ": ", spec.op->name(), " gives ", made.size(), " values, the node names ", names.size());
  for (const Node& other : nodes_) check(other.name != spec.name, spec.name, ": there is a node of this name already");
  for (size_t i = 0; i < names.size(); ++i) {
    check(index_.emplace(names[i], static_cast<int>(values_.size())).second, spec.name, ": there is a value \"", names[i], "\" already");
    node.outputs.push_back(static_cast<int>(values_.size()));
    values_.push_back({names[i], made[i], static_cast<int>(nodes_.size())});
  }
  plan_.items.back().op = node.op.get();
  plan_.inputs.insert(plan_.inputs.end(), node.inputs.begin(), node.inputs.end());
  plan_.weights.insert(plan_.weights.end(), weights.begin(), weights.end());
  plan_.outputs.insert(plan_.outputs.end(), node.outputs.begin(), node.outputs.end());
  const auto end = [](const auto& all) { return static_cast<int>(all.size()); };
  plan_.items.push_back({nullptr, end(plan_.inputs), end(plan_.weights), end(plan_.outputs)});
  nodes_.push_back(std::move(node));
}

std::set<std::string> Graph::multiplied() const {
  std::set<std::string> names;
  for (const Node& node : nodes_)
    if (node.op->multiplies()) names.insert(node.weights.begin(), node.weights.end());
  return names;
}

void Graph::hold(const std::string& name, std::shared_ptr<const Weight> w) {
  const Weight& before = weight(name);
  check(w && w->format->name() == before.format->name() && w->rows == before.rows && w->cols == before.cols && w->experts == before.experts,
        name, ": the weight must keep its format and shape");
  auto held = plan_.weights.begin();
  for (const Node& node : nodes_)
    for (const std::string& of_node : node.weights) {
      if (of_node == name) *held = w.get();
      ++held;
    }
  weights_[name] = std::move(w);
}

int Graph::find(std::string_view value) const {
  const auto found = index_.find(value);
  return found == index_.end() ? -1 : found->second;
}

int Graph::value(std::string_view name) const {
  const int v = find(name);
  if (v < 0) throw std::invalid_argument(text("there is no value \"", name, "\"", did_you_mean(name, value_names())));
  return v;
}

std::vector<std::string> Graph::value_names() const {
  std::vector<std::string> names;
  for (const Value& v : values_) names.push_back(v.name);
  return names;
}

std::vector<int> Graph::select(std::string_view pattern) const {
  std::vector<int> found;
  for (size_t n = 0; n < nodes_.size(); ++n) {
    const Node& node = nodes_[n];
    if (matches(pattern, node.name) ||
        std::any_of(node.outputs.begin(), node.outputs.end(), [&](int v) { return matches(pattern, values_[v].name); }))
      found.push_back(static_cast<int>(n));
  }
  return found;
}

namespace {

// Both graphs are the same program: rebuild it node by node, so that every check is made again.
Graph rebuilt(const Graph& graph, Weights weights, const std::vector<int>& changed, const Graph::OpFor& op_for) {
  Graph made(std::move(weights));
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    const Node& node = graph.nodes()[n];
    NodeSpec spec{node.name, node.op, {}, node.weights, {}};
    if (std::binary_search(changed.begin(), changed.end(), static_cast<int>(n))) spec.op = op_for(node);
    for (int v : node.inputs) spec.inputs.push_back(graph.values()[v].name);
    for (int v : node.outputs) spec.outputs.push_back(graph.values()[v].name);
    made.add(spec);
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const Type &before = graph.values()[node.outputs[i]].type, &after = made.values()[made.nodes()[n].outputs[i]].type;
      bool fits = before.dtype == after.dtype && before.extent == after.extent && before.shape.size() == after.shape.size();
      for (size_t d = 0; fits && d < before.shape.size(); ++d)
        fits = before.shape[d] == after.shape[d] || before.shape[d] == kAny || after.shape[d] == kAny;
      check(fits, node.name, ": ", spec.outputs[i], " must be ", to_string(before), ", ", spec.op->name(), " gives ", to_string(after));
    }
  }
  return made;
}

}  // namespace

std::vector<StateType> Graph::state(const Node& node, const Limits& limits) const {
  std::vector<Type> types;
  for (int v : node.inputs) types.push_back(values_[v].type);
  return node.op->state(types, limits);
}

Graph Graph::replace(const std::string& pattern, std::shared_ptr<const Op> op) const {
  return replace(pattern, [&](const Node&) { return op; });
}

Graph Graph::replace(const std::string& pattern, const OpFor& op_for) const {
  const std::vector<int> chosen = select(pattern);
  if (chosen.empty()) {
    std::vector<std::string> known;
    for (const Node& n : nodes_) known.push_back(n.name);
    throw std::invalid_argument("replace: no node matches \"" + pattern + "\"" + did_you_mean(pattern, known));
  }
  return rebuilt(*this, weights_, chosen, op_for);
}

Graph Graph::with_weights(Weights weights) const { return rebuilt(*this, std::move(weights), {}, nullptr); }

std::string Graph::print() const {
  std::vector<int> all(nodes_.size());
  for (size_t n = 0; n < all.size(); ++n) all[n] = static_cast<int>(n);
  return print(all);
}

namespace {

// "layers.0.attn.cache.keys .values .positions": the later names without what they share with the first.
std::string joined(const std::vector<std::string>& names) {
  std::string line = names.at(0);
  const size_t dot = names[0].rfind('.') + 1;  // 0 where there is none
  for (size_t i = 1; i < names.size(); ++i)
    line += dot && names[i].compare(0, dot, names[0], 0, dot) == 0 ? " ." + names[i].substr(dot) : " " + names[i];
  return line;
}

}  // namespace

std::string Graph::print(const std::vector<int>& chosen) const {
  std::vector<std::string> left;
  size_t widest = 0;
  for (int n : chosen) {
    std::vector<std::string> names;
    for (int v : nodes_[n].outputs) names.push_back(values_[v].name);
    left.push_back(joined(names));
    widest = std::max(widest, std::min<size_t>(left.back().size(), 44));
  }
  std::ostringstream out;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const Node& node = nodes_[chosen[i]];
    out << left[i] << std::string(left[i].size() < widest ? widest - left[i].size() : 0, ' ') << "  <- ";
    for (size_t k = 0; k < node.inputs.size(); ++k) out << (k ? ", " : "") << values_[node.inputs[k]].name;
    out << "    " << node.op->name();
    for (size_t k = 0; k < node.weights.size(); ++k) out << (k ? ", " : "  weights: ") << node.weights[k];
    if (!state(node, Limits{1, 1, false}).empty()) out << "  keeps state";
    out << '\n';
  }
  return out.str();
}

std::string Graph::to_dot(const std::vector<int>& chosen) const {
  const auto quoted = [](const std::string& s) {
    std::string q = "\"";
    for (char c : s) q += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    return q + "\"";
  };
  std::ostringstream out;
  out << "digraph gemloupe {\n  rankdir=TB;\n  node [shape=box, fontname=\"monospace\"];\n";
  for (int n : chosen) {
    const Node& node = nodes_[n];
    out << "  " << quoted(node.name) << " [label=" << quoted(node.name + " : " + node.op->name()) << "];\n";
    for (int v : node.inputs) {
      const Value& value = values_[v];
      out << "  " << quoted(value.producer < 0 ? value.name : nodes_[value.producer].name) << " -> " << quoted(node.name)
          << " [label=" << quoted(value.name + " " + to_string(value.type)) << "];\n";
    }
  }
  out << "}\n";
  return out.str();
}

}  // namespace gemloupe
