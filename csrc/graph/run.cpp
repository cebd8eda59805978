#include "csrc/graph/run.h"

#include <algorithm>
#include <cstring>

#include "csrc/core/error.h"
#include "csrc/core/names.h"
#include "csrc/graph/narrow.h"
#include "kernels/common/team.h"
#include "kernels/strips/strips.h"

namespace gemloupe {
namespace {

constexpr int64_t kFewRows = 16;  // for which products wait for memory

Tensor ints(const std::vector<int32_t>& values) {
  Tensor t(DType::i32, static_cast<int64_t>(values.size()), {});
  std::copy(values.begin(), values.end(), t.ints());
  return t;
}

void refuse_unknown(const Graph& graph, const std::string& pattern, const char* what) {
  for (const Value& v : graph.values())
    if (matches(pattern, v.name)) return;
  throw std::invalid_argument(text(what, ": no value matches \"", pattern, "\"", did_you_mean(pattern, graph.value_names())));
}

// Nodes that must run: what the wanted values need, and everything that keeps state (with what that needs).
std::vector<bool> needed(const Plan& plan, const std::vector<bool>& wanted, const std::vector<bool>& has_state) {
  std::vector<bool> run(has_state);
  std::vector<bool> value(wanted);
  for (size_t n = run.size(); n-- > 0;) {
    for (int v : plan.outputs_of(n)) run[n] = run[n] || value[v];
    if (run[n])
      for (int v : plan.inputs_of(n)) value[v] = true;
  }
  return run;
}

// Asks memory for what a node begins with.
void fetch([[maybe_unused]] const Plan& plan, [[maybe_unused]] size_t n) {
#if defined(__GNUC__)
  if (n + 1 >= plan.items.size()) return;
  __builtin_prefetch(plan.items[n].op);
  for (const Weight* weight : plan.weights_of(n)) {
    __builtin_prefetch(weight);
    __builtin_prefetch(&weight->output_scale);
  }
#endif
}

// Tells the threads what product comes after node n, so that those that wait fetch its weights.
void expect_next(const Plan& plan, const std::vector<bool>& runs, size_t n) {
  while (++n < runs.size() && !(runs[n] && plan.items[n].op->multiplies())) {
  }
  if (n >= runs.size()) return;
  const Weight& weight = *plan.weights_of(n).front();
  if (weight.strips && weight.experts == 1) expect_product(*weight.strips);
}

// A given value may come flat, but where a dimension is open only its full shape says what is what.
bool fits(const Tensor& tensor, const Type& type) {
  if (type.width() != kAny) return tensor.width() == type.width();
  bool same = tensor.shape().size() == type.shape.size();
  for (size_t d = 0; same && d < type.shape.size(); ++d) same = type.shape[d] == kAny || tensor.shape()[d] == type.shape[d];
  return same;
}

void check_replacement(const Type& type, const std::string& name, const Tensor& before, const Tensor& after, const char* who) {
  check(after.dtype() == before.dtype(), name, ": the ", who, " must give ", to_string(type), ", got another dtype");
  bool same = after.rows() == before.rows() && after.shape().size() == before.shape().size();
  for (size_t d = 0; same && d < before.shape().size(); ++d)
    same = after.shape()[d] == before.shape()[d] || type.shape[d] == kAny;
  const auto shape = [](const Tensor& t) {
    std::string s = "[" + std::to_string(t.rows());
    for (int64_t d : t.shape()) s += ", " + std::to_string(d);
    return s + "]";
  };
  check(same, name, ": the ", who, " must give ", shape(before), ", got ", shape(after));
}

}  // namespace

std::vector<Tensor> run(const Graph& graph, const Step& step, const StepStates& states, const std::vector<std::string>& wanted,
                        Trace* trace) {
  const auto& values = graph.values();
  const Plan& plan = graph.plan();
  std::vector<bool> keep(values.size(), false), record(values.size(), false);
  for (const auto& name : wanted) keep[graph.value(name)] = true;
  std::vector<std::vector<const Trace::Edit*>> edits;  // of each value, where there are any
  if (trace) {
    if (!trace->edits.empty()) edits.resize(values.size());
    for (const auto& pattern : trace->record) refuse_unknown(graph, pattern, "record");
    for (const auto& [pattern, edit] : trace->edits) refuse_unknown(graph, pattern, "edit");
    for (size_t v = 0; v < values.size(); ++v) {
      for (const auto& pattern : trace->record)
        if (matches(pattern, values[v].name)) keep[v] = record[v] = true;
      for (const auto& [pattern, edit] : trace->edits)
        if (matches(pattern, values[v].name)) edits[v].push_back(&edit);
    }
  }
  std::vector<bool> has_state(graph.nodes().size(), false);
  for (const auto* of_session : states)
    for (size_t n = 0; n < of_session->size(); ++n) has_state[n] = has_state[n] || !(*of_session)[n].empty();
  const std::vector<bool> runs = needed(plan, keep, has_state);

  // A value's memory goes back when its last reader has run.
  std::vector<int> readers(values.size(), 0);
  for (size_t n = 0; n < runs.size(); ++n)
    if (runs[n])
      for (int v : plan.inputs_of(n)) ++readers[v];

  std::vector<Tensor> held(values.size());
  const auto look = [&](int v) {
    Tensor& value = held[v];
    if (!edits.empty())
      for (const Trace::Edit* edit : edits[v]) {
        const Tensor before = value.dense();
        Tensor after = (*edit)(values[v].name, before);
        check_replacement(values[v].type, values[v].name, before, after, "edit");
        value = value.rings.empty() ? after : as_rings(after, value.rings);
      }
    if (record[v]) trace->recorded[values[v].name] = value.dense();
  };
  const Step* now = &step;  // or the wanted rows of it
  const auto extent = [&](const Type& type) {
    return type.extent == Extent::rows ? now->rows() : static_cast<int64_t>(step.wanted.size());
  };
  for (const auto& [name, tensor] : step.given) {
    const int v = graph.value(name);
    const Type& type = values[v].type;
    check(type.extent != Extent::keys, "given ", name, ": what a cache holds cannot be brought along; give or edit what is written into it");
    check(tensor.dtype() == type.dtype && tensor.rows() == extent(type) && fits(tensor, type), "given ", name, ": expected ", to_string(type),
          " for ", extent(type), " rows, got ", tensor.rows(), " rows of ", tensor.width());
    held[v] = type.width() == kAny ? tensor : tensor.reshaped(type.shape);
    look(v);
  }
  const auto hold_inputs = [&](const Step& of) {
    const std::vector<int32_t>* inputs[] = {&of.tokens, &of.positions, &of.wanted};
    for (int v = 0; v < 3; ++v)
      if (held[v].empty()) held[v] = ints(*inputs[v]), look(v);
  };
  hold_inputs(step);

  // From this node on nobody sees rows but the wanted ones.
  size_t all_rows = 0;
  for (size_t n = 0; n < runs.size(); ++n) {
    if (!runs[n]) continue;
    bool seen = has_state[n] || !plan.items[n].op->by_row();
    for (int v : plan.outputs_of(n))
      seen = seen || (!edits.empty() && !edits[v].empty()) || step.given.contains(values[v].name) ||
             (keep[v] && values[v].type.extent != Extent::wanted);
    if (seen) all_rows = n + 1;
  }
  for (int v = 0; v < 3; ++v)
    if (keep[v] || (!edits.empty() && !edits[v].empty()) || step.given.contains(values[v].name)) all_rows = runs.size();
  const std::optional<Step> narrow = all_rows < runs.size() ? narrowed(step) : std::nullopt;
  std::map<int, Tensor> whole;  // values that are returned with all their rows

  std::vector<Stretch> of_rows = step.stretches(Extent::rows), of_wanted = step.stretches(Extent::wanted);
  const auto go_narrow = [&] {
    for (size_t v = 0; v < held.size(); ++v) {
      if (held[v].empty() || values[v].type.extent != Extent::rows) continue;
      if (keep[v]) whole[static_cast<int>(v)] = held[v];
      held[v] = v < 3 ? Tensor() : narrowed(held[v], step.wanted);
    }
    held[2] = Tensor();
    hold_inputs(*narrow);
    now = &*narrow;
    of_rows = of_wanted = narrow->stretches(Extent::rows);
  };
  // One team of threads for the whole step.
  with_team([&] {
    std::vector<Tensor> in, out;
    std::vector<std::span<State>> state;
    for (size_t n = 0; n < runs.size(); ++n) {
      if (!runs[n]) continue;
      if (n >= all_rows && narrow && now == &step) go_narrow();
      fetch(plan, n);
      fetch(plan, n + 1);
      if (now->rows() <= kFewRows && plan.items[n].op->multiplies()) expect_next(plan, runs, n);
      const auto inputs = plan.inputs_of(n), outputs = plan.outputs_of(n);
      if (trace && trace->poll) trace->poll();
      in.clear(), out.clear(), state.clear();
      if (!std::all_of(outputs.begin(), outputs.end(), [&](int v) { return !held[v].empty(); })) {
        for (int v : inputs) in.push_back(held[v]);
        if (has_state[n])
          for (auto* of_session : states) state.push_back((*of_session)[n]);
        for (int v : outputs) {
          const Type& type = values[v].type;
          const bool known = type.extent != Extent::keys && type.width() != kAny;
          out.push_back(known ? Tensor(type.dtype, extent(type), type.shape) : Tensor());
        }
        try {
          const bool wanted_rows = values[outputs[0]].type.extent == Extent::wanted;
          plan.items[n].op->run(Call{*now, in, plan.weights_of(n), state, wanted_rows ? of_wanted : of_rows, out});
        } catch (const std::invalid_argument& e) {
          throw std::invalid_argument(graph.nodes()[n].name + ": " + e.what());
        }
        for (size_t i = 0; i < outputs.size(); ++i) {
          const int v = outputs[i];
          if (!held[v].empty()) continue;  // it was given
          held[v] = std::move(out[i]);
          look(v);
        }
        in.clear();
      }
      for (int v : inputs)
        if (--readers[v] == 0 && !keep[v]) held[v] = Tensor();
      for (int v : outputs)
        if (readers[v] == 0 && !keep[v]) held[v] = Tensor();
    }
  });
  std::vector<Tensor> results;
  for (const auto& name : wanted) {
    const int v = graph.value(name);
    results.push_back((whole.contains(v) ? whole[v] : held[v]).dense());
  }
  return results;
}

}  // namespace gemloupe
