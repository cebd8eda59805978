#include "csrc/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "csrc/core/error.h"
#include "csrc/io/json_text.h"
#include "csrc/io/printable.h"

namespace gemloupe {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors are read as they lie in memory");

struct Type {
  const char* name;
  uint32_t bytes;
};
constexpr Type kTypes[] = {{"F64", 8},     {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1},
                           {"F8_E8M0", 1}, {"I64", 8}, {"I32", 4}, {"I16", 2},  {"I8", 1},      {"U64", 8},
                           {"U32", 4},     {"U16", 2}, {"U8", 1},  {"BOOL", 1}};

struct Place {
  TensorEntry tensor;
  uint64_t begin = 0, end = 0;
};

// JSON's negative and fractional numbers are neither sizes nor offsets.
uint64_t size_of(const json& value, const std::string& where, const char* what) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max())) {
    throw Error(text(where, what, " must be a whole number from 0 to 2^63 - 1, got ", printable(value.dump())));
  }
  return value.get<uint64_t>();
}

const json& member(const json& object, const char* key, json::value_t type, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || found->type() != type) {
    throw Error(text(where, "expected \"", key, "\" (", type == json::value_t::string ? "a string" : "an array", "), got ",
                     found == object.end() ? "none" : found->type_name()));
  }
  return *found;
}

Place read_place(const std::string& name, const json& entry, const std::string& path) {
  const std::string where = path + ": tensor " + printable(name) + ": ";
  demand(entry.is_object(), where, "expected an object with dtype, shape and data_offsets, got ", entry.type_name());
  Place place;
  place.tensor.name = name;
  place.tensor.type = member(entry, "dtype", json::value_t::string, where).get_ref<const std::string&>();
  uint64_t bytes = safetensors_type_bytes(place.tensor.type);
  if (bytes == 0) {
    std::string known;
    for (const Type& type : kTypes) known += std::string(known.empty() ? "" : ", ") + type.name;
    throw Error(where + "unknown dtype " + printable(place.tensor.type) + "; known are " + known);
  }
  for (const json& size : member(entry, "shape", json::value_t::array, where)) {
    place.tensor.shape.push_back(int64_t(size_of(size, where, "a dimension")));
    if (__builtin_mul_overflow(bytes, uint64_t(place.tensor.shape.back()), &bytes)) {
      throw Error(where + "the shape has more bytes than 64 bits can count: a damaged file");
    }
  }
  const json& offsets = member(entry, "data_offsets", json::value_t::array, where);
  demand(offsets.size() == 2, where, "data_offsets must be [begin, end], got ", offsets.size(), " numbers");
  place.begin = size_of(offsets[0], where, "data_offsets[0]");
  place.end = size_of(offsets[1], where, "data_offsets[1]");
  demand(place.begin <= place.end, where, "data_offsets end (", place.end, ") before they begin (", place.begin, ")");
  demand(place.end - place.begin == bytes, where, "its dtype and shape need ", bytes, " bytes, its data_offsets give ",
         place.end - place.begin);
  place.tensor.bytes = bytes;
  return place;
}

std::vector<TensorEntry> read(std::span<const uint8_t> bytes, const std::string& path) {
  demand(bytes.size() >= 8, path, ": expected a safetensors file, which begins with 8 bytes of header length, got ",
         bytes.size(), " bytes in all");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  demand(length <= kMaxSafetensorsHeader, path, ": expected a safetensors file, but its first 8 bytes give a header of ",
         length, " bytes, and the format allows ", kMaxSafetensorsHeader);
  demand(length <= bytes.size() - 8, path, ": the header of ", length, " bytes does not fit into the file of ", bytes.size(),
         " bytes: it is truncated or damaged, fetch it again");
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, length);
  demand(header.starts_with('{'), path, ": expected a safetensors file, whose header begins with '{' at byte 8");
  const std::span<const uint8_t> data = bytes.subspan(8 + length);

  const json root = parse_json(header, path, 8);
  std::vector<Place> places;
  places.reserve(root.size());
  for (const auto& [name, entry] : root.items()) {
    if (name == "__metadata__") {
      bool strings = entry.is_object() || entry.is_null();
      for (const json& value : entry) strings = strings && value.is_string();
      demand(strings, path, ": __metadata__ must map strings to strings");
      continue;
    }
    demand(!name.empty(), path, ": a tensor has an empty name");
    places.push_back(read_place(name, entry, path));
  }
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });

  std::vector<TensorEntry> tensors;
  tensors.reserve(places.size());
  uint64_t end = 0;
  for (Place& place : places) {
    const std::string& name = place.tensor.name;
    if (place.begin < end) {
      throw Error(text(path, ": tensor ", printable(name), ": overlaps the tensor ", printable(tensors.back().name),
                       ", which ends at offset ", end, ", while this one begins at ", place.begin));
    }
    if (place.begin > end) {
      throw Error(text(path, ": tensor ", printable(name), ": begins at offset ", place.begin, ", expected ", end,
                       ": safetensors files have no holes"));
    }
    if (place.end > data.size()) {
      throw Error(text(path, ": tensor ", printable(name), ": ends at offset ", place.end, " behind the header, but only ",
                       data.size(), " bytes follow it: the file is truncated or damaged, fetch it again"));
    }
    end = place.end;
    place.tensor.data = data.data() + place.begin;
    tensors.push_back(std::move(place.tensor));
  }
  demand(end == data.size(), path, ": its tensors end ", data.size() - end, " bytes before the file does: a damaged file");
  return tensors;
}

}  // namespace

uint32_t safetensors_type_bytes(std::string_view type) {
  for (const Type& known : kTypes) {
    if (type == known.name) return known.bytes;
  }
  return 0;
}

std::vector<TensorEntry> read_safetensors(std::span<const uint8_t> bytes, const std::string& path) {
  try {
    return read(bytes, path);
  } catch (const std::bad_alloc&) {
    throw Error(path + ": not enough memory for the file's header");
  }
}

}  // namespace gemloupe
