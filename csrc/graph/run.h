// Runs a graph on a step. The only place that walks nodes.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "csrc/graph/graph.h"

namespace gemloupe {

// Looks at values while they are made, and may change them. An argument of a run, never a part of a graph.
struct Trace {
  // A new value in place of the one given: same dtype and shape. `name` is the value's.
  using Edit = std::function<Tensor(const std::string& name, const Tensor& value)>;

  std::vector<std::string> record;                    // patterns
  std::vector<std::pair<std::string, Edit>> edits;    // pattern, function; all that match are applied, in order
  std::function<void()> poll;                         // called between nodes; may throw Interrupted to stop the run

  std::map<std::string, Tensor> recorded;             // filled by run
};

// The state of the sessions of a step: states[segment][node] holds the node's rings.
using StepStates = std::vector<std::vector<std::vector<State>>*>;

// Computes the nodes that the wanted values need (all nodes with state among them), and returns those values. A pattern of the
// trace that matches no value is an error that names near misses. After an error the sessions' rings may hold rows beyond
// their position, which nobody reads.
std::vector<Tensor> run(const Graph& graph, const Step& step, const StepStates& states, const std::vector<std::string>& wanted,
                        Trace* trace = nullptr);

}  // namespace gemloupe
