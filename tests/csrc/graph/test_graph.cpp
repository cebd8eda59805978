#include <doctest/doctest.h>

#include <algorithm>

#include "csrc/core/error.h"
#include "csrc/ops/ops.h"
#include "tests/csrc/models.h"

using namespace gemloupe;
using namespace gemloupe::testing;

namespace {

// Twice its input: an op as a user would write it.
class Twice final : public Op {
 public:
  std::string name() const override { return "twice"; }
  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const>) const override { return {inputs[0]}; }
  void run(const Call& call) const override {
    for (int64_t i = 0; i < call.inputs[0].rows() * call.inputs[0].width(); ++i)
      call.outputs[0].floats()[i] = 2 * call.inputs[0].floats()[i];
  }
};

Trace recording(std::vector<std::string> patterns) {
  Trace t;
  t.record = std::move(patterns);
  return t;
}

}  // namespace

TEST_SUITE("graph") {
  TEST_CASE("wrong wiring fails when the graph is built, naming node and shapes") {
    Graph g(small_model("dense").graph->weights());
    g.add({"embed", ops::embed(1.0f), {"tokens"}, {"embed"}});
    CHECK_THROWS_WITH_AS(g.add({"x", ops::linear(), {"embed"}, {"layers.0.ffn.down"}}),
                         "x: the weight takes 56 columns, but x is f32[row, 48]", std::invalid_argument);
    CHECK_THROWS_WITH_AS(g.add({"x", ops::linear(), {"embd"}, {"embed"}}), doctest::Contains("did you mean embed?"), std::invalid_argument);
    CHECK_THROWS_WITH_AS(g.add({"x", ops::linear(), {"embed"}, {"layers.0.attn.qq"}}), doctest::Contains("did you mean layers.0.attn.q"),
                         std::invalid_argument);
    CHECK_THROWS_AS(g.add({"embed", ops::embed(1.0f), {"tokens"}, {"embed"}}), std::invalid_argument);
    CHECK_THROWS_AS(g.add({"y", ops::add(), {"embed"}}), std::invalid_argument);
    g.add({"x", ops::linear(), {"embed"}, {"layers.0.ffn.gate"}});
    CHECK_THROWS_WITH_AS(g.add({"y", ops::add(), {"embed", "x"}}), "y: the inputs must be alike, got f32[row, 48] and f32[row, 56]",
                         std::invalid_argument);
  }

  TEST_CASE("the odd facts of the models are edges") {
    const Model m = small_model("ple");
    const std::string program = m.graph->print();
    CHECK(program.find("layers.5.attn.q_rope, layers.3.attn.cache.keys, layers.3.attn.cache.values") != std::string::npos);
    CHECK(m.graph->find("layers.5.attn.k") == -1);
    const std::string moe = small_model("experts").graph->print();
    CHECK(moe.find("layers.1.attn.v_norm") != std::string::npos);
    CHECK(small_model("experts").graph->find("layers.1.attn.v") == -1);
    CHECK(m.graph->to_dot(m.graph->select("layers.0.*")).find("\"layers.0.attn.q\" ->") != std::string::npos);
  }

  TEST_CASE("every value can be recorded; an identity edit of all of them changes no bit") {
    for (const char* kind : kKinds) {
      CAPTURE(std::string(kind));
      const Model m = small_model(kind, "Q8_0");
      const auto tokens = some_tokens(21);
      Session a = session_of(m), b = session_of(m);
      Trace all = recording({"*"});
      const Tensor expected = logits_of(a, tokens, Arithmetic::exact, &all);
      CHECK(all.recorded.size() == m.graph->values().size());
      for (const Value& v : m.graph->values()) {
        CAPTURE(v.name);
        REQUIRE(all.recorded.count(v.name));
        const Tensor& t = all.recorded[v.name];
        CHECK(t.rows() == (v.type.extent == Extent::keys ? 21 : 21));
        if (v.type.width() != kAny) CHECK(t.width() == v.type.width());
      }
      Trace same;
      same.edits.push_back({"*", [](const std::string&, const Tensor& x) { return x.copy(); }});
      CHECK(same_bits(logits_of(b, tokens, Arithmetic::exact, &same), expected));
    }
  }

  TEST_CASE("recorded cache values are what attention sees, in order of positions") {
    const Model m = small_model("dense");
    const auto tokens = some_tokens(20);
    Session s = session_of(m, 20);
    logits_of(s, {tokens.begin(), tokens.begin() + 12});
    Trace trace = recording({"layers.0.attn.cache.*", "layers.1.attn.cache.positions", "layers.0.attn.k_rope"});
    logits_of(s, {tokens.begin() + 12, tokens.end()}, Arithmetic::exact, &trace);
    const Tensor& positions = trace.recorded["layers.0.attn.cache.positions"];
    REQUIRE(positions.rows() == 12);  // 4 before position 12 in the window of 5, and the 8 new ones
    CHECK(positions.ints()[0] == 8);
    CHECK(positions.ints()[11] == 19);
    CHECK(trace.recorded["layers.1.attn.cache.positions"].rows() == 20);
    CHECK(same_bits(trace.recorded["layers.0.attn.cache.keys"], 4, trace.recorded["layers.0.attn.k_rope"], 0, 8));
  }

  TEST_CASE("an edit acts on what follows and on nothing before") {
    const Model m = small_model("gemma3");
    const auto tokens = some_tokens(9);
    Session a = session_of(m), b = session_of(m), c = session_of(m);
    Trace plain = recording({"layers.1.mid", "layers.2.attn.norm", "layers.1.attn.out"});
    const Tensor before = logits_of(a, tokens, Arithmetic::exact, &plain);
    Trace edited = recording(plain.record);
    edited.edits.push_back({"layers.1.mid", [](const std::string& name, const Tensor& x) {
                              CHECK(name == "layers.1.mid");
                              Tensor y = x.copy();
                              for (int64_t i = 0; i < y.rows() * y.width(); ++i) y.floats()[i] *= 0.5f;
                              return y;
                            }});
    const Tensor after = logits_of(b, tokens, Arithmetic::exact, &edited);
    CHECK(!same_bits(before, after));
    CHECK(same_bits(plain.recorded["layers.1.attn.out"], edited.recorded["layers.1.attn.out"]));
    CHECK(edited.recorded["layers.1.mid"].floats()[3] == 0.5f * plain.recorded["layers.1.mid"].floats()[3]);
    CHECK(!same_bits(plain.recorded["layers.2.attn.norm"], edited.recorded["layers.2.attn.norm"]));
    // An edited cache is what this step's attention reads.
    Trace cache = recording({"layers.0.attn.mix"});
    cache.edits.push_back({"layers.0.attn.cache.values", [](const std::string&, const Tensor& x) {
                             Tensor y = x.copy();
                             std::fill(y.floats(), y.floats() + y.rows() * y.width(), 1.0f);
                             return y;
                           }});
    logits_of(c, tokens, Arithmetic::exact, &cache);
    for (int64_t i = 0; i < 9 * 64; ++i) CHECK(cache.recorded["layers.0.attn.mix"].floats()[i] == doctest::Approx(1.0).epsilon(1e-6));
  }

  TEST_CASE("edits and names that do not fit are refused by name") {
    const Model m = small_model("dense");
    Session s = session_of(m);
    Trace shape;
    shape.edits.push_back({"layers.0.mid", [](const std::string&, const Tensor& x) { return Tensor(DType::f32, x.rows(), {x.width() + 1}); }});
    CHECK_THROWS_WITH_AS(logits_of(s, {1, 2}, Arithmetic::exact, &shape), "layers.0.mid: the edit must give [2, 48], got [2, 49]", std::invalid_argument);
    Trace unknown = recording({"layers.0.middle"});
    CHECK_THROWS_WITH_AS(logits_of(s, {1}, Arithmetic::exact, &unknown), doctest::Contains("did you mean"), std::invalid_argument);
    CHECK(s.position() == 0);
    CHECK_NOTHROW(logits_of(s, {1}));
  }

  TEST_CASE("graphs are values: a replaced op stands in the new graph only") {
    const Model m = small_model("dense");
    const auto tokens = some_tokens(6);
    Session a = session_of(m);
    const Tensor before = logits_of(a, tokens);
    const Model changed = m.with_graph(m.graph->replace("layers.*.ffn.post_norm", std::make_shared<Twice>()));
    Session b = session_of(changed), c = session_of(m);
    CHECK(!same_bits(logits_of(b, tokens), before));
    CHECK(same_bits(logits_of(c, tokens), before));
    CHECK_THROWS_AS(m.graph->replace("layers.9.attn.mix", std::make_shared<Twice>()), std::invalid_argument);
    CHECK_THROWS_AS(m.graph->replace("layers.0.attn.mix", ops::linear()), std::invalid_argument);
    CHECK_THROWS_WITH_AS(m.graph->replace("layers.0.ffn.act", ops::rms_norm(1e-6f)), doctest::Contains("layers.0.ffn.act"), std::invalid_argument);
  }

  TEST_CASE("a run's plan names the weights that the graph holds, also after one was exchanged") {
    const Model m = small_model("dense");
    Graph graph = *m.graph;
    const std::string name = "layers.0.ffn.down";
    graph.hold(name, std::make_shared<Weight>(graph.weight(name)));
    CHECK(&graph.weight(name) != &m.graph->weight(name));
    for (const Graph* g : {static_cast<const Graph*>(&graph), m.graph.get()})
      for (size_t n = 0; n < g->nodes().size(); ++n) {
        const Node& node = g->nodes()[n];
        const auto held = g->plan().weights_of(n);
        REQUIRE(held.size() == node.weights.size());
        for (size_t i = 0; i < held.size(); ++i) CHECK(held[i] == &g->weight(node.weights[i]));
        CHECK(std::ranges::equal(g->plan().inputs_of(n), node.inputs));
        CHECK(std::ranges::equal(g->plan().outputs_of(n), node.outputs));
      }
  }

  TEST_CASE("given values stand in for computed ones") {
    const Model m = small_model("gemma3");
    const auto tokens = some_tokens(5);
    Session a = session_of(m), b = session_of(m);
    Trace trace = recording({"embed"});
    const Tensor expected = logits_of(a, tokens, Arithmetic::exact, &trace);
    Feed f{&b, std::vector<int32_t>(5, 0), 5, Arithmetic::exact, {{"embed", trace.recorded["embed"]}}};
    CHECK(same_bits(feed({&f, 1})[0], expected));
    f.given = {{"embed", Tensor(DType::f32, 5, {47})}};
    CHECK_THROWS_AS(feed({&f, 1}), std::invalid_argument);
  }

  TEST_CASE("given values may come flat, but not in the place of a cache, and fit one chunk") {
    const Model m = small_model("dense");
    const auto tokens = some_tokens(5);
    Session a = session_of(m), b = session_of(m);
    Trace trace = recording({"layers.1.attn.q", "layers.1.attn.cache.keys"});
    const Tensor expected = logits_of(a, tokens, Arithmetic::exact, &trace);
    const Tensor q = trace.recorded["layers.1.attn.q"];
    Feed f{&b, tokens, 5, Arithmetic::exact, {{"layers.1.attn.q", q.reshaped({q.width()})}}};
    CHECK(same_bits(feed({&f, 1})[0], expected));
    f.given = {{"layers.1.attn.cache.keys", trace.recorded["layers.1.attn.cache.keys"]}};
    CHECK_THROWS_WITH_AS(feed({&f, 1}), doctest::Contains("cannot be brought along"), std::invalid_argument);
    // Longer than a chunk, with a trace that only asks for interruptions; and longer than what a step takes of many sessions.
    Session small = session_of(m, 4), large(m.graph, 97, 4096, SessionOptions{4096, 3000, false});
    Trace polls;
    polls.poll = [] {};
    f = {&small, tokens, 1, Arithmetic::exact, {{"embed", Tensor(DType::f32, 5, {48})}}};
    CHECK_THROWS_WITH_AS(feed({&f, 1}, &polls), doctest::Contains("one chunk"), std::invalid_argument);
    CHECK(small.position() == 0);
    Tensor rows(DType::f32, 2500, {48});
    std::fill_n(rows.floats(), 2500 * 48, 0.5f);
    f = {&large, std::vector<int32_t>(2500, 1), 1, Arithmetic::exact, {{"embed", rows}}};
    CHECK(feed({&f, 1})[0].rows() == 1);
  }

  TEST_CASE("routes may be empty, double, or fewer than the router's own; their results must be as many") {
    const Model m = small_model("experts");
    const auto tokens = some_tokens(6);
    const auto edited = [&](std::vector<std::pair<std::string, Trace::Edit>> edits) {
      Session s = session_of(m);
      Trace t;
      t.edits = std::move(edits);
      return logits_of(s, tokens, Arithmetic::exact, &t);
    };
    const auto experts = [](int32_t e) {
      return [e](const std::string&, const Tensor& x) {
        Tensor y = x.copy();
        std::fill_n(y.ints(), y.rows() * y.width(), e);
        return y;
      };
    };
    const auto slots = [](int64_t n) {
      return [n](const std::string&, const Tensor& x) {
        std::vector<int64_t> shape = x.shape();
        shape[0] = n;
        Tensor y(x.dtype(), x.rows(), shape);
        std::fill_n(y.ints(), y.rows() * y.width(), 0);
        return y;
      };
    };
    const std::string at = "layers.*.moe.";
    // Unused slots give what no slot at all gives.
    const Tensor none = edited({{at + "route.experts", experts(-1)}});
    CHECK(same_bits(none, edited({{at + "route.experts", slots(0)}, {at + "route.weights", slots(0)}})));
    CHECK(!same_bits(none, edited({{at + "route.experts", experts(2)}})));
    CHECK(edited({{at + "route.experts", slots(2)}, {at + "route.weights", slots(2)}}).rows() == 6);
    CHECK_THROWS_AS(edited({{at + "route.experts", experts(8)}}), std::invalid_argument);
    CHECK_THROWS_AS(edited({{at + "route.experts", slots(2)}}), std::invalid_argument);
    for (const char* value : {"gate_up", "act", "down"}) CHECK_THROWS_AS(edited({{at + value, slots(1)}}), std::invalid_argument);
  }

  TEST_CASE("no row's logits wanted: what is recorded is computed all the same") {
    const Model m = small_model("ple");
    Session s = session_of(m);
    Trace trace = recording({"logits", "layers.5.out"});
    const Feed f{&s, some_tokens(4), 0, Arithmetic::exact, {}};
    CHECK(feed({&f, 1}, &trace)[0].rows() == 0);
    CHECK(trace.recorded["logits"].rows() == 0);
    CHECK(trace.recorded["layers.5.out"].rows() == 4);
  }
}
