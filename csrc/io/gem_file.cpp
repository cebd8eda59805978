#include "csrc/io/gem_file.h"

#include <algorithm>
#include <cstring>

#include "csrc/core/error.h"
#include "csrc/io/checksum.h"
#include "csrc/io/output_file.h"
#include "csrc/io/tensor_bytes.h"
#include "kernels/common/team.h"

namespace gemloupe {
namespace {

constexpr char kMagic[] = "GEMLOUPE";
constexpr uint64_t kHead = 64, kPage = 4096, kEntry = 16;

struct Head {
  char magic[8];
  uint32_t version, pieces;
  uint64_t file_bytes, table_sum;
  uint8_t zeros[24];
  uint64_t sum;
};
static_assert(sizeof(Head) == kHead);

uint64_t up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

template <class T>
std::span<const uint8_t> as_bytes(const T* values, size_t count) {
  return {reinterpret_cast<const uint8_t*>(values), count * sizeof(T)};
}
uint64_t sum_of(const Head& head) { return checksum64(as_bytes(&head, 1).first(kHead - 8)); }

uint64_t word(std::span<const uint8_t> bytes, uint64_t at) {
  uint64_t v;
  std::memcpy(&v, bytes.data() + at, 8);
  return v;
}

}  // namespace

bool GemFile::begins(std::span<const uint8_t> bytes) { return bytes.size() >= 8 && std::memcmp(bytes.data(), kMagic, 8) == 0; }

GemFile::GemFile(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {
  const std::span<const uint8_t> bytes = file_->bytes();
  const std::string at = path() + ": ";
  demand(begins(bytes), at, "is no .gem file, which begins with the letters ", kMagic);
  demand(bytes.size() >= kHead, at, "the .gem file ends within its head; fetch it again");
  Head head;
  std::memcpy(&head, bytes.data(), kHead);
  demand(head.version == kVersion, at, "is a .gem file of version ", head.version, ", this program reads version ", kVersion,
         "; make it again from the model's own files");
  demand(head.sum == sum_of(head), at, "the head's checksum does not fit: a damaged file");
  demand(head.file_bytes == bytes.size(), at, "has ", bytes.size(), " bytes, its head says ", head.file_bytes,
         bytes.size() < head.file_bytes ? ": it was cut off; fetch it again" : ": a damaged file");
  // Both tables fit, so nothing below overflows.
  const uint64_t count = head.pieces;
  demand(count >= 1 && count <= (bytes.size() - kHead) / (kEntry + 8), at, "the table of ", count, " pieces does not fit in the file");
  const std::span<const uint8_t> table = bytes.subspan(kHead, count * kEntry);
  demand(checksum64(table) == head.table_sum, at, "the table's checksum does not fit: a damaged file");

  const uint64_t tail = 8 * (count + 1);
  demand(bytes.size() - kHead - table.size() >= tail, at, "the table of ", count, " pieces does not fit in the file");
  const uint64_t limit = bytes.size() - tail;
  uint64_t end = kHead + table.size();
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t offset = word(table, i * kEntry), length = word(table, i * kEntry + 8);
    demand(offset % kPage == 0, at, "piece ", i, " begins at ", offset, ", which is no multiple of ", kPage);
    demand(offset >= end, at, "piece ", i, " begins at ", offset, ", within what lies before it (up to ", end, ")");
    demand(offset <= limit && length <= limit - offset, at, "piece ", i, " (", length, " bytes at ", offset, ") reaches beyond the end, ", limit);
    pieces_.push_back(bytes.subspan(offset, length));
    end = offset + length;
  }
  demand(up(end, 8) == limit, at, "the checksums should follow the last piece at ", end, ", the file leaves room from ", limit, " on");
  demand(checksum64(bytes.subspan(limit, 8 * count)) == word(bytes, limit + 8 * count), at,
         "the checksums' own checksum does not fit: a damaged file");
  for (uint64_t i = 0; i < count; ++i) sums_.push_back(word(bytes, limit + 8 * i));
  demand(checksum64(pieces_[0]) == sums_[0], at, "the description's checksum does not fit: a damaged file");
}

void GemFile::verify(const std::function<void()>& poll) const {
  constexpr size_t kAtOnce = size_t{64} << 20;
  std::vector<Checksum64> sums(pieces_.size());
  // Small pieces by the dozen, one to a thread; the large ones slab by slab.
  for (size_t first = 0, last; first < pieces_.size(); first = last) {
    size_t together = 0;
    for (last = first; last < pieces_.size() && (last == first || together + pieces_[last].size() <= kAtOnce); ++last)
      together += pieces_[last].size();
    if (last - first > 1) {
      if (poll) poll();
      share(static_cast<int64_t>(last - first), 1, [&](int64_t from, int64_t to) {
        for (size_t i = first + static_cast<size_t>(from); i < first + static_cast<size_t>(to); ++i) sums[i].add(pieces_[i]);
      });
      continue;
    }
    for (std::span<const uint8_t> left = pieces_[first]; !left.empty(); left = left.subspan(std::min(left.size(), kAtOnce))) {
      if (poll) poll();
      sums[first].add(left.first(std::min(left.size(), kAtOnce)));
    }
  }
  for (size_t i = 0; i < pieces_.size(); ++i)
    demand(sums[i].value() == sums_[i], path(), ": piece ", i, " (", pieces_[i].size(), " bytes at ",
           pieces_[i].data() - file_->bytes().data(), ") is damaged: its checksum does not fit; fetch or make the file again");
}

void write_gem(const std::string& path, const std::vector<TensorToWrite>& pieces) {
  check(!pieces.empty() && pieces.size() < (size_t{1} << 24), path, ": a .gem file has 1 to 2^24 pieces, got ", pieces.size());
  std::vector<uint64_t> table, sums;
  uint64_t end = kHead + pieces.size() * kEntry;
  for (const TensorToWrite& piece : pieces) {
    check_bytes(piece, piece.bytes);
    table.insert(table.end(), {up(end, kPage), piece.bytes});
    end = up(end, kPage) + piece.bytes;
  }
  Head head{};
  std::memcpy(head.magic, kMagic, 8);
  head.version = GemFile::kVersion;
  head.pieces = static_cast<uint32_t>(pieces.size());
  head.file_bytes = up(end, 8) + 8 * (pieces.size() + 1);
  head.table_sum = checksum64(as_bytes(table.data(), table.size()));
  head.sum = sum_of(head);

  OutputFile file(path);
  file.write(as_bytes(&head, 1));
  file.write(as_bytes(table.data(), table.size()));
  for (const TensorToWrite& piece : pieces) {
    file.zeros(up(file.size(), kPage) - file.size());
    Checksum64 sum;
    write_bytes(piece, [&](std::span<const uint8_t> bytes) {
      sum.add(bytes);
      file.write(bytes);
    });
    sums.push_back(sum.value());
  }
  file.zeros(up(file.size(), 8) - file.size());
  const uint64_t of_sums = checksum64(as_bytes(sums.data(), sums.size()));
  file.write(as_bytes(sums.data(), sums.size()));
  file.write(as_bytes(&of_sums, 1));
  file.commit();
}

}  // namespace gemloupe
