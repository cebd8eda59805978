// The checkpoints' spellings of the weights. Ours are the nodes' names: layers.3.attn.q, layers.3.ffn.norm, embed, head.norm.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "csrc/gemma/config.h"

namespace gemloupe {

// A weight that the configuration asks for.
struct WeightSpec {
  enum class Kind { matrix, vector, stack };
  std::string name;         // ours
  Kind kind = Kind::matrix;
  int64_t rows = 0, cols = 0;   // matrix [rows, cols]; vector [cols]; stack [experts, rows, cols]
  int64_t experts = 1;
  std::string gguf;         // "blk.3.attn_q.weight"
  std::string hf;           // "layers.3.self_attn.q_proj.weight", without the model's prefix
  bool plus_one = false;    // Hugging Face files of Gemma 3 store a norm's scale minus one

  std::vector<int64_t> shape() const;  // as files state it
};
std::vector<WeightSpec> weight_specs(const Config& config);

// The prefix of the text model's tensors in Hugging Face files: "model.language_model.", "model.", "language_model.model." or "".
std::string text_prefix(const Checkpoint& checkpoint);

}  // namespace gemloupe
