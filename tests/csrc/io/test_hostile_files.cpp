// Damaged and hostile files: whatever the bytes, a reader either opens them, and then every tensor lies inside them, or throws
// an Error that names the file. Sanitizers see the rest: the bytes are in a block of memory that ends where the file does.
#include <functional>
#include <random>

#include "csrc/io/gguf.h"
#include "csrc/io/safetensors.h"
#include "tests/csrc/io/bytes.h"

using namespace gemloupe;
using namespace gemloupe::test;

namespace {

using Reader = std::function<std::vector<TensorEntry>(std::span<const uint8_t>, const std::string&)>;

struct Outcome {
  int opened = 0, refused = 0, broken = 0;
};

bool inside(const TensorEntry& tensor, std::span<const uint8_t> file) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(file.data()), at = reinterpret_cast<uintptr_t>(tensor.data);
  return at >= begin && at - begin <= file.size() && tensor.bytes <= file.size() - (at - begin);
}

void attempt(const Reader& read, const Bytes& source, size_t size, Outcome& outcome) {
  const std::unique_ptr<uint8_t[]> file(new uint8_t[size]);
  std::copy_n(source.begin(), size, file.get());
  const std::span<const uint8_t> bytes(file.get(), size);
  try {
    volatile uint8_t touched = 0;
    for (const TensorEntry& tensor : read(bytes, "hostile file")) {
      outcome.broken += !inside(tensor, bytes);
      if (tensor.bytes > 0 && inside(tensor, bytes)) touched = uint8_t(tensor.data[0] ^ tensor.data[tensor.bytes - 1]);
    }
    (void)touched;
    outcome.opened += 1;
  } catch (const Error& error) {
    outcome.refused += 1;
    outcome.broken +=
        !std::string_view(error.what()).starts_with("hostile file: ") || std::string_view(error.what()).size() < 20;
  } catch (const std::exception& error) {
    MESSAGE(error.what());
    outcome.broken += 1;
  }
}

struct Format {
  const char* name;
  Reader read;
  Bytes valid;
  size_t header;  // its bytes
};

std::vector<Format> formats() {
  const Bytes small = gguf(
      3,
      {entry("general.architecture", "gemma3"), entry("general.alignment", MetaType::u32, uint32_t(32)),
       entry("n", MetaType::i64, int64_t(-5)), entry("f", MetaType::f32, 1.5f), entry("b", MetaType::boolean, uint8_t(1)),
       array_entry<std::string>("tokens", MetaType::string, {"<pad>", "a", "", "Grüße"}),
       array_entry<uint8_t>("flags", MetaType::boolean, {1, 0, 1}), array_entry<float>("scores", MetaType::f32, {0.0f, -1.0f}),
       array_entry<int16_t>("kinds", MetaType::i16, {1, 2, 3})},
      {{"a.weight", {4, 3}, 0, 0}, {"b.weight", {64, 2}, 2, 64}, {"limit", {}, 0, 160}}, 164);
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},)"
      R"("b":{"dtype":"BF16","shape":[],"data_offsets":[48,50]},"c":{"dtype":"I8","shape":[2,0],"data_offsets":[50,50]},)"
      R"("d\u00fc":{"dtype":"U8","shape":[7],"data_offsets":[50,57]}} )";
  return {
      {"gguf", [](auto bytes, const std::string& path) { return read_gguf(bytes, path).tensors; }, small, small.size() - 164},
      {"safetensors", read_safetensors, safetensors(header, 57), 8 + header.size()}};
}

}  // namespace

