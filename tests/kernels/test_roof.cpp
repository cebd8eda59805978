#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "kernels/common/team.h"
#include "kernels/roof/roof.h"

namespace gemloupe {
namespace {

TEST_CASE("roof: every variant reads every byte once") {
  std::mt19937_64 random(1);
  std::vector<uint8_t> bytes(70'000);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
  for (const auto* way : {&roof::read_plain, &roof::read_ahead})
    for (const auto& variant : way->runnable())
      for (const int64_t count : {0, 1, 7, 8, 255, 256, 257, 511, 513, 1024, 4095, 65'537})
        for (const int64_t from : {0, 1, 64}) {
          CAPTURE(variant.name);
          CAPTURE(count);
          CHECK(variant.run(bytes.data() + from, count) == roof::reference::read_bytes(bytes.data() + from, count));
        }
}

TEST_CASE("roof: the reference is the exclusive or of the words") {
  const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 0, 0, 0, 0, 0, 0, 16};
  CHECK(roof::reference::read_bytes(bytes, 8) == 0x0807060504030201u);
  CHECK(roof::reference::read_bytes(bytes, 16) == 0x0807060504030200u);
  CHECK(roof::reference::read_bytes(bytes, 17) == 0x0807060504030210u);
}

TEST_CASE("roof: operations grow with the rounds") {
  for (const auto* spin : {&roof::fma_spin, &roof::integer_spin, &roof::bf16_spin})
    for (const auto& variant : spin->runnable()) {
      CAPTURE(variant.name);
      const double one = variant.run(1, 3);
      CHECK(one >= 2);
      CHECK(variant.run(17, 3) == 17 * one);
      CHECK(variant.run(0, 3) == 0);
    }
}

TEST_CASE("roof: a measurement is a rate, whatever the threads and the buffer") {
  const int before = threads();
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    CHECK(roof::measure_read(1e-3, 1'000'001) > 0);
    CHECK(roof::measure(roof::fma_spin, Isa::reference, 1e-3) > 0);
    CHECK(roof::measure(roof::bf16_spin, detected_isa(), 1e-3) > 0);
  }
  set_threads(before);
}

}  // namespace
}  // namespace gemloupe
