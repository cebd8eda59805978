// A model's files, opened: named tensors in memory-mapped bytes, and what the files say about themselves.
// Knows file formats, not models: names are as spelled in the file.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace gemloupe {

struct TensorEntry {
  std::string name;
  std::string type;             // "F32", "BF16", "Q4_K", "I64", …: the file's own word
  std::vector<int64_t> shape;   // slowest dimension first, as PyTorch has it (GGUF's order is reversed on reading)
  const uint8_t* data = nullptr;
  uint64_t bytes = 0;
};

// A value of GGUF metadata. Integers of all widths become int64_t (u64 above that range is refused), floats double.
using MetaValue = std::variant<bool, int64_t, double, std::string, std::vector<bool>, std::vector<int64_t>, std::vector<double>,
                               std::vector<std::string>>;

// How a file stores such a value, by GGUF's numbers; of an array, its elements. 9 would be an array of arrays: never read.
enum class MetaType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, u64 = 10, i64, f64 };

class Checkpoint {
 public:
  enum class Kind { gguf, safetensors };

  // Opens a .gguf file (any part of a split opens the whole), a .safetensors file with the .json files beside it, or a folder
  // of safetensors (model.safetensors, or shards and model.safetensors.index.json). Maps, does not read, the tensors. Throws
  // gemloupe::Error that names the file, the place in it and what was expected.
  static std::shared_ptr<const Checkpoint> open(const std::string& path);

  Kind kind = Kind::gguf;
  std::string path;
  std::vector<TensorEntry> tensors;             // in file order
  std::map<std::string, MetaValue> metadata;    // GGUF keys (without a split's own, split.*); empty for safetensors
  std::map<std::string, MetaType> metadata_types;  // how the file stored them: write_gguf takes it, to write them as they were
  std::string config_json;                      // text of config.json ("" if absent); likewise:
  std::string tokenizer_json, tokenizer_config_json, generation_config_json;
  std::string quantization_config_json;         // config.json's "quantization_config", else hf_quant_config.json, else ""
  std::shared_ptr<const void> owner;            // keeps the mapped bytes alive

  const TensorEntry* find(std::string_view name) const;  // null if absent

  // Metadata as a type; throws Error where the key is there with another type; nullopt where it is absent.
  std::optional<int64_t> integer(const std::string& key) const;
  std::optional<double> number(const std::string& key) const;     // also from an integer
  std::optional<bool> boolean(const std::string& key) const;
  std::optional<std::string> string(const std::string& key) const;
  std::optional<std::vector<int64_t>> integers(const std::string& key) const;  // a scalar gives one entry; bools give 0 / 1

 private:
  std::map<std::string, size_t, std::less<>> index_;
  friend struct CheckpointReader;
};

// What a writer writes: `data`, or what `produce` delivers piece by piece (row blocks), so that no copy of a model is needed.
struct TensorToWrite {
  std::string name;
  std::string type;
  std::vector<int64_t> shape;   // slowest first
  const uint8_t* data = nullptr;
  uint64_t bytes = 0;
  std::shared_ptr<const void> owner;  // optional
  // Instead of data: calls `write` with consecutive pieces that are `bytes` long in all.
  using Write = std::function<void(std::span<const uint8_t>)>;
  std::function<void(const Write& write)> produce;
};

// Both write to a temporary file beside the target and rename it when it is complete and on the disk: a failure leaves nothing
// behind, and a model may be saved over the file it is mapped from. What GGUF or safetensors cannot express is refused with
// std::invalid_argument, what the disk refuses with Error.

// GGUF version 3. Where `types` has no word on a key, integers become u32 if they fit (else i32, else i64), arrays of integers
// i32 (else u32, else i64), floats f32. Tensors are aligned to 32, or to the metadata's general.alignment. A shape [] becomes
// [1].
void write_gguf(const std::string& path, const std::vector<std::pair<std::string, MetaValue>>& metadata,
                const std::vector<TensorToWrite>& tensors, const std::map<std::string, MetaType>& types = {});
// The bytes of such a file that has metadata alone.
std::string gguf_without_tensors(const std::vector<std::pair<std::string, MetaValue>>& metadata,
                                 const std::map<std::string, MetaType>& types = {});
// max_shard_bytes 0 = one file model.safetensors; else shards and an index (one file if all fits). Wide types come first in a
// file, so that every tensor is aligned. metadata {"format": "pt"} is always written. Makes the folder; removes the weights
// (model*.safetensors and their index) of an earlier model in it.
void write_safetensors(const std::string& folder, const std::vector<TensorToWrite>& tensors, uint64_t max_shard_bytes = 0);

}  // namespace gemloupe
