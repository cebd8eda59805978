// A model as a straight-line program of named values. Graphs are values: every change gives a new graph that shares ops and
// weights with the old one. Wrong wiring, unknown names and shapes that do not fit are errors when a graph is built.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/graph/op.h"

namespace gemloupe {

using Weights = std::map<std::string, std::shared_ptr<const Weight>>;

struct Value {
  std::string name;
  Type type;
  int producer = -1;  // index of the node; -1 for an input of the graph
};

struct Node {
  std::string name;
  std::shared_ptr<const Op> op;
  std::vector<int> inputs;            // indices of values
  std::vector<std::string> weights;   // names
  std::vector<int> outputs;           // indices of values
};

// What a node is made of, by names.
struct NodeSpec {
  std::string name;
  std::shared_ptr<const Op> op;
  std::vector<std::string> inputs;
  std::vector<std::string> weights = {};
  std::vector<std::string> outputs = {};  // empty: one, named as the node
};

class Graph {
 public:
  // A graph without nodes: its inputs are `tokens` and `positions`, i32[row], and `wanted`, i32[wanted].
  explicit Graph(Weights weights = {});

  void add(const NodeSpec& node);
  // Names of the weights that some node multiplies by.
  std::set<std::string> multiplied() const;
  // The same weight held in another way: of the same format and shape as the one of this name.
  void hold(const std::string& name, std::shared_ptr<const Weight> weight);

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Value>& values() const { return values_; }
  const Weights& weights() const { return weights_; }
  const Weight& weight(const std::string& name) const;

  // The index of a value, or -1. value() throws std::invalid_argument that names near misses.
  int find(std::string_view value) const;
  int value(std::string_view name) const;
  std::vector<std::string> value_names() const;

  // Nodes whose name, or one of whose values, matches a pattern, in order.
  std::vector<int> select(std::string_view pattern) const;

  // What a session must keep for a node.
  std::vector<StateType> state(const Node& node, const Limits& limits) const;

  // The same graph with another op in every node that matches; throws if none does or if the op does not fit there.
  Graph replace(const std::string& pattern, std::shared_ptr<const Op> op) const;
  // The same with an op made for each of these nodes.
  using OpFor = std::function<std::shared_ptr<const Op>(const Node&)>;
  Graph replace(const std::string& pattern, const OpFor& op_for) const;
  // The same graph with another set of weights (all that the nodes name must be there).
  Graph with_weights(Weights weights) const;

  // "layers.0.attn.mix  <- layers.0.attn.q_rope, …   attention(window=512)", a line a node; the selected ones.
  std::string print(const std::vector<int>& nodes) const;
  std::string print() const;
  // The graph in Graphviz's language.
  std::string to_dot(const std::vector<int>& nodes) const;

 private:
  std::vector<Node> nodes_;
  std::vector<Value> values_;
  std::map<std::string, int, std::less<>> index_;
  Weights weights_;
};

}  // namespace gemloupe
