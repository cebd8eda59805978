#include "csrc/io/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "csrc/core/error.h"

namespace gemloupe {
namespace {

constexpr size_t kBuffer = size_t(1) << 20;
constexpr size_t kLargestWrite = size_t(1) << 30;  // Linux writes 2 GiB at most in one call

}  // namespace

OutputFile::OutputFile(const std::string& path) : path_(path) {
  check(!path.empty() && path.find('\0') == std::string::npos, "the path to write to is empty or contains a zero byte");
  // Not mkstemp: its files are private to their owner, and a model should get the permissions of any new file.
  for (int attempt = 0; fd_ < 0; ++attempt) {
    temporary_ = text(path, ".partial-", ::getpid(), "-", attempt);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && (errno != EEXIST || attempt == 1000)) fail("cannot create a file there", errno);
  }
  there_ = true;
  try {
    buffer_.reserve(kBuffer);
  } catch (...) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
    throw;
  }
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (there_) ::unlink(temporary_.c_str());
}

void OutputFile::fail(const char* what, int error) const {
  throw Error(text(path_, ": ", what, ": ", std::generic_category().message(error),
                   error == ENOSPC || error == EDQUOT ? "; free some space, nothing was left behind" : ""));
}

void OutputFile::put(const uint8_t* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t written = ::write(fd_, data, std::min(bytes, kLargestWrite));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write", errno);
    data += written;
    bytes -= size_t(written);
  }
}

void OutputFile::flush() {
  put(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void OutputFile::write(std::span<const uint8_t> bytes) {
  if (buffer_.size() + bytes.size() > kBuffer) flush();
  if (bytes.size() >= kBuffer) {
    put(bytes.data(), bytes.size());
  } else {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
  size_ += bytes.size();
}

void OutputFile::write(std::string_view bytes) { write({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}); }

void OutputFile::zeros(uint64_t count) {
  constexpr uint8_t kZeros[4096] = {};
  for (; count > 0; count -= std::min<uint64_t>(count, sizeof kZeros)) {
    write({kZeros, size_t(std::min<uint64_t>(count, sizeof kZeros))});
  }
}

void OutputFile::finish() {
  if (fd_ < 0) return;
  flush();
  buffer_ = {};
  if (::fsync(fd_) != 0) fail("cannot bring the file to the disk", errno);
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) fail("cannot close the file", errno);
}

void OutputFile::commit() {
  finish();
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot rename the finished file to this name", errno);
  there_ = false;
}

}  // namespace gemloupe
