#include "csrc/session/session.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>

#include "csrc/core/error.h"
#include "kernels/common/large_pages.h"

namespace gemloupe {
namespace {

int64_t ring_bytes(const StateType& type) { return type.capacity * type.width * (type.half ? 2 : 4); }

// Untouched pages of a mapping cost nothing, so a long context is paid for only where it is used. Every ring begins at a page.
constexpr int64_t kPage = 4096;
int64_t room(const StateType& type) { return (ring_bytes(type) + kPage - 1) / kPage * kPage; }

// How many slots of a ring hold something after `written` positions.
int64_t used_slots(const StateType& type, int64_t written) { return std::min(type.capacity, written); }

}  // namespace

int64_t usual_chunk(const Graph& graph) {
  const auto has_experts = [](const auto& named) { return named.second->experts > 1; };
  return std::any_of(graph.weights().begin(), graph.weights().end(), has_experts) ? 1024 : 512;
}

Session::Session(std::shared_ptr<const Graph> graph, int64_t vocabulary, int64_t model_context, const SessionOptions& options)
    : graph_(std::move(graph)), vocabulary_(vocabulary) {
  check(options.context >= 0, "session: context must be a number of tokens, got ", options.context);
  check(options.context <= model_context, "session: context ", options.context, " is more than the model's ", model_context);
  check(options.chunk >= 0 && options.chunk <= 65536, "session: chunk must be 1 to 65536 rows, or 0 for the usual, got ", options.chunk);
  limits_.context = options.context ? options.context : std::min<int64_t>(8192, model_context);
  limits_.chunk = std::min(options.chunk ? options.chunk : usual_chunk(*graph_), limits_.context);
  limits_.half_cache = options.half_cache;
  allocate();
}

void Session::allocate() {
  states_.clear();
  int64_t bytes = 0;
  for (const Node& node : graph_->nodes()) {
    std::vector<State> rings;
    for (const StateType& type : graph_->state(node, limits_)) {
      rings.push_back({type, nullptr});
      bytes += room(type);
    }
    states_.push_back(std::move(rings));
  }
  std::shared_ptr<uint8_t> next;
  try {
    next = map_zeros(static_cast<size_t>(bytes));
  } catch (const std::bad_alloc&) {
    throw Error(text("session: there is no room for a cache of ", bytes, " bytes; make the session with a smaller context"));
  }
  for (auto& node : states_)
    for (State& ring : node) {
      ring.memory = next;
      next = {next, next.get() + room(ring.type)};
    }
}

int64_t Session::bytes() const {
  int64_t total = 0;
  for (const auto& node : states_)
    for (const State& s : node) total += ring_bytes(s.type);
  return total;
}

Session Session::fork() const {
  Session other = *this;
  other.allocate();
  for (size_t n = 0; n < states_.size(); ++n)
    for (size_t i = 0; i < states_[n].size(); ++i) {
      const StateType& type = states_[n][i].type;
      std::memcpy(other.states_[n][i].memory.get(), states_[n][i].memory.get(),
                  static_cast<size_t>(used_slots(type, written_) * type.width * (type.half ? 2 : 4)));
    }
  return other;
}

void Session::keep(int64_t tokens) {
  tokens_.resize(static_cast<size_t>(tokens));
  arithmetics_.resize(static_cast<size_t>(tokens));
}

void Session::clear() {
  keep(0);
  written_ = 0;
  altered_ = false;
}

void Session::rewind(int64_t n) {
  check(n >= 0 && n <= position(), "rewind: the session holds ", position(), " tokens, asked to forget ", n);
  const int64_t target = position() - n;
  // A sliding ring still serves if the oldest key that the next row sees has not been overwritten.
  bool held = true;
  for (const auto& node : states_)
    for (const State& s : node) {
      const int64_t oldest = s.type.reach ? std::max<int64_t>(0, target - s.type.reach + 1) : 0;
      held &= oldest >= written_ - s.type.capacity;
    }
  if (held || target == 0) {
    keep(target);
    if (target == 0) clear();
    return;
  }
  check(!altered_, "rewind: ", n, " tokens are more than the sliding caches hold, and this session was fed with edits or given values, "
        "so its past cannot be read again; fork() before, or make the session with a larger chunk");
  Session again = *this;
  again.allocate();
  again.clear();
  for (auto first = arithmetics_.begin(), end = first + target, last = first; first != end; first = last) {
    last = std::find_if(first, end, [&](Arithmetic a) { return a != *first; });
    const auto token = tokens_.begin() + (first - arithmetics_.begin());
    const Feed past{&again, std::vector<int32_t>(token, token + (last - first)), 0, *first, {}};
    feed({&past, 1});
  }
  *this = std::move(again);
}

namespace {

struct Progress {
  int64_t done = 0;   // tokens of the feed read so far
  int64_t before = 0; // the session's position when the feed began
};

void check_feeds(std::span<const Feed> feeds) {
  check(!feeds.empty(), "feed: there is nothing to read");
  for (size_t i = 0; i < feeds.size(); ++i) {
    const Feed& f = feeds[i];
    const std::string at = feeds.size() == 1 ? "feed: " : text("feed ", i, ": ");
    check(f.session, at, "there is no session");
    check(f.session->graph() == feeds[0].session->graph(), at, "all sessions of a step must be of one model");
    for (size_t k = 0; k < i; ++k) check(feeds[k].session != f.session, at, "the session stands twice in one step");
    const int64_t n = static_cast<int64_t>(f.tokens.size());
    check(n > 0, at, "there are no tokens; give at least one");
    check(f.wanted >= 0 && f.wanted <= n, at, "wanted logits must be those of 0 to ", n, " last tokens, got ", f.wanted);
    check(f.session->position() + n <= f.session->context(), at, "the context holds ", f.session->context(), " tokens; ",
          f.session->position(), " are read and ", n, " come: make the session with a larger context");
    check(f.given.empty() || (feeds.size() == 1 && n <= f.session->chunk()), at,
          "given values must come with a single feed that fits one chunk of ", f.session->chunk());
  }
}

}  // namespace

std::vector<Tensor> feed(std::span<const Feed> feeds, Trace* trace) {
  check_feeds(feeds);
  const bool watched = trace && (!trace->record.empty() || !trace->edits.empty());
  for (const Feed& f : feeds) {
    for (size_t t = 0; t < f.tokens.size(); ++t)
      check(f.tokens[t] >= 0 && f.tokens[t] < f.session->vocabulary_, "feed: token ", t, " is ", f.tokens[t], ", the vocabulary has ids 0 to ",
            f.session->vocabulary_ - 1);
    check(!watched || static_cast<int64_t>(f.tokens.size()) <= f.session->chunk(), "feed: a trace sees all rows at once, but ", f.tokens.size(),
          " tokens are more than the session's chunk of ", f.session->chunk(), "; make the session with a larger chunk");
  }
  const Graph& graph = *feeds[0].session->graph();
  const int64_t width = graph.values()[graph.value("logits")].type.width();
  std::vector<Tensor> logits(feeds.size(), Tensor(DType::f32, 0, {width}));

  std::vector<Progress> progress;
  for (const Feed& f : feeds) progress.push_back({0, f.session->position()});
  constexpr int64_t kMostRows = 2048;  // of one step, over all sessions: bounds the memory of its values
  // Feeds of one arithmetic stand together, so that a linear layer reads its weight once for each arithmetic of the step.
  std::vector<size_t> order(feeds.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return feeds[a].arithmetic < feeds[b].arithmetic; });
  for (;;) {
    Step step;
    StepStates states;
    std::vector<size_t> whose;
    for (size_t i : order) {
      const Feed& f = feeds[i];
      const int64_t left = static_cast<int64_t>(f.tokens.size()) - progress[i].done;
      const int64_t room = watched || !f.given.empty() ? left : kMostRows - step.rows();
      const int64_t rows = std::min({left, f.session->limits_.chunk, room});
      if (rows <= 0) continue;
      const int64_t position = progress[i].before + progress[i].done;
      step.segments.push_back({step.rows(), rows, position, f.arithmetic});
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t t = progress[i].done + r;
        if (t >= static_cast<int64_t>(f.tokens.size()) - f.wanted) step.wanted.push_back(static_cast<int32_t>(step.rows()));
        step.tokens.push_back(f.tokens[static_cast<size_t>(t)]);
        step.positions.push_back(static_cast<int32_t>(position + r));
      }
      step.given.insert(f.given.begin(), f.given.end());
      // From here on the rings may hold the step's rows, whether or not it ends well.
      f.session->written_ = std::max(f.session->written_, position + rows);
      states.push_back(&f.session->states_);
      whose.push_back(i);
    }
    if (whose.empty()) break;
    std::vector<std::string> outputs;
    if (!step.wanted.empty()) outputs.push_back("logits");
    const std::vector<Tensor> out = run(graph, step, states, outputs, trace);
    int64_t row = 0;
    for (size_t s = 0; s < whose.size(); ++s) {
      const Feed& f = feeds[whose[s]];
      Progress& p = progress[whose[s]];
      const int64_t rows = step.segments[s].rows, first = static_cast<int64_t>(f.tokens.size()) - f.wanted;
      const int64_t begin = std::max(p.done, first), made = std::max<int64_t>(0, p.done + rows - begin);
      Tensor& to = logits[whose[s]];
      if (made && made == f.wanted && made == out[0].rows() && !watched) {
        to = out[0];
      } else if (made) {
        if (!to.rows()) to = Tensor(DType::f32, f.wanted, {width});
        std::memcpy(to.floats() + (begin - first) * width, out[0].floats() + row * width, static_cast<size_t>(made * width) * 4);
      }
      row += made;
      // A session has read what complete steps brought, also when a later one is interrupted.
      f.session->altered_ = f.session->altered_ || !f.given.empty() || (trace && !trace->edits.empty());
      f.session->tokens_.insert(f.session->tokens_.end(), f.tokens.begin() + p.done, f.tokens.begin() + p.done + rows);
      f.session->arithmetics_.resize(f.session->tokens_.size(), f.arithmetic);
      p.done += rows;
    }
  }
  return logits;
}

}  // namespace gemloupe
