// A file that is there wholly or not at all: written beside its target under another name, brought to the disk, then renamed
// over it. What is not committed is removed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gemloupe {

class OutputFile {
 public:
  // Throws Error with the path and the system's reason, as all of these do.
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const uint8_t> bytes);
  void write(std::string_view bytes);
  void zeros(uint64_t count);
  uint64_t size() const { return size_; }

  void finish();  // everything is on the disk, still under the other name
  void commit();  // finishes and renames; at most once

 private:
  void flush();
  void put(const uint8_t* data, size_t bytes);
  [[noreturn]] void fail(const char* what, int error) const;

  std::string path_, temporary_;
  int fd_ = -1;
  bool there_ = false;  // the temporary file exists
  uint64_t size_ = 0;
  std::vector<uint8_t> buffer_;
};

}  // namespace gemloupe
