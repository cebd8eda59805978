// A first look from C++: opens a model, prints one layer of its graph, reads values by name while a prompt runs, and writes.
//   look MODEL.gguf ["a prompt"]
#include <cmath>
#include <cstdio>
#include <exception>
#include <memory>

#include "csrc/core/error.h"
#include "csrc/gemma/model.h"
#include "csrc/session/generate.h"
#include "csrc/session/session.h"

using namespace gemloupe;

namespace {

std::shared_ptr<Session> begin(const Model& model) {
  return std::make_shared<Session>(model.graph, model.config.vocabulary, model.config.context, SessionOptions{.context = 512});
}

double norm(const Tensor& value) {
  double sum = 0;
  for (int64_t i = 0; i < value.rows() * value.width(); ++i) sum += double(value.floats()[i]) * value.floats()[i];
  return std::sqrt(sum);
}

void look(const std::string& path, const std::string& prompt) {
  const Model model = load_model(path);
  if (!model.tokenizer) throw Error(path + ": brings no tokenizer, and this example speaks in text");
  const std::vector<int32_t> ids = model.tokenizer->encode(prompt, false, true);

  std::printf("%s, %zu layers. The first one:\n%s\n", model.config.name.c_str(), model.config.layers.size(),
              model.graph->print(model.graph->select("layers.0.*")).c_str());

  // A trace records values by name, and may change them. It belongs to the call: the graph knows nothing of it.
  Trace trace;
  trace.record = {"layers.5.attn.*", "layers.5.mid", "layers.5.out"};
  trace.edits.push_back({"layers.5.mid", [](const std::string&, const Tensor& value) {
                           Tensor half = value.copy();
                           for (int64_t i = 0; i < half.rows() * half.width(); ++i) half.floats()[i] *= 0.5f;
                           return half;
                         }});
  const auto session = begin(model);
  feed(std::vector<Feed>{{.session = session.get(), .tokens = ids}}, &trace);
  for (const auto& [name, value] : trace.recorded) {
    std::string shape;
    for (int64_t n : value.shape()) shape += ", " + std::to_string(n);
    std::printf("%-20s [%lld%s]  norm %.4g\n", name.c_str(), static_cast<long long>(value.rows()), shape.c_str(), norm(value));
  }

  std::printf("\n%s", prompt.c_str());
  Generation generation({begin(model)}, {ids}, model.tokenizer, {.max_tokens = 32});
  while (!generation.done())
    for (const Event& event : generation.step()) std::printf("%s", event.text.c_str()), std::fflush(stdout);
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "look MODEL.gguf [\"a prompt\"]\n");
    return 2;
  }
  try {
    look(argv[1], argc > 2 ? argv[2] : "The capital of France is");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "look: %s\n", e.what());
    return 1;
  }
}
