#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <string_view>
#include <type_traits>

#include "csrc/core/error.h"
#include "csrc/io/checkpoint.h"
#include "csrc/io/ggml_types.h"
#include "csrc/io/output_file.h"
#include "csrc/io/printable.h"
#include "csrc/io/tensor_bytes.h"

namespace gemloupe {
namespace {

constexpr uint32_t kVersion = 3;
constexpr uint32_t kArray = 9;
constexpr size_t kLongestTensorName = 63;  // llama.cpp's limit

template <class T> void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void put_string(std::string& out, std::string_view s) {
  put(out, uint64_t(s.size()));
  out += s;
}

bool fits(int64_t value, MetaType type) {
  const auto within = [&](auto limits) { return std::in_range<decltype(limits)>(value); };
  switch (type) {
    case MetaType::u8: return within(uint8_t());
    case MetaType::i8: return within(int8_t());
    case MetaType::u16: return within(uint16_t());
    case MetaType::i16: return within(int16_t());
    case MetaType::u32: return within(uint32_t());
    case MetaType::i32: return within(int32_t());
    case MetaType::u64: return within(uint64_t());
    case MetaType::i64: return true;
    default: return false;
  }
}

// The first of the types that holds every value; i64 holds all.
MetaType first_that_fits(const std::vector<int64_t>& values, std::initializer_list<MetaType> types) {
  for (const MetaType type : types) {
    if (std::all_of(values.begin(), values.end(), [&](int64_t v) { return fits(v, type); })) return type;
  }
  return MetaType::i64;
}

MetaType usual_type(const MetaValue& value) {
  if (const auto* one = std::get_if<int64_t>(&value)) return first_that_fits({*one}, {MetaType::u32, MetaType::i32});
  if (const auto* many = std::get_if<std::vector<int64_t>>(&value)) {
    return first_that_fits(*many, {MetaType::i32, MetaType::u32});
  }
  if (std::holds_alternative<double>(value) || std::holds_alternative<std::vector<double>>(value)) return MetaType::f32;
  if (std::holds_alternative<bool>(value) || std::holds_alternative<std::vector<bool>>(value)) return MetaType::boolean;
  return MetaType::string;
}

// Appends values in one type; the key is for messages.
class ValueWriter {
 public:
  ValueWriter(std::string& out, const std::string& key, MetaType type) : out_(out), key_(printable(key)), type_(type) {}

  void one(int64_t value) {
    check(fits(value, type_), "metadata ", key_, ": the integer ", value, " does not fit the stated type (", uint32_t(type_),
          " by GGUF's numbers)");
    switch (type_) {
      case MetaType::u8:
      case MetaType::i8: return put(out_, uint8_t(value));
      case MetaType::u16:
      case MetaType::i16: return put(out_, uint16_t(value));
      case MetaType::u32:
      case MetaType::i32: return put(out_, uint32_t(value));
      default: return put(out_, value);
    }
  }
  void one(double value) {
    check(type_ == MetaType::f32 || type_ == MetaType::f64, "metadata ", key_, ": a number needs the type f32 or f64, not ",
          uint32_t(type_), " by GGUF's numbers");
    if (type_ == MetaType::f64) return put(out_, value);
    check(!std::isfinite(value) || std::abs(value) <= double(std::numeric_limits<float>::max()), "metadata ", key_, ": ", value,
          " is beyond float32; state the type f64");
    put(out_, float(value));
  }
  void one(bool value) {
    check(type_ == MetaType::boolean, "metadata ", key_, ": a bool cannot be stored as type ", uint32_t(type_));
    put(out_, uint8_t(value));
  }
  void one(const std::string& value) {
    check(type_ == MetaType::string, "metadata ", key_, ": a string cannot be stored as type ", uint32_t(type_));
    put_string(out_, value);
  }

