// Generation: many texts, a token of each in every step.
#include "csrc/session/generate.h"

#include "python/bindings/bindings.h"

namespace gemloupe::bindings {
namespace {

// A Generation with what the bindings need around it.
struct Running {
  std::vector<std::shared_ptr<Session>> sessions;
  std::unique_ptr<Generation> generation;

  InUse claim() const {
    std::vector<const Session*> list;
    for (const auto& s : sessions) list.push_back(s.get());
    return InUse(list);
  }
};

SamplerOptions sampler_of(const py::dict& d) {
  SamplerOptions s;
  s.temperature = d["temperature"].cast<float>();
  s.top_k = d["top_k"].cast<int64_t>();
  s.top_p = d["top_p"].cast<float>();
  s.min_p = d["min_p"].cast<float>();
  s.repetition_penalty = d["repetition_penalty"].cast<float>();
  s.repetition_window = d["repetition_window"].cast<int64_t>();
  s.bias = d["logit_bias"].cast<std::map<int32_t, float>>();
  s.suppress = d["suppress"].cast<std::vector<int32_t>>();
  s.seed = d["seed"].cast<uint64_t>();
  return s;
}

}  // namespace

void bind_generate(py::module_& m) {
  py::class_<Running>(m, "Generation", "Texts being written.")
      .def(py::init([](const std::vector<std::shared_ptr<Session>>& sessions, const std::vector<Ids>& prompts,
                       const std::shared_ptr<Tokenizer>& tokenizer, int64_t max_tokens, const py::dict& sampler,
                       const std::vector<std::string>& stop, const std::vector<int32_t>& stop_ids, int64_t together,
                       const std::string& prompt_arithmetic, const std::string& arithmetic) {
             GenerateOptions options;
             options.max_tokens = max_tokens;
             options.sampler = sampler_of(sampler);
             options.stop = stop;
             options.stop_ids = stop_ids;
             options.together = together;
             options.prompt = arithmetic_named(prompt_arithmetic);
             options.decode = arithmetic_named(arithmetic);
             std::vector<std::vector<int32_t>> lists;
             for (const Ids& ids : prompts) lists.push_back(to_ids(ids));
             auto running = std::make_unique<Running>();
             running->sessions = sessions;
             running->generation = std::make_unique<Generation>(sessions, std::move(lists), tokenizer, options);
             return running;
           }),
           py::arg("sessions"), py::arg("prompts"), py::arg("tokenizer"), py::arg("max_tokens"), py::arg("sampler"), py::arg("stop"),
           py::arg("stop_ids"), py::arg("together"), py::arg("prompt_arithmetic"), py::arg("arithmetic"))
      .def_property_readonly("done", [](const Running& r) { return r.generation->done(); })
      .def("step",
           [](Running& r) {
             const InUse in_use = r.claim();
             Trace trace = make_trace({}, {});
             std::vector<Event> events;
             {
               const py::gil_scoped_release release;
               events = r.generation->step(&trace);
             }
             py::list list;
             for (const Event& e : events) list.append(py::make_tuple(e.sequence, e.token, to_str(e.text), name(e.finish)));
             return list;
           },
           "(sequence, token, new text, finish) of each sequence that moved.")
      .def("tokens", [](const Running& r, int64_t sequence) { return r.generation->tokens(sequence); }, py::arg("sequence"))
      .def("text", [](const Running& r, int64_t sequence) { return to_str(r.generation->text(sequence)); }, py::arg("sequence"))
      .def("finish", [](const Running& r, int64_t sequence) { return name(r.generation->finish(sequence)); }, py::arg("sequence"));
}

}  // namespace gemloupe::bindings
