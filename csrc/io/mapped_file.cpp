#include "csrc/io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <system_error>

#include "csrc/core/error.h"

namespace gemloupe {
namespace {

std::string reason(int error) { return std::generic_category().message(error); }

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  check(path.find('\0') == std::string::npos, "a path must not contain a zero byte");
  // O_NONBLOCK: opening a pipe must not wait for a writer; regular files ignore it.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  demand(file.fd >= 0, path, ": cannot open the file: ", reason(errno));
  struct stat status;
  demand(::fstat(file.fd, &status) == 0, path, ": cannot read the file's size: ", reason(errno));
  demand(!S_ISDIR(status.st_mode), path, ": is a folder, expected a file");
  demand(S_ISREG(status.st_mode), path, ": is a pipe or a device, expected a regular file: copy it to one");
  demand(uint64_t(status.st_size) <= std::numeric_limits<size_t>::max(), path, ": is too large for this machine's addresses");

  std::shared_ptr<MappedFile> mapped(new MappedFile);
  mapped->path_ = path;
  const size_t size = size_t(status.st_size);
  if (size > 0) {
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    demand(data != MAP_FAILED, path, ": cannot map ", size, " bytes: ", reason(errno));
    mapped->bytes_ = {static_cast<const uint8_t*>(data), size};
  }
  return mapped;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

void will_need(std::span<const uint8_t> mapped) {
  if (mapped.empty()) return;
  const uintptr_t page = uintptr_t(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(mapped.data()) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(mapped.data()) + mapped.size();
  (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);
}

void will_not_need(std::span<const uint8_t> mapped, [[maybe_unused]] bool forget) {
  const uintptr_t page = uintptr_t(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(mapped.data()) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(mapped.data()) + mapped.size()) / page * page;
  if (begin >= end) return;
#if defined(MADV_PAGEOUT)
  if (forget) (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_PAGEOUT);
#endif
  (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

uint64_t physical_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), bytes = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && bytes > 0 ? uint64_t(pages) * uint64_t(bytes) : 0;
}

}  // namespace gemloupe
