// A file's bytes, mapped read-only and private: pages are read when touched, and shared with everybody who maps the same file.
//
// The file must not shrink while it is mapped: touching a page behind its new end, or one the disk cannot deliver, ends the
// process with SIGBUS, which no library can turn into an exception. Replacing a file by rename, as our writers do, is safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace gemloupe {

class MappedFile {
 public:
  // Throws Error with the path and the system's reason; folders, pipes and devices are refused. An empty file has no bytes.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

 private:
  MappedFile() = default;
  std::string path_;
  std::span<const uint8_t> bytes_;
};

// Asks the system to read these bytes of a mapped file ahead. A hint: never fails.
void will_need(std::span<const uint8_t> mapped);
// Gives back the memory of the pages that lie wholly in these bytes; touched again they are read again. forget: the system shall
// not keep them in its cache either. A hint: never fails.
void will_not_need(std::span<const uint8_t> mapped, bool forget = false);
// Bytes of the machine's memory, 0 if unknown.
uint64_t physical_memory();

}  // namespace gemloupe
