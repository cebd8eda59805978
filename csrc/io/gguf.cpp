#include "csrc/io/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "csrc/core/error.h"
#include "csrc/io/ggml_types.h"
#include "csrc/io/printable.h"

namespace gemloupe {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are read as they lie in memory");

// Everything before the tensors' bytes. A vocabulary of 262144 with its merges takes 20 MiB.
constexpr uint64_t kMaxHeaderBytes = uint64_t(256) << 20;
constexpr uint64_t kMaxNameBytes = 65535;
constexpr uint64_t kMinEntryBytes = 8 + 4 + 1;       // key length, type, the smallest value
constexpr uint64_t kMinTensorBytes = 8 + 4 + 4 + 8;  // name length, dimensions, type, offset
constexpr uint32_t kArray = 9;

// Walks the header; a failure names the file, the entry and the byte.
class HeaderReader {
 public:
  HeaderReader(std::span<const uint8_t> file, const std::string& path) : file_(file), path_(path) {
    bytes_ = file.first(std::min<uint64_t>(file.size(), kMaxHeaderBytes));
  }

  GgufContents read() {
    read_start();
    for (entry_ = 0; entry_ < entries_; ++entry_) read_entry();
    part_ = "tensor";
    const uint64_t alignment = read_alignment();
    contents_.tensors.reserve(tensors_);
    offsets_.reserve(tensors_);
    for (entry_ = 0; entry_ < tensors_; ++entry_) read_tensor(alignment);
    place_tensors(alignment);
    return std::move(contents_);
  }

 private:
  template <class... Parts> [[noreturn]] void fail(const Parts&... parts) const {
    std::string place;
    if (part_ != nullptr) {
      place = text(part_, " ", entry_ + 1, " of ", part_[0] == 't' ? tensors_ : entries_);
      if (!name_.empty()) place += " " + printable(name_);
      place += ": ";
    }
    throw Error(text(path_, ": ", place, parts...));
  }

  uint64_t left() const { return bytes_.size() - at_; }

  [[noreturn]] void fail_short(uint64_t need) const {
    if (bytes_.size() < file_.size()) {
      fail("the header is longer than ", kMaxHeaderBytes >> 20, " MiB, the limit; a damaged file?");
    }
    fail("expected ", need, " more bytes at byte ", at_, ", but the file ends at byte ", file_.size(),
         ": it is truncated or damaged, fetch it again");
  }

