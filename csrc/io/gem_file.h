// The container of .gem files: numbered pieces of bytes, each at a page's beginning, so that a mapped file is used as it lies.
// Knows nothing of models.
//
// Little-endian. A head of 64 bytes: "GEMLOUPE", u32 version, u32 number of pieces, u64 length of the file, u64 checksum of the
// table, 24 zero bytes, u64 checksum of the 56 bytes before. The table: offset and length of each piece, u64 each. The pieces,
// ascending, at multiples of 4096. At the next multiple of 8 the checksums of the pieces, u64 each, and the checksum of these.
// Checksums are XXH64.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "csrc/io/checkpoint.h"
#include "csrc/io/mapped_file.h"

namespace gemloupe {

class GemFile {
 public:
  static constexpr uint32_t kVersion = 1;
  static bool begins(std::span<const uint8_t> bytes);

  // Checks head, table and piece 0 against their checksums, and every place against the file. Throws Error that begins with the
  // path, whatever the bytes are.
  explicit GemFile(std::shared_ptr<const MappedFile> file);

  const std::string& path() const { return file_->path(); }
  const std::shared_ptr<const MappedFile>& file() const { return file_; }
  size_t pieces() const { return pieces_.size(); }
  std::span<const uint8_t> piece(size_t i) const { return pieces_[i]; }

  // Reads all pieces and compares them with their checksums; Error for one that is damaged. poll() is called every 64 MB.
  void verify(const std::function<void()>& poll = {}) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<std::span<const uint8_t>> pieces_;
  std::vector<uint64_t> sums_;
};

// Writes the pieces (of a TensorToWrite the bytes, and the name for messages), whole or not at all.
void write_gem(const std::string& path, const std::vector<TensorToWrite>& pieces);

}  // namespace gemloupe
