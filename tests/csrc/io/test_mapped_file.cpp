#include "csrc/io/mapped_file.h"

#include <algorithm>
#include <fstream>

#include "tests/csrc/io/bytes.h"

using namespace gemloupe;
using namespace gemloupe::test;

TEST_SUITE("io") {
  TEST_CASE("mapped_file: bytes that are given back are read again, from wherever they begin") {
    const TemporaryFolder folder;
    const std::string path = folder.file("bytes");
    Bytes bytes(5 * 65536 + 17);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    const auto file = MappedFile::open(path);
    const auto same = [&] { return std::equal(bytes.begin(), bytes.end(), file->bytes().begin(), file->bytes().end()); };
    REQUIRE(same());
    for (const bool forget : {false, true})
      for (const size_t begin : {size_t{0}, size_t{1}, size_t{4096}, size_t{70000}, bytes.size()}) {
        CAPTURE(forget);
        CAPTURE(begin);
        will_need(file->bytes().subspan(begin));
        will_not_need(file->bytes().subspan(begin), forget);
        CHECK(same());
      }
    CHECK(physical_memory() > 1 << 20);
  }
}
