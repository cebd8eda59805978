#include "csrc/io/checkpoint.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>

#include "csrc/core/error.h"
#include "csrc/io/gguf.h"
#include "csrc/io/json_text.h"
#include "csrc/io/mapped_file.h"
#include "csrc/io/not_a_model.h"
#include "csrc/io/printable.h"
#include "csrc/io/safetensors.h"

namespace gemloupe {
namespace {

namespace fs = std::filesystem;
using Files = std::vector<std::shared_ptr<const MappedFile>>;

constexpr uint64_t kMaxJsonBytes = uint64_t(200) << 20;
constexpr char kIndexEnd[] = ".safetensors.index.json";

bool is_regular(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

std::string folder_of(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

std::string beside(const std::string& folder, const std::string& name) { return (fs::path(folder) / name).string(); }

// NAME-00002-of-00005.EXTENSION, the way both formats name their parts.
struct PartName {
  std::string stem, extension;
  int part = 0, parts = 0;  // counted from 1

  std::string name(int part_wanted) const {
    char number[40];
    std::snprintf(number, sizeof number, "-%05d-of-%05d", part_wanted, parts);
    return stem + number + extension;
  }
};

std::optional<PartName> part_name(const std::string& path, const std::string& extension) {
  constexpr size_t kNumber = 15;  // "-00002-of-00005"
  if (!path.ends_with(extension) || path.size() < extension.size() + kNumber) return std::nullopt;
  PartName found;
  found.extension = extension;
  found.stem = path.substr(0, path.size() - extension.size() - kNumber);
  const std::string number = path.substr(found.stem.size(), kNumber);
  for (size_t i : {1, 2, 3, 4, 5, 10, 11, 12, 13, 14}) {
    if (number[i] < '0' || number[i] > '9') return std::nullopt;
  }
  if (number[0] != '-' || number.substr(6, 4) != "-of-") return std::nullopt;
  found.part = std::stoi(number.substr(1, 5));
  found.parts = std::stoi(number.substr(10, 5));
  if (found.part < 1 || found.part > found.parts) return std::nullopt;
  return found;
}

}  // namespace

struct CheckpointReader {
  static std::shared_ptr<const Checkpoint> open(const std::string& path) {
    check(!path.empty(), "the path of the model is empty: give a .gguf file, a .safetensors file or a folder");
    check(path.find('\0') == std::string::npos, "a path must not contain a zero byte");
    struct stat status;
    if (::stat(path.c_str(), &status) != 0) {
      const int error = errno;
      throw Error(text(path, ": ", std::generic_category().message(error),
                       error == ENOENT ? "; models are opened from disk, so a name on a hub must be downloaded first" : ""));
    }
    if (S_ISDIR(status.st_mode)) return open_folder(path);
    if (path.ends_with(kIndexEnd)) return open_shards(folder_of(path), path);

    auto file = open_weights(path);
    if (path.ends_with(".gguf") || begins_as_gguf(file->bytes())) return open_gguf(path, std::move(file));
    if (path.ends_with(".safetensors") || begins_as_safetensors(file->bytes())) {
      if (const auto part = part_name(path, ".safetensors"); part && part->parts > 1) {
        const std::string index = part->stem + kIndexEnd;
        demand(is_regular(index), path, ": is one of ", part->parts, " shards, but their index is missing: expected ", index);
        return open_shards(folder_of(path), index);
      }
      return open_safetensors(path, std::move(file));
    }
    throw Error(path + ": is neither GGUF (which begins with the letters GGUF) nor safetensors (whose ninth byte is '{')");
  }

 private:
  static bool begins_as_gguf(std::span<const uint8_t> bytes) {
    return bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0;
  }

  static bool begins_as_safetensors(std::span<const uint8_t> bytes) {
    uint64_t length = 0;
    if (bytes.size() >= 9) std::memcpy(&length, bytes.data(), 8);
    return bytes.size() >= 9 && bytes[8] == '{' && length <= kMaxSafetensorsHeader;
  }

  // A file that is neither empty nor known to be something else.
  static std::shared_ptr<const MappedFile> open_weights(const std::string& path) {
    auto file = MappedFile::open(path);
    const std::span<const uint8_t> bytes = file->bytes();
    demand(!bytes.empty(), path, ": the file is empty; fetch it again");
    const std::string other = begins_as_gguf(bytes) || begins_as_safetensors(bytes) ? "" : not_a_model(bytes);
    demand(other.empty(), path, ": is ", other);
    return file;
  }

  static std::shared_ptr<Checkpoint> make(Checkpoint::Kind kind, const std::string& path, Files files) {
    auto checkpoint = std::make_shared<Checkpoint>();
    checkpoint->kind = kind;
    checkpoint->path = path;
    checkpoint->owner = std::make_shared<const Files>(std::move(files));
    return checkpoint;
  }

  static std::shared_ptr<const Checkpoint> finish(std::shared_ptr<Checkpoint> checkpoint) {
    for (size_t i = 0; i < checkpoint->tensors.size(); ++i) {
      const auto [at, is_new] = checkpoint->index_.emplace(checkpoint->tensors[i].name, i);
      if (!is_new) throw Error(checkpoint->path + ": the tensor " + printable(at->first) + " is in two of the model's files");
    }
    return checkpoint;
  }

  // Reads the part's header in one go: page faults in a row of small reads are what opening from a cold disk costs.
  static GgufContents read_part(const MappedFile& file) {
    constexpr size_t kAhead = 8 << 20;
    will_need(file.bytes().first(std::min(file.bytes().size(), kAhead)));
    return read_gguf(file.bytes(), file.path());
  }

  static std::shared_ptr<const Checkpoint> open_gguf(const std::string& path, std::shared_ptr<const MappedFile> file) {
    auto checkpoint = make(Checkpoint::Kind::gguf, path, {});
    GgufContents first = read_part(*file);
    checkpoint->metadata = std::move(first.metadata);
    checkpoint->metadata_types = std::move(first.types);
    checkpoint->tensors = std::move(first.tensors);
    Files files{std::move(file)};
    if (checkpoint->integer("split.count").value_or(1) > 1) join_parts(*checkpoint, files);
    for (const char* key : {"split.no", "split.count", "split.tensors.count"}) {
      checkpoint->metadata.erase(key);
      checkpoint->metadata_types.erase(key);
    }
    checkpoint->owner = std::make_shared<const Files>(std::move(files));
    return finish(std::move(checkpoint));
  }

  static void join_parts(Checkpoint& checkpoint, Files& files) {
    const std::string path = checkpoint.path;
    const int64_t parts = *checkpoint.integer("split.count");
    demand(parts <= 99999, path, ": claims to be one of ", parts, " parts (split.count): a damaged file");
    const auto name = part_name(path, ".gguf");
    demand(name && name->parts == parts, path, ": is one of ", parts, " parts of a model, so its name must end in",
           PartName{"", ".gguf", 1, int(parts)}.name(1), "; rename the files");
    const auto total = checkpoint.integer("split.tensors.count");
    const auto given = std::move(checkpoint.tensors);
    const std::shared_ptr<const MappedFile> given_file = files.front();
    files.clear();
    checkpoint.tensors.clear();
    for (int part = 1; part <= name->parts; ++part) {
      const bool is_given = part == name->part;
      const std::string part_path = is_given ? path : name->name(part);
      demand(is_given || is_regular(part_path), path, ": the model has ", parts, " parts, and part ", part,
             " is missing: expected ", part_path);
      files.push_back(is_given ? given_file : open_weights(part_path));
      Checkpoint read;
      read.path = part_path;
      GgufContents contents = read_part(*files.back());
      read.metadata = std::move(contents.metadata);
      demand(read.integer("split.count") == parts, part_path, ": expected split.count ", parts, " as in ", path,
             ": the parts are of different models");
      demand(read.integer("split.no") == part - 1, part_path, ": expected split.no ", part - 1, ", got ",
             read.integer("split.no").value_or(-1), ": the parts were renamed");
      for (TensorEntry& tensor : contents.tensors) checkpoint.tensors.push_back(std::move(tensor));
      if (part == 1) {  // the first part speaks for all
        checkpoint.metadata = std::move(read.metadata);
        checkpoint.metadata_types = std::move(contents.types);
      }
    }
    demand(!total || *total == int64_t(checkpoint.tensors.size()), path, ": the parts hold ", checkpoint.tensors.size(),
           " tensors together, expected ", total.value_or(0), " (split.tensors.count)");
  }

  // `path` is what the caller gave: the file or its folder.
  static std::shared_ptr<const Checkpoint> open_safetensors(const std::string& path, std::shared_ptr<const MappedFile> file) {
    auto checkpoint = make(Checkpoint::Kind::safetensors, path, {file});
    checkpoint->tensors = read_safetensors(file->bytes(), file->path());
    read_texts(*checkpoint, folder_of(file->path()));
    return finish(std::move(checkpoint));
  }

  static std::shared_ptr<const Checkpoint> open_shards(const std::string& folder, const std::string& index_path) {
    const nlohmann::json index = parse_json(read_text(index_path), index_path);
    const auto map = index.is_object() ? index.find("weight_map") : index.end();
    demand(map != index.end() && map->is_object() && !map->empty(), index_path,
           ": expected an object \"weight_map\" of tensor names to file names");
    std::map<std::string, std::set<std::string>> wanted;
    for (const auto& [tensor, file] : map->items()) {
      if (!file.is_string()) {
        throw Error(index_path + ": weight_map[" + printable(tensor) + "] must be a file name, got " + file.dump());
      }
      const std::string& name = file.get_ref<const std::string&>();
      // Only files of this very folder: an index must not reach for others.
      if (!name.ends_with(".safetensors") || name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos ||
          name[0] == '.') {
        throw Error(text(index_path, ": weight_map[", printable(tensor),
                         "] must be the name of a .safetensors file in the same folder, got ", printable(name)));
      }
      wanted[name].insert(tensor);
    }
    Files files;
    auto checkpoint = make(Checkpoint::Kind::safetensors, folder, {});
    for (auto& [name, tensors] : wanted) {
      const std::string path = beside(folder, name);
      if (!is_regular(path)) throw Error(text(index_path, ": the shard ", printable(name), " is missing: expected ", path));
      files.push_back(open_weights(path));
      for (TensorEntry& tensor : read_safetensors(files.back()->bytes(), path)) {
        tensors.erase(tensor.name);
        checkpoint->tensors.push_back(std::move(tensor));
      }
      if (!tensors.empty()) {
        throw Error(text(index_path, ": the tensor ", printable(*tensors.begin()), " should be in ", printable(name),
                         ", but is not there (", tensors.size(), " missing): the shards are of different models"));
      }
    }
    checkpoint->owner = std::make_shared<const Files>(std::move(files));
    read_texts(*checkpoint, folder);
    return finish(std::move(checkpoint));
  }

  static std::shared_ptr<const Checkpoint> open_folder(const std::string& folder) {
    const std::string single = beside(folder, "model.safetensors");
    if (is_regular(single)) return open_safetensors(folder, open_weights(single));
    const std::string index = beside(folder, "model.safetensors.index.json");
    if (is_regular(index)) return open_shards(folder, index);

    std::vector<std::string> safetensors, gguf, pickles;
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      const std::string name = at->path().filename().string();
      if (name.ends_with(".safetensors")) safetensors.push_back(name);
      if (name.ends_with(".gguf")) gguf.push_back(name);
      if (name.ends_with(".bin") || name.ends_with(".pth") || name.ends_with(".pt")) pickles.push_back(name);
    }
    demand(!error, folder, ": cannot list the folder: ", error.message());
    for (auto* names : {&safetensors, &gguf, &pickles}) std::sort(names->begin(), names->end());
    const std::string expected = ": expected model.safetensors, or model.safetensors.index.json with its shards, ";
    if (safetensors.size() == 1) {
      const std::string path = beside(folder, safetensors[0]);
      const auto part = part_name(path, ".safetensors");
      demand(!part || part->parts == 1, folder, expected, "but only the shard ", printable(safetensors[0]), " is there");
      return open_safetensors(folder, open_weights(path));
    }
    if (!safetensors.empty()) {
      throw Error(text(folder, expected, "got ", safetensors.size(), " other .safetensors files (", printable(safetensors[0]),
                       ", …): give the one you mean"));
    }
    if (!gguf.empty()) throw Error(text(folder, ": give the GGUF file itself: ", beside(folder, gguf[0])));
    if (!pickles.empty()) {
      throw Error(text(folder, expected, "got the pickle ", printable(pickles[0]), "; save the model as safetensors first"));
    }
    throw Error(text(folder, expected, "found no weights there: is it the right folder?"));
  }

  static std::string read_text(const std::string& path) {
    const auto file = MappedFile::open(path);
    const auto bytes = file->bytes();
    demand(bytes.size() <= kMaxJsonBytes, path, ": has ", bytes.size(), " bytes, the limit is ", kMaxJsonBytes);
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  static std::string read_text_if_there(const std::string& folder, const char* name) {
    const std::string path = beside(folder, name);
    return is_regular(path) ? read_text(path) : std::string();
  }

  static void read_texts(Checkpoint& checkpoint, const std::string& folder) {
    checkpoint.config_json = read_text_if_there(folder, "config.json");
    checkpoint.tokenizer_json = read_text_if_there(folder, "tokenizer.json");
    checkpoint.tokenizer_config_json = read_text_if_there(folder, "tokenizer_config.json");
    checkpoint.generation_config_json = read_text_if_there(folder, "generation_config.json");
    if (!checkpoint.config_json.empty()) {
      const std::string path = beside(folder, "config.json");
      const nlohmann::json config = parse_json(checkpoint.config_json, path);
      demand(config.is_object(), path, ": expected a JSON object, got ", config.type_name());
      const auto found = config.find("quantization_config");
      if (found != config.end() && !found->is_null()) checkpoint.quantization_config_json = found->dump();
    }
    if (checkpoint.quantization_config_json.empty()) {
      checkpoint.quantization_config_json = read_text_if_there(folder, "hf_quant_config.json");
    }
  }
};

namespace {

constexpr const char* kTypeNames[] = {"a bool",          "an integer",         "a number",          "a string",
                                      "a list of bools", "a list of integers", "a list of numbers", "a list of strings"};

// The value as a T, null where the key is absent.
template <class T> const T* value_as(const Checkpoint& checkpoint, const std::string& key) {
  const auto found = checkpoint.metadata.find(key);
  if (found == checkpoint.metadata.end()) return nullptr;
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) {
    throw Error(text(checkpoint.path, ": the metadata ", printable(key), " must be ", kTypeNames[MetaValue(T()).index()],
                     ", got ", kTypeNames[found->second.index()]));
  }
  return value;
}

template <class T> std::optional<T> optional_as(const Checkpoint& checkpoint, const std::string& key) {
  const T* value = value_as<T>(checkpoint, key);
  return value == nullptr ? std::nullopt : std::optional<T>(*value);
}

}  // namespace

std::shared_ptr<const Checkpoint> Checkpoint::open(const std::string& path) { return CheckpointReader::open(path); }

const TensorEntry* Checkpoint::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors[found->second];
}

std::optional<int64_t> Checkpoint::integer(const std::string& key) const { return optional_as<int64_t>(*this, key); }

std::optional<double> Checkpoint::number(const std::string& key) const {
  const auto found = metadata.find(key);
  if (found != metadata.end()) {
    if (const int64_t* whole = std::get_if<int64_t>(&found->second)) return double(*whole);
  }
  return optional_as<double>(*this, key);
}

std::optional<bool> Checkpoint::boolean(const std::string& key) const { return optional_as<bool>(*this, key); }

std::optional<std::string> Checkpoint::string(const std::string& key) const { return optional_as<std::string>(*this, key); }

std::optional<std::vector<int64_t>> Checkpoint::integers(const std::string& key) const {
  const auto found = metadata.find(key);
  if (found != metadata.end()) {
    if (const int64_t* one = std::get_if<int64_t>(&found->second)) return std::vector<int64_t>{*one};
    if (const bool* one = std::get_if<bool>(&found->second)) return std::vector<int64_t>{*one ? 1 : 0};
    if (const auto* bools = std::get_if<std::vector<bool>>(&found->second)) {
      return std::vector<int64_t>(bools->begin(), bools->end());
    }
  }
  return optional_as<std::vector<int64_t>>(*this, key);
}

}  // namespace gemloupe
