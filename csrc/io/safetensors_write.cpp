#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <limits>
#include <set>
#include <system_error>

#include "csrc/core/error.h"
#include "csrc/io/checkpoint.h"
#include "csrc/io/json_text.h"
#include "csrc/io/output_file.h"
#include "csrc/io/printable.h"
#include "csrc/io/safetensors.h"
#include "csrc/io/tensor_bytes.h"

namespace gemloupe {
namespace {

namespace fs = std::filesystem;
using Shard = std::vector<const TensorToWrite*>;
constexpr char kIndex[] = "model.safetensors.index.json";

std::string as_json(const std::string& s) { return nlohmann::json(s).dump(); }

void check_tensor(const TensorToWrite& tensor) {
  check(!tensor.name.empty() && tensor.name != "__metadata__" && is_utf8(tensor.name), "the tensor name ",
        printable(tensor.name), " must be UTF-8, not empty and not __metadata__");
  uint64_t bytes = safetensors_type_bytes(tensor.type);
  check(bytes != 0, "tensor ", printable(tensor.name), ": safetensors have no type ", printable(tensor.type),
        "; unpack it first");
  for (const int64_t size : tensor.shape) {
    check(size >= 0 && !__builtin_mul_overflow(bytes, uint64_t(size), &bytes), "tensor ", printable(tensor.name),
          ": its shape has a negative dimension or is too large");
  }
  check_bytes(tensor, bytes);
}

void write_file(OutputFile& file, const Shard& shard, const std::string& path) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  uint64_t offset = 0;
  for (const TensorToWrite* tensor : shard) {
    header += "," + as_json(tensor->name) + R"(:{"dtype":")" + tensor->type + R"(","shape":[)";
    for (size_t i = 0; i < tensor->shape.size(); ++i) header += (i > 0 ? "," : "") + std::to_string(tensor->shape[i]);
    header += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + tensor->bytes) + "]}";
    offset += tensor->bytes;
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');  // the tensors begin aligned
  demand(header.size() <= kMaxSafetensorsHeader, path, ": the names of ", shard.size(), " tensors take more than the ",
         kMaxSafetensorsHeader, " bytes a header may have; use shards");
  const uint64_t length = header.size();
  char bytes[8];
  std::memcpy(bytes, &length, 8);
  file.write(std::string_view(bytes, 8));
  file.write(header);
  for (const TensorToWrite* tensor : shard) write_bytes(file, *tensor);
}

std::string shard_name(size_t shard, size_t shards) {
  if (shards == 1) return "model.safetensors";
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard + 1, shards);
  return name;
}

// The weights of another model in the folder: readers would prefer or mix them.
bool is_weights(const std::string& name) {
  constexpr std::string_view kShard = "model-00000-of-00000.safetensors";
  bool is_shard = name.size() == kShard.size();
  for (size_t i = 0; is_shard && i < kShard.size(); ++i) {
    is_shard = kShard[i] == '0' ? name[i] >= '0' && name[i] <= '9' : name[i] == kShard[i];
  }
  return is_shard || name == kIndex || name == "model.safetensors";
}

}  // namespace

void write_safetensors(const std::string& folder, const std::vector<TensorToWrite>& tensors, uint64_t max_shard_bytes) {
  std::set<std::string_view> names;
  uint64_t total = 0;
  std::vector<Shard> shards(1);
  uint64_t in_shard = 0;
  for (const TensorToWrite& tensor : tensors) {
    check_tensor(tensor);
    check(names.insert(tensor.name).second, "two tensors have the name ", printable(tensor.name));
    if (max_shard_bytes != 0 && !shards.back().empty() && in_shard + tensor.bytes > max_shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().push_back(&tensor);
    in_shard += tensor.bytes;
    total += tensor.bytes;
  }
  check(shards.size() <= 99999, "max_shard_bytes ", max_shard_bytes, " makes ", shards.size(), " shards, 99999 are possible");

  std::error_code error;
  fs::create_directories(folder, error);
  demand(!error, folder, ": cannot make the folder: ", error.message());
  std::deque<OutputFile> files;  // all are complete before the first gets its name
  std::set<std::string> written;
  std::string map;
  for (size_t i = 0; i < shards.size(); ++i) {
    std::stable_sort(shards[i].begin(), shards[i].end(), [](const TensorToWrite* a, const TensorToWrite* b) {
      return safetensors_type_bytes(a->type) > safetensors_type_bytes(b->type);
    });
    const std::string name = shard_name(i, shards.size());
    const std::string path = (fs::path(folder) / name).string();
    write_file(files.emplace_back(path), shards[i], path);
    files.back().finish();
    written.insert(name);
    for (const TensorToWrite* tensor : shards[i]) {
      map += (map.empty() ? "" : ",") + ("\n    " + as_json(tensor->name)) + ": " + as_json(name);
    }
  }
  if (shards.size() > 1) {
    files.emplace_back((fs::path(folder) / kIndex).string())
        .write(std::string_view("{\n  \"metadata\": {\"total_size\": " + std::to_string(total) + "},\n  \"weight_map\": {" +
                                map + "\n  }\n}\n"));
    files.back().finish();
    written.insert(kIndex);
  }
  for (OutputFile& file : files) file.commit();

  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code ignored;  // an old file that stays is no reason to fail a save that is complete
    if (is_weights(name) && written.count(name) == 0) fs::remove(at->path(), ignored);
  }
}

}  // namespace gemloupe
