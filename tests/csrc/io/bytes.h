// Small files made by hand, byte by byte, so that the tests of the readers do not lean on our writers.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/core/error.h"
#include "csrc/io/checkpoint.h"

namespace gemloupe::test {

using Bytes = std::vector<uint8_t>;

struct ByteWriter {
  Bytes bytes;

  template <class T> ByteWriter& put(T value) {
    const size_t at = bytes.size();
    bytes.resize(at + sizeof(T));
    std::memcpy(bytes.data() + at, &value, sizeof(T));
    return *this;
  }
  ByteWriter& raw(std::string_view s) {
    bytes.insert(bytes.end(), s.begin(), s.end());
    return *this;
  }
  ByteWriter& string(std::string_view s) { return put(uint64_t(s.size())).raw(s); }
  ByteWriter& pad(size_t alignment) {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
};

struct GgufTensor {
  std::string name;
  std::vector<int64_t> ne;  // as in the file: fastest first
  uint32_t type;
  uint64_t offset;
};

// A GGUF file: the header, then metadata entries (each already in bytes), tensors, padding, and `data` bytes 0, 1, 2, …
inline Bytes gguf(uint32_t version, const std::vector<Bytes>& entries, const std::vector<GgufTensor>& tensors, size_t data,
                  size_t alignment = 32) {
  ByteWriter out;
  out.raw("GGUF").put(version).put(uint64_t(tensors.size())).put(uint64_t(entries.size()));
  for (const Bytes& entry : entries) out.bytes.insert(out.bytes.end(), entry.begin(), entry.end());
  for (const GgufTensor& tensor : tensors) {
    out.string(tensor.name).put(uint32_t(tensor.ne.size()));
    for (const int64_t size : tensor.ne) out.put(size);
    out.put(tensor.type).put(tensor.offset);
  }
  out.pad(alignment);
  for (size_t i = 0; i < data; ++i) out.put(uint8_t(i));
  return out.bytes;
}

template <class T> Bytes entry(std::string_view key, MetaType type, T value) {
  return ByteWriter().string(key).put(uint32_t(type)).put(value).bytes;
}
inline Bytes entry(std::string_view key, std::string_view value) {
  return ByteWriter().string(key).put(uint32_t(MetaType::string)).string(value).bytes;
}
template <class T> Bytes array_entry(std::string_view key, MetaType type, const std::vector<T>& values) {
  ByteWriter out;
  out.string(key).put(uint32_t(9)).put(uint32_t(type)).put(uint64_t(values.size()));
  for (const T& value : values) {
    if constexpr (std::is_same_v<T, std::string>) {
      out.string(value);
    } else {
      out.put(value);
    }
  }
  return out.bytes;
}

// A safetensors file with this header text and `data` bytes 0, 1, 2, …
inline Bytes safetensors(std::string_view header, size_t data) {
  ByteWriter out;
  out.put(uint64_t(header.size())).raw(header);
  for (size_t i = 0; i < data; ++i) out.put(uint8_t(i));
  return out.bytes;
}

struct TemporaryFolder {
  std::filesystem::path path;

  TemporaryFolder() {
    static std::atomic<int> count{0};
    path =
        std::filesystem::temp_directory_path() / ("gemloupe-io-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(path);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string file(const std::string& name) const { return (path / name).string(); }
  std::string write(const std::string& name, std::span<const uint8_t> bytes) const {
    std::ofstream(file(name), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    return file(name);
  }
  std::string write(const std::string& name, std::string_view text) const {
    return write(name, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
  size_t count() const {
    size_t n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path)) n += entry.exists();
    return n;
  }
};

inline std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  return names;
}

// The message of the Error that `call` throws; fails the test where it throws none.
template <class Failure = Error, class Call> std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Failure& error) {
    return error.what();
  }
  FAIL("expected an error");
  return {};
}

inline bool says(const std::string& message, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) {
    if (message.find(part) == std::string::npos) {
      MESSAGE("'" << std::string(part) << "' is not in: " << message);
      return false;
    }
  }
  return true;
}

}  // namespace gemloupe::test
