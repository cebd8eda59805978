// A sequence being read or written: which tokens it has seen, and the caches that the graph keeps for it.
// Many sessions advance in one step; what one of them computes does not depend on the others.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "csrc/graph/run.h"

namespace gemloupe {

struct SessionOptions {
  int64_t context = 0;       // the most tokens; 0: 8192 or the model's own limit, whichever is less
  int64_t chunk = 0;         // the most rows that one step brings; prompts are cut into chunks of it. 0: usual_chunk()
  bool half_cache = false;   // keys and values in half precision
};

// 512; where the graph has experts 1024, for each of them sees only a few of the rows, and its weights are read once a step.
int64_t usual_chunk(const Graph& graph);

class Session {
 public:
  // `vocabulary` bounds token ids; `model_context` is the model's own limit.
  Session(std::shared_ptr<const Graph> graph, int64_t vocabulary, int64_t model_context, const SessionOptions& options);

  const std::shared_ptr<const Graph>& graph() const { return graph_; }
  int64_t position() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t context() const { return limits_.context; }
  int64_t chunk() const { return limits_.chunk; }
  const std::vector<int32_t>& tokens() const { return tokens_; }
  const std::vector<Arithmetic>& arithmetics() const { return arithmetics_; }  // in which each token was read
  int64_t bytes() const;  // of its caches, whether touched or not

  // A session of its own with the same past.
  Session fork() const;
  // Forgets the last n tokens. Exact: where a sliding cache no longer holds what comes before, the kept tokens are read again,
  // each in its own arithmetic.
  void rewind(int64_t n);
  // Forgets everything.
  void clear();

  // The session in a file, and back for the same model; a file of another model, a damaged or a foreign one is refused (Error).
  void save(const std::string& path) const;
  static Session load(const std::string& path, std::shared_ptr<const Graph> graph, int64_t vocabulary, int64_t model_context);

 private:
  friend std::vector<Tensor> feed(std::span<const struct Feed> feeds, Trace* trace);
  void allocate();
  void keep(int64_t tokens);  // the first so many, as far as tokens_ and arithmetics_ go

  std::shared_ptr<const Graph> graph_;
  int64_t vocabulary_;
  Limits limits_;
  std::vector<int32_t> tokens_;
  std::vector<Arithmetic> arithmetics_;     // of each token
  std::vector<std::vector<State>> states_;  // of each node
  int64_t written_ = 0;                     // positions ever written: older ones may be gone from sliding rings
  bool altered_ = false;                    // by edits or given values: its past cannot be read again
};

// What one session reads next.
struct Feed {
  Session* session = nullptr;
  std::vector<int32_t> tokens;
  int64_t wanted = 1;                          // logits of this many of the last tokens
  Arithmetic arithmetic = Arithmetic::exact;
  std::map<std::string, Tensor> given = {};    // values brought along, one row a token, only with a single feed in one chunk
};

// Reads all feeds, together and in chunks, and returns each one's logits, f32[wanted, vocabulary]. Checks everything that comes
// from outside first. After an interruption each session has read what complete steps brought: position() says how far. A trace
// that records or edits sees all rows at once, so each feed must then fit its session's chunk.
std::vector<Tensor> feed(std::span<const Feed> feeds, Trace* trace = nullptr);

// A number that two graphs share only if they have the same nodes and, as far as samples of their bytes tell, the same weights.
uint64_t fingerprint(const Graph& graph);

}  // namespace gemloupe
