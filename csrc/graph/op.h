// An op: one box of the diagram. It computes; it owns no weights, no state and no values. Immutable, so one op may stand in
// many graphs and run in many threads.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "csrc/core/tensor.h"
#include "csrc/formats/format.h"
#include "csrc/graph/step.h"

namespace gemloupe {

// What a session is asked to make room for.
struct Limits {
  int64_t context = 0;       // positions 0 … context - 1
  int64_t chunk = 0;         // the most rows one step brings to one session
  bool half_cache = false;   // keys and values as IEEE half precision instead of float
};

// A ring of rows that a session keeps for a node: position p lies in slot p % capacity.
struct StateType {
  int64_t capacity = 0;
  int64_t width = 0;   // numbers a row
  int64_t reach = 0;   // how many of the last positions later rows may read; 0 = all
  bool half = false;
};

struct State {
  StateType type;
  std::shared_ptr<void> memory;  // capacity * width numbers
};

struct Call {
  const Step& step;
  std::span<const Tensor> inputs;
  std::span<const Weight* const> weights;
  std::span<const std::span<State>> state;  // one span a segment of the step, as long as the op's state()
  std::span<const Stretch> stretches;       // the rows of the outputs by arithmetic
  std::span<Tensor> outputs;                // allocated where the type says how large; otherwise the op assigns them
};

class Op {
 public:
  virtual ~Op() = default;

  // The op and what it was made with: "attention(window=512, scale=1)".
  virtual std::string name() const = 0;
  // The types of the outputs. Throws std::invalid_argument where the inputs or weights do not fit; the graph adds the node's name.
  virtual std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const> weights) const = 0;
  // What a session must keep for it.
  virtual std::vector<StateType> state(std::span<const Type> inputs, const Limits& limits) const {
    (void)inputs, (void)limits;
    return {};
  }
  // Whether it multiplies by its weights, so that their being rearranged for that is worth the memory.
  virtual bool multiplies() const { return false; }
  // Whether a row of its outputs depends on that row of its inputs alone, and on caches. Of others all rows are computed, also where
  // fewer are wanted.
  virtual bool by_row() const { return true; }
  virtual void run(const Call& call) const = 0;
};

}  // namespace gemloupe
