#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "csrc/session/generate.h"
#include "tests/csrc/models.h"

using namespace gemloupe;
using namespace gemloupe::testing;

namespace {

// 97 tokens: control tokens, bytes' pieces would be too many, so letters and a few pairs.
std::shared_ptr<const Tokenizer> letters() {
  Vocabulary v;
  v.kind = Vocabulary::Kind::scores;
  for (int i = 0; i < 97; ++i) {
    std::string piece;
    if (i < 3) piece = i == 0 ? "<pad>" : i == 1 ? "<eos>" : "<bos>";
    else if (i < 29) piece = std::string(1, static_cast<char>('a' + i - 3));
    else piece = std::string(1, static_cast<char>('a' + (i - 29) % 26)) + static_cast<char>('a' + (i - 29) / 26);
    v.pieces.push_back(piece);
    v.scores.push_back(i < 3 ? -100.0f : -static_cast<float>(i));
    v.types.push_back(i < 3 ? Vocabulary::control : Vocabulary::normal);
  }
  v.eos = 1;
  v.bos = 2;
  return std::make_shared<const Tokenizer>(std::move(v));
}

std::shared_ptr<Session> fresh_session(const Model& m, int64_t context = 128) {
  return std::make_shared<Session>(session_of(m, 16, context));
}

Generation run(const Model& m, std::vector<std::vector<int32_t>> prompts, const GenerateOptions& options, int64_t context = 128) {
  std::vector<std::shared_ptr<Session>> sessions;
  for (size_t i = 0; i < prompts.size(); ++i) sessions.push_back(fresh_session(m, context));
  Generation g(sessions, std::move(prompts), letters(), options);
  while (!g.done()) g.step();
  return g;
}

GenerateOptions hot(int64_t max_tokens, uint64_t seed) {
  GenerateOptions o;
  o.max_tokens = max_tokens;
  o.sampler.temperature = 1.0f;
  o.sampler.seed = seed;
  return o;
}

}  // namespace

TEST_SUITE("generate") {
  TEST_CASE("greedy takes the best logit of each step") {
    const Model m = small_model("dense");
    GenerateOptions o;
    o.max_tokens = 12;
    const Generation g = run(m, {{3, 4, 5}}, o);
    Session s = session_of(m);
    std::vector<int32_t> next{3, 4, 5};
    for (int32_t token : g.tokens(0)) {
      const Tensor l = logits_of(s, next);
      const float* row = l.floats() + (l.rows() - 1) * l.width();
      CHECK(token == std::max_element(row, row + l.width()) - row);
      next = {token};
    }
    CHECK(g.tokens(0).size() == 12);
    CHECK(g.finish(0) == Finish::length);
  }

  TEST_CASE("the same seed gives the same text, whatever else runs beside it") {
    const Model m = small_model("experts");
    const Generation alone = run(m, {{3, 4, 5}}, hot(20, 11));
    std::vector<std::vector<int32_t>> many;
    for (int32_t i = 0; i < 20; ++i) many.push_back({3 + i, 4, 5});
    GenerateOptions few = hot(20, 11);
    few.together = 3;
    const Generation together = run(m, many, hot(20, 11)), in_turn = run(m, many, few);
    CHECK(together.tokens(0) == alone.tokens(0));
    for (int64_t i = 0; i < 20; ++i) CHECK(together.tokens(i) == in_turn.tokens(i));
    CHECK(run(m, {{3, 4, 5}}, hot(20, 12)).tokens(0) != alone.tokens(0));
  }

  TEST_CASE("a stop text is found across token borders and never shown") {
    const Model m = small_model("dense");
    GenerateOptions o = hot(60, 5);
    const std::string whole = run(m, {{3}}, o).text(0);
    REQUIRE(whole.size() > 12);
    for (size_t at = 3; at + 3 < whole.size() && at < 30; ++at) {
      const std::string stop = whole.substr(at, 3);
      o.stop = {"never seen", stop};
      std::vector<std::shared_ptr<Session>> sessions{fresh_session(m)};
      Generation g(sessions, {{3}}, letters(), o);
      std::string streamed;
      while (!g.done())
        for (const Event& e : g.step()) streamed += e.text;
      CHECK(streamed == whole.substr(0, whole.find(stop)));
      CHECK(g.text(0) == streamed);
      CHECK(g.finish(0) == Finish::stop_text);
    }
  }

  TEST_CASE("stop ids end a sequence without being part of it, suppressed ids never come, bias decides") {
    const Model m = small_model("dense");
    GenerateOptions o = hot(30, 9);
    const auto made = run(m, {{7}}, o).tokens(0);
    o.stop_ids = {made[4]};
    const Generation g = run(m, {{7}}, o);
    const auto first = std::find(made.begin(), made.end(), made[4]) - made.begin();
    CHECK(g.tokens(0) == std::vector<int32_t>(made.begin(), made.begin() + first));
    CHECK(g.finish(0) == Finish::stop_id);
    o = hot(30, 9);
    o.sampler.suppress = {made[0], made[1], made[2]};
    const Generation without = run(m, {{7}}, o);  // tokens() is a reference into it
    for (int32_t t : without.tokens(0)) CHECK((t != made[0] && t != made[1] && t != made[2]));
    o = hot(5, 9);
    o.sampler.bias = {{42, 1000.0f}};
    CHECK(run(m, {{7}}, o).tokens(0) == std::vector<int32_t>(5, 42));
  }

  TEST_CASE("the context ends a sequence, and too long a prompt is an error") {
    const Model m = small_model("gemma3");
    GenerateOptions o = hot(100, 3);
    const Generation g = run(m, {{3, 4, 5}}, o, 10);
    CHECK(g.finish(0) == Finish::context);
    CHECK(g.tokens(0).size() == 8);  // the last one is made from a full context
    CHECK_THROWS_AS(run(m, {some_tokens(11)}, o, 10), std::invalid_argument);
    CHECK_THROWS_AS(run(m, {{}}, o), std::invalid_argument);
  }

  TEST_CASE("settings without meaning are refused") {
    SamplerOptions s;
    CHECK_NOTHROW(s.check_for(97));
    for (auto spoil : std::vector<std::function<void(SamplerOptions&)>>{
             [](auto& o) { o.temperature = -1; }, [](auto& o) { o.temperature = NAN; }, [](auto& o) { o.top_p = 0; },
             [](auto& o) { o.top_p = 1.5f; }, [](auto& o) { o.min_p = -0.1f; }, [](auto& o) { o.top_k = -1; },
             [](auto& o) { o.repetition_penalty = 0; }, [](auto& o) { o.bias = {{97, 1.0f}}; }, [](auto& o) { o.suppress = {-1}; }}) {
      SamplerOptions bad;
      spoil(bad);
      CHECK_THROWS_AS(bad.check_for(97), std::invalid_argument);
    }
  }
}
