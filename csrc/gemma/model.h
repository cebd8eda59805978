// A Gemma: configuration, graph and weights, tokenizer. Loading, building, making at random, saving.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "csrc/gemma/config.h"
#include "csrc/graph/graph.h"
#include "csrc/io/tokenizer.h"

namespace gemloupe {

struct Model {
  Config config;
  std::shared_ptr<const Graph> graph;
  std::shared_ptr<const Tokenizer> tokenizer;      // null where the files bring none
  std::shared_ptr<const Checkpoint> source;        // null for a random model
  std::string path;

  // The same model with another graph (graphs share weights).
  Model with_graph(Graph graph) const;
};

struct LoadOptions {
  bool pack = true;                // rearrange what is multiplied by (kernels/strips), where that makes products faster
  bool verify = false;             // of a .gem file: read all of it and compare checksums
  std::function<void()> poll = {};  // called between weights; may throw
};
// A GGUF file, a .safetensors file beside its config.json, a folder of them, or a .gem file. Weights stay packed, and mapped but for those that
// are rearranged: their pages of the file are given back.
Model load_model(const std::string& path, const LoadOptions& options = {});

// Gives every weight that a node multiplies by its strips, if its format has any. Rows in memory of our own are dropped, rows in a
// mapped file (of which `file` is the owner) stay there, out of memory. poll() is called between weights and may throw.
void add_strips(Graph& graph, const void* file, const std::function<void()>& poll = {});

// The vocabulary of a GGUF file, or the tokenizer.json of a folder; null where there is none.
std::shared_ptr<const Tokenizer> tokenizer_from(const Checkpoint& checkpoint);

// The graph of a configuration over these weights (ours by name).
Graph build_graph(const Config& config, Weights weights);

struct RandomOptions {
  std::string format = "F32";  // of matrices; norms are F32
  int64_t layers = 0;          // 0: all; otherwise the first so many (their caches' sources included)
  int64_t vocabulary = 0;      // 0: the configuration's
  uint64_t seed = 0;
  std::function<void()> poll = {};  // called between slabs of rows; may throw Interrupted
};
Model random_model(Config config, const RandomOptions& options);

// What (pattern, format or transform) makes of a weight; the first pattern that matches counts, vectors are never touched.
struct Quantization {
  std::string pattern;
  std::function<Weight(const std::string& name, const Weight& w)> apply;
};
// A pattern that matches no matrix is an error. poll() is called between weights and may throw.
Model quantize(const Model& model, const std::vector<Quantization>& rules, const std::function<void()>& poll = {});
// Packs into a format, a slab of rows at a time; poll() is called between slabs and may throw.
Weight repack(const Weight& w, std::shared_ptr<const Format> format, const std::function<void()>& poll = {});

// Files that others read: llama.cpp and Transformers. Grids have no GGUF type and are written as F32 values. poll as above.
void save_gguf(const Model& model, const std::string& path, const std::function<void()>& poll = {});
void save_folder(const Model& model, const std::string& folder, const std::function<void()>& poll = {});
// Our own file, which is mapped as it is: gem.h.
void save_gem(const Model& model, const std::string& path, const std::function<void()>& poll = {});
// What a folder's tokenizer_config.json says of a vocabulary.
std::string tokenizer_config_json(const Tokenizer& tokenizer);
// Files hold weights, not programs: throws for a graph with ops of its own, which would come back as another model.
void refuse_other_graphs(const Model& model, const std::string& path);

}  // namespace gemloupe
