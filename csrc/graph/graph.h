// A model as a straight-line program of named values. Graphs are values: every change gives a new graph that shares ops and
// weights with the old one. Wrong wiring, unknown names and shapes that do not fit are errors when a graph is built.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
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

// The nodes once more as a run walks them: numbers and addresses, side by side. Between two steps the weights have swept the
// caches, and every line of memory that a node needs costs as much as some of its arithmetic.
struct Plan {
  struct Item {
    const Op* op;
    int input, weight, output;  // the first ones of the node below; they end where the next item's begin
  };
  std::vector<Item> items;             // one more than nodes
  std::vector<int> inputs, outputs;    // indices of values
  std::vector<const Weight*> weights;
  template <class T>
  static std::span<const T> between(const std::vector<T>& all, int first, int end) {
    return {all.data() + first, static_cast<size_t>(end - first)};
  }
  std::span<const int> inputs_of(size_t n) const { return between(inputs, items[n].input, items[n + 1].input); }
  std::span<const int> outputs_of(size_t n) const { return between(outputs, items[n].output, items[n + 1].output); }
  std::span<const Weight* const> weights_of(size_t n) const { return between(weights, items[n].weight, items[n + 1].weight); }
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
  const Plan& plan() const { return plan_; }
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
  Plan plan_;
};

}  // namespace gemloupe