  template <class T> T take() {
    if (left() < sizeof(T)) fail_short(sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  std::string_view take_string() {
    const uint64_t length = take<uint64_t>();
    if (length > left()) fail_short(length);
    const std::string_view s(reinterpret_cast<const char*>(bytes_.data()) + at_, length);
    at_ += length;
    return s;
  }

  std::string_view take_name(const char* what) {
    name_ = {};
    const uint64_t start = at_;
    const std::string_view name = take_string();
    if (name.empty() || name.size() > kMaxNameBytes) {
      fail("a ", what, " has 1 to ", kMaxNameBytes, " bytes, this one (at byte ", start, ") has ", name.size());
    }
    if (!is_utf8(name)) fail("the ", what, " ", printable(name), " at byte ", start, " is not UTF-8: a damaged file");
    return name;
  }

  void read_start() {
    if (file_.size() < 4 || std::memcmp(file_.data(), "GGUF", 4) != 0) {
      fail("expected a GGUF file, which begins with the letters GGUF, got ",
           printable({reinterpret_cast<const char*>(file_.data()), std::min<size_t>(file_.size(), 4)}));
    }
    at_ = 4;
    const uint32_t version = take<uint32_t>();
    if (version != 0 && (version & 0xFFFF) == 0) {
      fail("is a big-endian GGUF file (version ", version >> 16, "); convert it with gguf-py's gguf_convert_endian");
    }
    if (version == 1) {
      fail("is a GGUF file of version 1 (32-bit counts, August 2023); versions 2 and 3 are read: convert the model again");
    }
    if (version != 2 && version != 3) fail("is a GGUF file of version ", version, "; versions 2 and 3 are read");
    tensors_ = take<uint64_t>();
    entries_ = take<uint64_t>();
    if (tensors_ > left() / kMinTensorBytes) {
      fail("claims ", tensors_, " tensors, more than its ", file_.size(), " bytes can hold");
    }
    if (entries_ > left() / kMinEntryBytes) {
      fail("claims ", entries_, " metadata entries, more than its ", file_.size(), " bytes can hold");
    }
    part_ = "metadata entry";
  }

  void read_entry() {
    const std::string_view key = take_name("key");
    name_ = key;
    const uint32_t type = take<uint32_t>();
    MetaType stored = MetaType(type);
    MetaValue value = type == kArray ? read_array(stored) : read_scalar(type);
    if (!contents_.metadata.emplace(std::string(key), std::move(value)).second) fail("the key is there twice");
    contents_.types.emplace(std::string(key), stored);
  }

  int64_t as_integer(uint64_t value) const {
    if (value > uint64_t(std::numeric_limits<int64_t>::max())) fail("the number ", value, " does not fit into 63 bits");
    return int64_t(value);
  }

  bool as_bool(uint8_t value) const {
    if (value > 1) fail("a bool is 0 or 1, got ", int(value), " before byte ", at_);
    return value == 1;
  }

  MetaValue read_scalar(uint32_t type) {
    switch (MetaType(type)) {
      case MetaType::u8: return int64_t(take<uint8_t>());
      case MetaType::i8: return int64_t(take<int8_t>());
      case MetaType::u16: return int64_t(take<uint16_t>());
      case MetaType::i16: return int64_t(take<int16_t>());
      case MetaType::u32: return int64_t(take<uint32_t>());
      case MetaType::i32: return int64_t(take<int32_t>());
      case MetaType::u64: return as_integer(take<uint64_t>());
      case MetaType::i64: return take<int64_t>();
      case MetaType::f32: return double(take<float>());
      case MetaType::f64: return take<double>();
      case MetaType::boolean: return as_bool(take<uint8_t>());
      case MetaType::string: return std::string(take_string());
    }
    fail("the value has type ", type, " before byte ", at_, "; GGUF has types 0 to 12");
  }

  void need(uint64_t count, uint64_t bytes_each) const {
    if (count > left() / bytes_each) {
      if (bytes_.size() < file_.size() && count <= (file_.size() - at_) / bytes_each) fail_short(0);
      fail("claims an array of ", count, " elements, but only ", left(), " bytes follow: a truncated or damaged file");
    }
  }

  template <class Stored, class Wide> std::vector<Wide> numbers(uint64_t count) {
    need(count, sizeof(Stored));
    std::vector<Wide> out(count);
    for (uint64_t i = 0; i < count; ++i) {
      const Stored value = take<Stored>();
      if constexpr (std::is_same_v<Stored, uint64_t>) {
        out[i] = as_integer(value);
      } else {
        out[i] = Wide(value);
      }
    }
    return out;
  }

  MetaValue read_array(MetaType& stored) {
    const uint32_t type = take<uint32_t>();
    const uint64_t count = take<uint64_t>();
    stored = MetaType(type);
    switch (stored) {
      case MetaType::u8: return numbers<uint8_t, int64_t>(count);
      case MetaType::i8: return numbers<int8_t, int64_t>(count);
      case MetaType::u16: return numbers<uint16_t, int64_t>(count);
      case MetaType::i16: return numbers<int16_t, int64_t>(count);
      case MetaType::u32: return numbers<uint32_t, int64_t>(count);
      case MetaType::i32: return numbers<int32_t, int64_t>(count);
      case MetaType::u64: return numbers<uint64_t, int64_t>(count);
      case MetaType::i64: return numbers<int64_t, int64_t>(count);
      case MetaType::f32: return numbers<float, double>(count);
      case MetaType::f64: return numbers<double, double>(count);
      case MetaType::boolean: {
        need(count, 1);
        std::vector<bool> out(count);
        for (uint64_t i = 0; i < count; ++i) out[i] = as_bool(take<uint8_t>());
        return out;
      }
      case MetaType::string: {
        need(count, sizeof(uint64_t));
        std::vector<std::string> out;
        out.reserve(count);
        for (uint64_t i = 0; i < count; ++i) out.emplace_back(take_string());
        return out;
      }
    }
    if (type == kArray) fail("is an array of arrays, which no reader of models takes; flatten it");
    fail("the array's elements have type ", type, "; GGUF has types 0 to 12");
  }

  uint64_t read_alignment() {
    const auto found = contents_.metadata.find("general.alignment");
    if (found == contents_.metadata.end()) return 32;
    const int64_t* value = std::get_if<int64_t>(&found->second);
    if (value == nullptr || contents_.types.at(found->first) != MetaType::u32 || !std::has_single_bit(uint64_t(*value))) {
      part_ = nullptr;
      fail("general.alignment must be a power of two, stored as u32");
    }
    return uint64_t(*value);
  }

  void read_tensor(uint64_t alignment) {
    const std::string_view name = take_name("tensor's name");
    name_ = name;
    if (!names_.insert(name).second) fail("two tensors have this name");
    const uint32_t dims = take<uint32_t>();
    if (dims > 4) fail("has ", dims, " dimensions, GGUF allows 4");
    TensorEntry tensor;
    tensor.name = name;
    tensor.shape.resize(dims);
    uint64_t elements = 1;
    for (uint32_t i = dims; i-- > 0;) {  // the file begins with the fastest dimension
      const int64_t size = take<int64_t>();
      if (size <= 0) fail("dimension ", dims - 1 - i, " is ", size, ", expected 1 or more");
      tensor.shape[i] = size;
      if (__builtin_mul_overflow(elements, uint64_t(size), &elements) ||
          elements > uint64_t(std::numeric_limits<int64_t>::max())) {
        fail("has more elements than 63 bits can count: a damaged file");
      }
    }
    const uint32_t id = take<uint32_t>();
    const GgmlType* type = ggml_type(id);
    if (type == nullptr) fail("has the unknown ggml type ", id, ": ", ggml_unknown_type(id));
    tensor.type = type->name;
    const uint64_t width = dims == 0 ? 1 : uint64_t(tensor.shape.back());
    if (width % type->elements != 0) {
      fail("has rows of ", width, " elements, but ", type->name, " packs ", type->elements, " at a time");
    }
    if (__builtin_mul_overflow(elements / type->elements, uint64_t(type->bytes), &tensor.bytes)) {
      fail("has more bytes than 64 bits can count: a damaged file");
    }
    const uint64_t offset = take<uint64_t>();
    if (offset % alignment != 0) fail("begins at offset ", offset, ", which is no multiple of the alignment ", alignment);
    offsets_.push_back(offset);
    contents_.tensors.push_back(std::move(tensor));
  }

  void place_tensors(uint64_t alignment) {
    if (tensors_ == 0) return;
    const uint64_t data = (at_ + alignment - 1) / alignment * alignment;
    for (entry_ = 0; entry_ < tensors_; ++entry_) {
      TensorEntry& tensor = contents_.tensors[entry_];
      name_ = tensor.name;
      const uint64_t room = data <= file_.size() ? file_.size() - data : 0;
      if (offsets_[entry_] > room || tensor.bytes > room - offsets_[entry_]) {
        fail("has ", tensor.bytes, " bytes at offset ", offsets_[entry_], " behind byte ", data, ", but the file ends at byte ",
             file_.size(), ": it is truncated or damaged, fetch it again");
      }
      tensor.data = file_.data() + data + offsets_[entry_];
    }
    std::vector<uint64_t> order(tensors_);
    std::iota(order.begin(), order.end(), uint64_t(0));
    std::stable_sort(order.begin(), order.end(), [&](uint64_t a, uint64_t b) { return offsets_[a] < offsets_[b]; });
    for (uint64_t i = 1; i < tensors_; ++i) {
      const TensorEntry& before = contents_.tensors[order[i - 1]];
      entry_ = order[i];
      name_ = contents_.tensors[entry_].name;
      if (offsets_[order[i - 1]] + before.bytes > offsets_[entry_]) {
        fail("overlaps the tensor ", printable(before.name), ", which ends at offset ", offsets_[order[i - 1]] + before.bytes,
             ", while this one begins at ", offsets_[entry_]);
      }
    }
  }

  std::span<const uint8_t> file_, bytes_;
  const std::string& path_;
  uint64_t at_ = 0;
  uint64_t tensors_ = 0, entries_ = 0;
  const char* part_ = nullptr;  // what is being read, for messages
  uint64_t entry_ = 0;
  std::string_view name_;
  GgufContents contents_;
  std::vector<uint64_t> offsets_;
  std::unordered_set<std::string_view> names_;
};

}  // namespace

GgufContents read_gguf(std::span<const uint8_t> bytes, const std::string& path) {
  try {
    return HeaderReader(bytes, path).read();
  } catch (const std::bad_alloc&) {
    throw Error(path + ": not enough memory for the file's header");
  }
}

}  // namespace gemloupe