 private:
  std::string& out_;
  std::string key_;
  MetaType type_;
};

template <class T> constexpr bool kIsList = false;
template <class T> constexpr bool kIsList<std::vector<T>> = true;

void put_entry(std::string& out, const std::string& key, const MetaValue& value, MetaType type) {
  put_string(out, key);
  ValueWriter writer(out, key, type);
  std::visit(
      [&]<class T>(const T& held) {
        if constexpr (kIsList<T>) {
          put(out, kArray);
          put(out, uint32_t(type));
          put(out, uint64_t(held.size()));
          for (const typename T::value_type& element : held) writer.one(element);
        } else {
          put(out, uint32_t(type));
          writer.one(held);
        }
      },
      value);
}

// Bytes of a tensor of that type and shape; throws what the caller can mend.
uint64_t bytes_of(const TensorToWrite& tensor, const GgmlType& type) {
  const uint64_t width = tensor.shape.empty() ? 1 : uint64_t(tensor.shape.back());
  uint64_t elements = 1;
  for (const int64_t size : tensor.shape) {
    check(size > 0, "tensor ", printable(tensor.name), ": a GGUF tensor has no dimension of ", size);
    check(!__builtin_mul_overflow(elements, uint64_t(size), &elements), "tensor ", printable(tensor.name),
          ": its shape is too large");
  }
  check(width % type.elements == 0, "tensor ", printable(tensor.name), ": has rows of ", width, " elements, but ", type.name,
        " packs ", type.elements, " at a time; choose another type");
  uint64_t bytes = 0;
  check(!__builtin_mul_overflow(elements / type.elements, uint64_t(type.bytes), &bytes), "tensor ", printable(tensor.name),
        ": its shape is too large");
  return bytes;
}

uint64_t alignment_of(const std::vector<std::pair<std::string, MetaValue>>& metadata,
                      const std::map<std::string, MetaType>& types) {
  for (const auto& [key, value] : metadata) {
    if (key != "general.alignment") continue;
    const auto* alignment = std::get_if<int64_t>(&value);
    const auto stated = types.find(key);
    check(alignment != nullptr && *alignment > 0 && *alignment <= int64_t(1) << 20 &&
              std::has_single_bit(uint64_t(*alignment)) && (stated == types.end() || stated->second == MetaType::u32),
          "metadata 'general.alignment' must be a power of two up to 2^20, stored as u32");
    return uint64_t(*alignment);
  }
  return 32;
}

// The beginning of a file: how many tensors it announces, and the metadata.
std::string beginning(uint64_t tensors, const std::vector<std::pair<std::string, MetaValue>>& metadata,
                      const std::map<std::string, MetaType>& types) {
  std::string header = "GGUF";
  put(header, kVersion);
  put(header, tensors);
  put(header, uint64_t(metadata.size()));
  std::set<std::string_view> names;
  for (const auto& [key, value] : metadata) {
    check(!key.empty() && key.size() <= 65535 && is_utf8(key), "the metadata key ", printable(key),
          " must be UTF-8 of 1 to 65535 bytes");
    check(names.insert(key).second, "the metadata key ", printable(key), " is given twice");
    const auto stated = types.find(key);
    put_entry(header, key, value, stated == types.end() ? usual_type(value) : stated->second);
  }
  return header;
}

}  // namespace

std::string gguf_without_tensors(const std::vector<std::pair<std::string, MetaValue>>& metadata,
                                 const std::map<std::string, MetaType>& types) {
  return beginning(0, metadata, types);
}

void write_gguf(const std::string& path, const std::vector<std::pair<std::string, MetaValue>>& metadata,
                const std::vector<TensorToWrite>& tensors, const std::map<std::string, MetaType>& types) {
  const uint64_t alignment = alignment_of(metadata, types);
  std::string header = beginning(tensors.size(), metadata, types);
  std::set<std::string_view> names;
  uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    check(!tensor.name.empty() && tensor.name.size() <= kLongestTensorName && is_utf8(tensor.name), "the tensor name ",
          printable(tensor.name), " must be UTF-8 of 1 to ", kLongestTensorName, " bytes, as llama.cpp reads no longer ones");
    check(names.insert(tensor.name).second, "two tensors have the name ", printable(tensor.name));
    const GgmlType* type = ggml_type(tensor.type);
    check(type != nullptr, "tensor ", printable(tensor.name), ": GGUF has no type ", printable(tensor.type),
          "; convert it first");
    check(tensor.shape.size() <= 4, "tensor ", printable(tensor.name), ": has ", tensor.shape.size(),
          " dimensions, GGUF allows 4");
    check_bytes(tensor, bytes_of(tensor, *type));
    put_string(header, tensor.name);
    put(header, std::max<uint32_t>(1, uint32_t(tensor.shape.size())));
    if (tensor.shape.empty()) put(header, int64_t(1));
    for (size_t i = tensor.shape.size(); i-- > 0;) put(header, tensor.shape[i]);
    put(header, type->id);
    put(header, offset);
    offset += (tensor.bytes + alignment - 1) / alignment * alignment;
  }

  OutputFile file(path);
  file.write(header);
  const auto pad = [&] { file.zeros((alignment - file.size() % alignment) % alignment); };
  pad();
  for (const TensorToWrite& tensor : tensors) {
    write_bytes(file, tensor);
    pad();
  }
  file.commit();
}

}  // namespace gemloupe
