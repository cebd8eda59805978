// Puts the router and the format into a small mixture of experts, and checks what must hold whatever the numbers.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <set>

#include "csrc/core/error.h"
#include "csrc/gemma/model.h"
#include "csrc/session/session.h"
#include "sign.h"
#include "top_p.h"

using namespace gemloupe;

namespace {

// Near what five of eight equal experts reach, so that some rows need four, five or six.
constexpr float kReached = 0.66f;
int wrong = 0;

void expect(bool holds, const char* what) {
  std::printf("%s  %s\n", holds ? "holds" : "FAILS", what);
  wrong += !holds;
}

// Gemma 4's mixture of experts in small: two layers, eight experts of which two are used.
Model small_model() {
  Config c = released_config("26b");
  c.name = "small";
  c.vocabulary = 97;
  c.hidden = 48;
  c.experts = 8;
  c.experts_used = 2;
  c.expert_width = 24;
  c.end_ids = {1};
  c.layers = {c.layers.front(), c.layers.back()};
  for (size_t l = 0; l < c.layers.size(); ++l) {
    LayerConfig& layer = c.layers[l];
    layer.cache_source = static_cast<int64_t>(l);
    layer.heads = 4;
    layer.kv_heads = 2;
    layer.head_dim = 16;
    layer.ffn_width = 64;
    layer.rope.rotated = layer.full ? 2 : 0;
    if (!layer.full) layer.window = 5;
  }
  return random_model(c, {.seed = 7});
}

struct Seen {
  Tensor logits;
  std::map<std::string, Tensor> values;
};

Seen run(const Model& model, std::vector<std::string> record) {
  std::vector<int32_t> tokens{2};
  for (int32_t i = 0; i < 20; ++i) tokens.push_back(3 + i * 37 % 90);
  Session session(model.graph, model.config.vocabulary, model.config.context, {.context = 64});
  Trace trace;
  trace.record = std::move(record);
  const std::vector<Feed> feeds{{.session = &session, .tokens = tokens, .wanted = static_cast<int64_t>(tokens.size())}};
  Tensor logits = feed(feeds, &trace).at(0);
  return {std::move(logits), std::move(trace.recorded)};
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.rows() == b.rows() && a.width() == b.width() &&
         std::memcmp(a.floats(), b.floats(), static_cast<size_t>(a.bytes())) == 0;
}

void a_router(const Model& base) {
  const Model routed = base.with_graph(base.graph->replace("layers.*.moe.route", top_p(kReached, 8)));
  const Seen seen = run(routed, {"layers.*.moe.scores", "layers.*.moe.route.*"});

  bool fewest = true, sums = true;
  std::set<int64_t> counts;
  for (const char* layer : {"layers.0.moe.", "layers.1.moe."}) {
    const Tensor& scores = seen.values.at(std::string(layer) + "scores");
    const Tensor& experts = seen.values.at(std::string(layer) + "route.experts");
    const Weight& scale = routed.graph->weight(std::string(layer) + "route");
    for (int64_t t = 0; t < scores.rows(); ++t) {
      const float* s = scores.matrix().row(t);
      double all = 0, reached = 0, without_last = 0, weights = 0;
      for (int64_t e = 0; e < scores.width(); ++e) all += std::exp(double(s[e]));
      int64_t used = 0;
      for (; used < 8 && experts.int_matrix().row(t)[used] >= 0; ++used) {
        const int32_t e = experts.int_matrix().row(t)[used];
        without_last = reached;
        reached += std::exp(double(s[e])) / all;
        weights += seen.values.at(std::string(layer) + "route.weights").matrix().row(t)[used] /
                   reinterpret_cast<const float*>(scale.data)[e];
      }
      counts.insert(used);
      // Eight roundings of numbers below one, in float there and in double here.
      fewest = fewest && reached >= kReached - 8 * 0x1p-24 && without_last < kReached + 8 * 0x1p-24;
      sums = sums && std::fabs(weights - 1) <= 16 * 0x1p-24;
    }
  }
  expect(fewest, "the fewest experts whose probabilities reach p");
  expect(sums, "their weights sum to one before each expert's own scale");
  expect(counts.size() > 1, "the number of experts differs from row to row");

  const Seen plain = run(base, {});
  const Seen few = run(base.with_graph(base.graph->replace("layers.*.moe.route", top_p(1e-6f, 1))), {"layers.0.moe.route.*"});
  expect(!same_bits(plain.logits, seen.logits), "another router gives other logits");
  expect(few.values.at("layers.0.moe.route.experts").width() == 1, "a router chooses its number of slots");
  expect(same_bits(plain.logits, run(base, {}).logits), "the base is as it was: graphs are values");

  std::string message;
  try {
    base.graph->replace("layers.*.moe.route", top_p(0.5f, 9));
  } catch (const std::invalid_argument& e) {
    message = e.what();
  }
  expect(message.find("layers.0.moe.route") != std::string::npos && message.find("got 9") != std::string::npos,
         "a router that does not fit is refused when the graph is built, by the node's name");
}

void a_format(const Model& base) {
  const auto sign = sign_format();
  const auto into = [&](std::shared_ptr<const Format> format) {
    return Quantization{"layers.*.{ffn,moe}.*", [format](const std::string&, const Weight& w) { return repack(w, format); }};
  };
  const Model packed = quantize(base, {into(sign)});
  const Weight& before = *base.graph->weights().at("layers.0.ffn.up");
  const Weight& after = *packed.graph->weights().at("layers.0.ffn.up");
  expect(after.format == sign && after.bytes() == after.rows * (4 + 6), "48 columns take six bytes and a scale");

  std::vector<float> w(static_cast<size_t>(after.rows * after.cols)), again(w.size());
  sign->unpack(after, 0, Matrix<float>(w.data(), after.rows, after.cols));
  const Weight twice = sign->pack(Matrix<const float>(w.data(), after.rows, after.cols));
  sign->unpack(twice, 0, Matrix<float>(again.data(), after.rows, after.cols));
  expect(w == again, "a second trip through pack and unpack changes nothing");
  bool signs = true;
  for (size_t i = 0; i < w.size(); ++i) signs = signs && (w[i] >= 0) == (reinterpret_cast<const float*>(before.data)[i] >= 0);
  expect(signs, "every weight keeps its sign");

  // The same values as F32: the default matmul unpacks a tile at a time and sums in the same order, so the bits agree.
  const Model plain = quantize(packed, {into(format_named("F32"))});
  const Seen seen = run(packed, {"layers.0.ffn.up"});
  expect(same_bits(seen.logits, run(plain, {}).logits), "the format's matmul has the bits of its unpacked weight");
  expect(!same_bits(seen.logits, run(base, {}).logits), "one bit a weight does not do what 32 do");

  const Model both = packed.with_graph(packed.graph->replace("layers.*.moe.route", top_p(0.9f, 4)));
  bool finite = true;
  const Tensor logits = run(both, {}).logits;
  for (int64_t i = 0; i < logits.rows() * logits.width(); ++i) finite = finite && std::isfinite(logits.floats()[i]);
  expect(finite, "router and format together");
}

}  // namespace

int main() {
  try {
    const Model base = small_model();
    std::printf("%s\n", base.graph->print(base.graph->select("layers.0.moe.*")).c_str());
    a_router(base);
    a_format(base);
  } catch (const std::exception& e) {
    std::printf("FAILS  %s\n", e.what());
    return 1;
  }
  std::printf(wrong ? "%d wrong\n" : "all holds\n", wrong);
  return wrong ? 1 : 0;
}
