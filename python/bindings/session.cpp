// Session, and steps of many of them.
#include "csrc/session/session.h"

#include "csrc/core/error.h"
#include "python/bindings/bindings.h"

namespace gemloupe::bindings {
namespace {

Feed to_feed(const std::shared_ptr<Session>& session, const Ids& tokens, int64_t wanted, const std::string& arithmetic) {
  check(session != nullptr, "feed: there is no session");
  return Feed{session.get(), to_ids(tokens), wanted, arithmetic_named(arithmetic), {}};
}

py::list feed_many(const std::vector<std::tuple<std::shared_ptr<Session>, Ids, int64_t, std::string>>& list) {
  std::vector<Feed> feeds;
  std::vector<const Session*> sessions;
  for (const auto& [session, tokens, wanted, arithmetic] : list) {
    feeds.push_back(to_feed(session, tokens, wanted, arithmetic));
    sessions.push_back(session.get());
  }
  const InUse in_use(sessions);
  Trace trace = make_trace({}, {});
  std::vector<Tensor> logits;
  {
    const py::gil_scoped_release release;
    logits = feed(feeds, &trace);
  }
  py::list arrays;
  for (const Tensor& t : logits) arrays.append(to_numpy(t, true));
  return arrays;
}

// (logits, {name: value}) of one session's rows, watched.
py::tuple run_watched(const std::shared_ptr<Session>& session, const Ids& tokens, int64_t wanted, const std::string& arithmetic,
                      const std::vector<std::string>& record, const std::vector<std::pair<std::string, py::object>>& edits,
                      const py::dict& given) {
  Feed one = to_feed(session, tokens, wanted, arithmetic);
  const Graph& graph = *session->graph();
  for (const auto& [name, values] : given) {
    const std::string value = py::str(name);
    one.given[value] = to_tensor(values, graph.values()[graph.value(value)].type.dtype, value + ": the given input");
  }
  const InUse in_use(*session);
  Trace trace = make_trace(record, edits);
  std::vector<Tensor> logits;
  {
    const py::gil_scoped_release release;
    logits = feed({&one, 1}, &trace);
  }
  py::dict recorded;
  for (const Value& v : graph.values())  // in the order of the program
    if (const auto found = trace.recorded.find(v.name); found != trace.recorded.end())
      recorded[to_str(v.name)] = to_numpy(found->second, true);
  return py::make_tuple(to_numpy(logits.at(0), true), recorded);
}

// A number for each value, equal only if its bits are: how compare finds where two models part without keeping their values.
py::dict digests(const std::shared_ptr<Session>& session, const Ids& tokens, const std::string& arithmetic) {
  const Feed one = to_feed(session, tokens, 1, arithmetic);
  const InUse in_use(*session);
  Trace trace = make_trace({}, {});
  std::map<std::string, uint64_t> digest;
  trace.edits.emplace_back("*", [&digest](const std::string& name, const Tensor& value) {
    uint64_t h = 0xcbf29ce484222325u;
    const int64_t count = value.rows() * value.width();
    for (int64_t i = 0; i < count; ++i) {
      h = (h ^ static_cast<uint32_t>(value.ints()[i])) * 0x9e3779b97f4a7c15u;
      h ^= h >> 29;
    }
    digest[name] = h ^ static_cast<uint64_t>(count);
    return value;
  });
  {
    const py::gil_scoped_release release;
    feed({&one, 1}, &trace);
  }
  py::dict all;
  for (const Value& v : session->graph()->values())
    if (const auto found = digest.find(v.name); found != digest.end()) all[to_str(v.name)] = found->second;
  return all;
}

// (arithmetic, how many tokens), in the order in which they were read.
py::list arithmetics(const Session& session) {
  const InUse in_use(session);
  py::list runs;
  for (auto first = session.arithmetics().begin(), end = session.arithmetics().end(), last = first; first != end; first = last) {
    while (last != end && *last == *first) ++last;
    runs.append(py::make_tuple(name(*first), last - first));
  }
  return runs;
}

SessionOptions options_of(int64_t context, int64_t chunk, bool half) {
  SessionOptions options;
  options.context = context;
  options.chunk = chunk;
  options.half_cache = half;
  return options;
}

}  // namespace

void bind_session(py::module_& m) {
  py::class_<Session, std::shared_ptr<Session>>(m, "Session", "One sequence: the tokens it has seen and its caches.")
      .def(py::init([](const std::shared_ptr<Graph>& graph, int64_t vocabulary, int64_t model_context, int64_t context, int64_t chunk, bool half) {
             return std::make_shared<Session>(graph, vocabulary, model_context, options_of(context, chunk, half));
           }),
           py::arg("graph"), py::arg("vocabulary"), py::arg("model_context"), py::arg("context"), py::arg("chunk"), py::arg("half"))
      .def_property_readonly("position", &Session::position)
      .def_property_readonly("context", &Session::context)
      .def_property_readonly("chunk", &Session::chunk)
      .def_property_readonly("bytes", &Session::bytes)
      .def_property_readonly("tokens",
                             [](const Session& s) {
                               const InUse in_use(s);
                               return s.tokens();
                             })
      .def_property_readonly("arithmetics", &arithmetics)
      .def("fork",
           [](const Session& s) {
             const InUse in_use(s);
             const py::gil_scoped_release release;
             return std::make_shared<Session>(s.fork());
           })
      .def(
          "rewind",
          [](Session& s, int64_t n) {
            const InUse in_use(s);
            const py::gil_scoped_release release;
            s.rewind(n);
          },
          py::arg("n"))
      .def("clear",
           [](Session& s) {
             const InUse in_use(s);
             s.clear();
           })
      .def(
          "save",
          [](const Session& s, const std::string& path) {
            const InUse in_use(s);
            const py::gil_scoped_release release;
            s.save(path);
          },
          py::arg("path"))
      .def("run", &run_watched, py::arg("tokens"), py::arg("wanted"), py::arg("arithmetic"), py::arg("record"), py::arg("edits"),
           py::arg("given"))
      .def("digests", &digests, py::arg("tokens"), py::arg("arithmetic"));

  m.def(
      "load_session",
      [](const std::string& path, const std::shared_ptr<Graph>& graph, int64_t vocabulary, int64_t model_context) {
        const py::gil_scoped_release release;
        return std::make_shared<Session>(Session::load(path, graph, vocabulary, model_context));
      },
      py::arg("path"), py::arg("graph"), py::arg("vocabulary"), py::arg("model_context"));
  m.def("feed", &feed_many, py::arg("feeds"));
}

}  // namespace gemloupe::bindings