TEST_SUITE("io") {
  TEST_CASE("hostile files: cut off at every length") {
    for (const Format& format : formats()) {
      CAPTURE(format.name);
      Outcome outcome;
      attempt(format.read, format.valid, format.valid.size(), outcome);
      REQUIRE(outcome.opened == 1);
      for (size_t size = 0; size < format.valid.size(); ++size) attempt(format.read, format.valid, size, outcome);
      CHECK(outcome.opened == 1);  // the whole file ends with the last tensor's last byte
      CHECK(outcome.refused == int(format.valid.size()));
      CHECK(outcome.broken == 0);
    }
  }

  TEST_CASE("hostile files: every bit of the header flipped") {
    for (const Format& format : formats()) {
      CAPTURE(format.name);
      Outcome outcome;
      Bytes bytes = format.valid;
      for (size_t bit = 0; bit < 8 * format.header; ++bit) {
        bytes[bit / 8] ^= uint8_t(1 << bit % 8);
        attempt(format.read, bytes, bytes.size(), outcome);
        bytes[bit / 8] ^= uint8_t(1 << bit % 8);
      }
      CHECK(outcome.opened > 0);  // a changed letter of a name is another name
      CHECK(outcome.refused > 0);
      CHECK(outcome.opened + outcome.refused == int(8 * format.header));
      CHECK(outcome.broken == 0);
    }
  }

  TEST_CASE("hostile files: 40000 random mutations each") {
    constexpr int kAttempts = 40000;
    constexpr uint64_t kInteresting[] = {0,
                                         1,
                                         2,
                                         7,
                                         8,
                                         9,
                                         31,
                                         32,
                                         33,
                                         255,
                                         0x7FFFFFFF,
                                         0x80000000,
                                         0xFFFFFFFF,
                                         uint64_t(1) << 32,
                                         ~uint64_t(0) >> 1,
                                         uint64_t(1) << 63,
                                         ~uint64_t(0),
                                         ~uint64_t(0) - 31};
    for (const Format& format : formats()) {
      CAPTURE(format.name);
      std::mt19937_64 random(20261121);
      const auto below = [&](size_t n) { return size_t(random() % n); };
      Outcome outcome;
      for (int i = 0; i < kAttempts; ++i) {
        Bytes bytes = format.valid;
        for (size_t changes = 1 + below(4); changes > 0; --changes) {
          const size_t at = below(std::min(bytes.size(), format.header));
          const size_t width = std::min(bytes.size() - at, size_t(1) << below(4));
          const auto here = bytes.begin() + std::ptrdiff_t(at);
          switch (below(6)) {
            case 0: bytes[at] = uint8_t(random()); break;
            case 1: bytes[at] = uint8_t(bytes[at] + 1 - 2 * below(2)); break;
            case 2: {  // a number becomes one of the awkward ones
              const uint64_t value = kInteresting[below(std::size(kInteresting))];
              std::memcpy(&bytes[at], &value, width);
              break;
            }
            case 3: {  // a piece is copied over another
              const size_t from = below(bytes.size()), length = std::min(below(24), bytes.size() - std::max(from, at));
              std::memmove(&bytes[at], &bytes[from], length);
              break;
            }
            case 4: bytes.insert(here, below(40), uint8_t(random())); break;
            case 5: bytes.erase(here, here + std::ptrdiff_t(std::min(below(40), bytes.size() - at - 1))); break;
          }
        }
        attempt(format.read, bytes, bytes.size(), outcome);
      }
      CHECK(outcome.opened > 0);
      CHECK(outcome.refused > 0);
      CHECK(outcome.opened + outcome.refused == kAttempts);
      CHECK(outcome.broken == 0);
    }
  }

  TEST_CASE("hostile files: opened from the disk, cut and noisy ones") {
    const TemporaryFolder folder;
    std::mt19937_64 random(1);
    for (const Format& format : formats()) {
      CAPTURE(format.name);
      const std::string name = std::string("m.") + format.name;
      for (size_t size = 1; size < format.valid.size(); size += 37) {
        const std::string path = folder.write(name, std::span(format.valid).first(size));
        CHECK(says(message_of([&] { Checkpoint::open(path); }), {path + ": "}));
      }
      for (int i = 0; i < 50; ++i) {
        Bytes noise(1 + random() % 2000);
        for (uint8_t& byte : noise) byte = uint8_t(random());
        const std::string path = folder.write(name, noise);
        CHECK(says(message_of([&] { Checkpoint::open(path); }), {path + ": "}));
      }
    }
  }
}
