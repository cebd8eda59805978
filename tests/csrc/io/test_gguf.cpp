#include <chrono>
#include <limits>

#include "csrc/io/ggml_types.h"
#include "csrc/io/gguf.h"
#include "csrc/io/printable.h"
#include "tests/csrc/io/bytes.h"

using namespace gemloupe;
using namespace gemloupe::test;

namespace {

const GgufTensor kPlain{"a.weight", {4, 3}, 0, 0};     // F32 [3, 4]: 48 bytes, 64 with padding
const GgufTensor kPacked{"b.weight", {64, 2}, 2, 64};  // Q4_0 [2, 64]: 72 bytes

std::string refusal(const Bytes& bytes) {
  return message_of([&] { read_gguf(bytes, "some.gguf"); });
}
std::string refusal_of_tensor(const GgufTensor& tensor, size_t data = 256) { return refusal(gguf(3, {}, {tensor}, data)); }
std::string refusal_of_entry(const Bytes& entry) { return refusal(gguf(3, {entry}, {}, 0)); }

template <class T> T meta(const GgufContents& contents, const std::string& key) {
  return std::get<T>(contents.metadata.at(key));
}

}  // namespace

TEST_SUITE("io") {
  TEST_CASE("gguf: tensors have the PyTorch shape and point at their bytes, in versions 2 and 3") {
    for (const uint32_t version : {2u, 3u}) {
      const Bytes bytes = gguf(version, {entry("general.name", "tiny")}, {kPlain, kPacked}, 64 + 72);
      const GgufContents contents = read_gguf(bytes, "some.gguf");
      REQUIRE(contents.tensors.size() == 2);
      const TensorEntry& a = contents.tensors[0];
      CHECK(a.name == "a.weight");
      CHECK(a.type == "F32");
      CHECK(a.shape == std::vector<int64_t>{3, 4});
      CHECK(a.bytes == 48);
      CHECK(a.data[0] == 0);
      const TensorEntry& b = contents.tensors[1];
      CHECK(b.type == "Q4_0");
      CHECK(b.shape == std::vector<int64_t>{2, 64});
      CHECK(b.bytes == 72);
      CHECK(b.data[0] == 64);
      CHECK(b.data + b.bytes == bytes.data() + bytes.size());
    }
  }

  TEST_CASE("gguf: every type of metadata, at its limits") {
    const auto contents = read_gguf(gguf(3,
                                         {entry("u8", MetaType::u8, uint8_t(255)),
                                          entry("i8", MetaType::i8, int8_t(-128)),
                                          entry("u16", MetaType::u16, uint16_t(65535)),
                                          entry("i16", MetaType::i16, int16_t(-32768)),
                                          entry("u32", MetaType::u32, uint32_t(4294967295u)),
                                          entry("i32", MetaType::i32, std::numeric_limits<int32_t>::min()),
                                          entry("u64", MetaType::u64, uint64_t(std::numeric_limits<int64_t>::max())),
                                          entry("i64", MetaType::i64, std::numeric_limits<int64_t>::min()),
                                          entry("f32", MetaType::f32, 0.1f),
                                          entry("f64", MetaType::f64, 0.1),
                                          entry("yes", MetaType::boolean, uint8_t(1)),
                                          entry("text", "Grüße"),
                                          entry("none", ""),
                                          array_entry<uint8_t>("bools", MetaType::boolean, {1, 0, 1}),
                                          array_entry<int32_t>("ints", MetaType::i32, {-1, 7}),
                                          array_entry<uint16_t>("shorts", MetaType::u16, {65535}),
                                          array_entry<float>("floats", MetaType::f32, {0.5f, -2.0f}),
                                          array_entry<double>("doubles", MetaType::f64, {1e300}),
                                          array_entry<std::string>("words", MetaType::string, {"", "a", "bc"}),
                                          array_entry<std::string>("no words", MetaType::string, {})},
                                         {}, 0),
                                    "some.gguf");
    CHECK(meta<int64_t>(contents, "u8") == 255);
    CHECK(meta<int64_t>(contents, "i8") == -128);
    CHECK(meta<int64_t>(contents, "u16") == 65535);
    CHECK(meta<int64_t>(contents, "i16") == -32768);
    CHECK(meta<int64_t>(contents, "u32") == 4294967295);
    CHECK(meta<int64_t>(contents, "i32") == std::numeric_limits<int32_t>::min());
    CHECK(meta<int64_t>(contents, "u64") == std::numeric_limits<int64_t>::max());
    CHECK(meta<int64_t>(contents, "i64") == std::numeric_limits<int64_t>::min());
    CHECK(meta<double>(contents, "f32") == double(0.1f));
    CHECK(meta<double>(contents, "f64") == 0.1);
    CHECK(meta<bool>(contents, "yes"));
    CHECK(meta<std::string>(contents, "text") == "Grüße");
    CHECK(meta<std::string>(contents, "none").empty());
    CHECK(meta<std::vector<bool>>(contents, "bools") == std::vector<bool>{true, false, true});
    CHECK(meta<std::vector<int64_t>>(contents, "ints") == std::vector<int64_t>{-1, 7});
    CHECK(meta<std::vector<int64_t>>(contents, "shorts") == std::vector<int64_t>{65535});
    CHECK(meta<std::vector<double>>(contents, "floats") == std::vector<double>{0.5, -2.0});
    CHECK(meta<std::vector<double>>(contents, "doubles") == std::vector<double>{1e300});
    CHECK(meta<std::vector<std::string>>(contents, "words") == std::vector<std::string>{"", "a", "bc"});
    CHECK(meta<std::vector<std::string>>(contents, "no words").empty());
    CHECK(contents.types.at("shorts") == MetaType::u16);
    CHECK(contents.types.at("f64") == MetaType::f64);
  }

  TEST_CASE("gguf: every ggml type takes its blocks, and no others") {
    for (const GgmlType& type : kGgmlTypes) {
      CAPTURE(type.name);
      const Bytes bytes = gguf(3, {}, {{"w", {3 * int64_t(type.elements), 5}, type.id, 0}}, 15 * type.bytes);
      const auto contents = read_gguf(bytes, "some.gguf");
      CHECK(contents.tensors[0].bytes == 15 * type.bytes);
      CHECK(contents.tensors[0].type == type.name);
      CHECK(ggml_type(std::string_view(type.name)) == &type);
      if (type.elements > 1) {
        CHECK(says(refusal_of_tensor({"w", {3 * int64_t(type.elements) - 1, int64_t(type.elements)}, type.id, 0}, 1 << 18),
                   {"'w'", type.name, "rows of"}));
      }
    }
  }

  TEST_CASE("gguf: a tensor without dimensions is one element") {
    const Bytes bytes = gguf(3, {}, {{"limit", {}, 0, 0}}, 4);
    const auto contents = read_gguf(bytes, "some.gguf");
    CHECK(contents.tensors[0].shape.empty());
    CHECK(contents.tensors[0].bytes == 4);
  }

  TEST_CASE("gguf: the alignment is the file's own") {
    const auto alignment = [](uint32_t n) { return entry("general.alignment", MetaType::u32, n); };
    const Bytes bytes = gguf(3, {alignment(8)}, {kPlain, {"c", {2}, 0, 48}}, 56, 8);
    CHECK(read_gguf(bytes, "some.gguf").tensors[1].data[0] == 48);
    CHECK(says(refusal(gguf(3, {alignment(64)}, {kPlain, {"c", {2}, 0, 96}}, 128, 64)), {"'c'", "offset 96", "alignment 64"}));
    for (const uint32_t bad : {0u, 24u, 0xFFFFFFFFu}) {
      CHECK(says(refusal(gguf(3, {alignment(bad)}, {}, 0)), {"general.alignment", "power of two"}));
    }
    CHECK(says(refusal_of_entry(entry("general.alignment", "32")), {"general.alignment"}));
    // Larger than the file itself: nothing may be computed beyond its end.
    CHECK(says(refusal(gguf(3, {alignment(0x80000000u)}, {kPlain}, 64)), {"'a.weight'", "truncated"}));
  }

  TEST_CASE("gguf: the beginning tells what is wrong") {
    Bytes bytes = gguf(3, {}, {kPlain}, 64);
    const auto with_version = [&](uint32_t version) {
      std::memcpy(bytes.data() + 4, &version, 4);
      return refusal(bytes);
    };
    CHECK(says(with_version(1), {"some.gguf: ", "version 1", "convert"}));
    CHECK(says(with_version(4), {"version 4", "versions 2 and 3"}));
    CHECK(says(with_version(0), {"version 0"}));
    CHECK(says(with_version(3u << 24), {"big-endian"}));
    CHECK(says(with_version(2u << 24), {"big-endian"}));
    bytes[0] = 'X';
    CHECK(says(refusal(bytes), {"some.gguf: ", "GGUF", "'XGUF'"}));
    CHECK(says(refusal({}), {"some.gguf: ", "GGUF"}));
  }

  TEST_CASE("gguf: counts and lengths are checked before anything is allocated") {
    constexpr uint64_t kHuge[] = {uint64_t(1) << 30, uint64_t(1) << 32, uint64_t(1) << 61, ~uint64_t(0), uint64_t(1) << 63};
    // An attempt to allocate most of these would end in bad_alloc, whose message is another one.
    for (const uint64_t huge : kHuge) {
      CAPTURE(huge);
      for (const uint32_t type : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 10u, 11u, 12u}) {
        const Bytes claimed =
            ByteWriter().string("tokens").put(uint32_t(9)).put(type).put(huge).raw(std::string(1000, '\0')).bytes;
        CHECK(says(refusal_of_entry(claimed), {"'tokens'", text("array of ", huge, " elements"), "metadata entry 1 of 1"}));
      }
      CHECK(says(refusal_of_entry(ByteWriter().put(huge).raw("key").bytes), {"the file ends at byte"}));
      CHECK(says(refusal_of_entry(ByteWriter().string("name").put(uint32_t(8)).put(huge).raw("abc").bytes),
                 {"'name'", "truncated"}));
      Bytes bytes = gguf(3, {}, {kPlain}, 64);
      std::memcpy(bytes.data() + 8, &huge, 8);
      CHECK(says(refusal(bytes), {text("claims ", huge, " tensors")}));
      bytes = gguf(3, {}, {kPlain}, 64);
      std::memcpy(bytes.data() + 16, &huge, 8);
      CHECK(says(refusal(bytes), {text("claims ", huge, " metadata entries")}));
    }
  }

  TEST_CASE("gguf: metadata that cannot be") {
    CHECK(says(refusal_of_entry(entry("n", MetaType::u64, uint64_t(1) << 63)), {"'n'", "9223372036854775808", "63 bits"}));
    CHECK(says(refusal_of_entry(array_entry<uint64_t>("n", MetaType::u64, {0, ~uint64_t(0)})), {"'n'", "63 bits"}));
    CHECK(says(refusal_of_entry(entry("b", MetaType::boolean, uint8_t(2))), {"'b'", "0 or 1, got 2"}));
    CHECK(says(refusal_of_entry(array_entry<uint8_t>("b", MetaType::boolean, {1, 200})), {"'b'", "got 200"}));
    CHECK(says(refusal_of_entry(entry("t", MetaType(13), 0)), {"'t'", "type 13"}));
    CHECK(says(refusal_of_entry(entry("t", MetaType(0xFFFFFFFF), 0)), {"'t'", "type 4294967295"}));
    CHECK(says(refusal_of_entry(array_entry<uint8_t>("t", MetaType(13), {1, 2})), {"'t'", "type 13"}));
    CHECK(says(refusal_of_entry(array_entry<uint64_t>("t", MetaType(9), {1, 2, 3})), {"'t'", "array of arrays"}));
    CHECK(says(refusal_of_entry(entry("", MetaType::u8, uint64_t(0))), {"key", "has 0"}));
    CHECK(says(refusal_of_entry(entry("a\xFF", "text")), {"'a\\xff'", "UTF-8"}));
    CHECK(says(refusal_of_entry(entry(std::string(65536, 'k'), "text")), {"65536"}));
    CHECK(says(refusal(gguf(3, {entry("a", "1"), entry("b", "2"), entry("a", "3")}, {}, 0)),
               {"metadata entry 3 of 3 'a'", "twice"}));
  }

  TEST_CASE("gguf: tensors that cannot be") {
    const int64_t large = std::numeric_limits<int64_t>::max();
    CHECK(says(refusal_of_tensor({"w", {1, 1, 1, 1, 1}, 0, 0}), {"'w'", "5 dimensions"}));
    CHECK(says(refusal_of_tensor({"w", {0, 4}, 0, 0}), {"'w'", "dimension 0 is 0"}));
    CHECK(says(refusal_of_tensor({"w", {4, -1}, 0, 0}), {"'w'", "dimension 1 is -1"}));
    CHECK(says(refusal_of_tensor({"w", {large, large}, 0, 0}), {"'w'", "63 bits"}));
    CHECK(says(refusal_of_tensor({"w", {int64_t(1) << 32, int64_t(1) << 32}, 24, 0}), {"'w'", "63 bits"}));  // wraps to 0 bytes
    CHECK(says(refusal_of_tensor({"w", {int64_t(1) << 62}, 0, 0}), {"'w'", "64 bits"}));  // elements fit, bytes wrap to 0
    CHECK(says(refusal_of_tensor({"w", {large}, 24, 0}), {"'w'", "truncated"}));
    CHECK(says(refusal_of_tensor({"w", {4}, 0, uint64_t(0) - 32}), {"'w'", "truncated"}));  // offset + bytes wraps
    CHECK(says(refusal_of_tensor({"w", {4}, 0, 256}), {"'w'", "offset 256", "truncated"}));
    CHECK(says(refusal_of_tensor({"w", {65}, 0, 0}), {"'w'", "260 bytes", "truncated"}));
    CHECK(says(refusal_of_tensor({"w", {4}, 0, 16}), {"'w'", "offset 16", "alignment 32"}));
    CHECK(says(refusal_of_tensor({"", {4}, 0, 0}), {"tensor 1 of 1", "name", "has 0"}));
    CHECK(says(refusal_of_tensor({"\xC0\x80", {4}, 0, 0}), {"'\\xc0\\x80'", "UTF-8"}));
    for (const uint32_t id : {4u, 5u, 31u, 36u, 38u, 43u, 139u, 0xFFFFFFFFu}) {
      CHECK(says(refusal_of_tensor({"w", {256}, id, 0}), {"'w'", text("unknown ggml type ", id), ggml_unknown_type(id)}));
    }
    CHECK(says(refusal(gguf(3, {}, {kPlain, {"a.weight", {4}, 0, 64}}, 96)), {"tensor 2 of 2 'a.weight'", "two tensors"}));
    CHECK(says(refusal(gguf(3, {}, {{"late", {4}, 0, 32}, kPlain}, 96)), {"'late'", "overlaps", "'a.weight'"}));
    CHECK(says(refusal(gguf(3, {}, {{"one", {4}, 0, 0}, {"two", {4}, 0, 0}}, 96)), {"'one'", "overlaps", "'two'"}));
  }

  TEST_CASE("gguf: hostile names do not reach the terminal") {
    const std::string message = refusal_of_tensor({"\x1B[2Jw\xC2\x9B\n", {256}, 4, 0});
    CHECK(says(message, {"'\\x1b[2Jw\\xc2\\x9b\\x0a'"}));
    CHECK(refusal_of_tensor({std::string(60000, 'w'), {256}, 4, 0}).size() < 500);
    CHECK(printable("Grüße 你好 😀") == "'Grüße 你好 😀'");
    CHECK(printable("\xED\xA0\x80") == "'\\xed\\xa0\\x80'");  // a surrogate
    CHECK_FALSE(is_utf8("\xF4\x90\x80\x80"));
    CHECK_FALSE(is_utf8("\xE0\x9F\xBF"));
    CHECK_FALSE(is_utf8("\xE2\x82"));
    CHECK(is_utf8("\xF4\x8F\xBF\xBF"));
  }

  TEST_CASE("gguf: a file opened by name, its tensors found and its metadata typed") {
    const TemporaryFolder folder;
    const std::string path = folder.write(
        "m.gguf",
        gguf(3,
             {entry("general.architecture", "gemma4"), entry("n", MetaType::u32, uint32_t(7)), entry("f", MetaType::f32, 0.5f),
              entry("b", MetaType::boolean, uint8_t(1)), array_entry<uint8_t>("pattern", MetaType::boolean, {1, 0}),
              array_entry<int32_t>("heads", MetaType::i32, {4, 8})},
             {kPlain, kPacked}, 64 + 72));
    auto model = Checkpoint::open(path);
    CHECK(model->kind == Checkpoint::Kind::gguf);
    CHECK(model->path == path);
    REQUIRE(model->find("b.weight") != nullptr);
    CHECK(model->find("b.weight")->data[71] == 64 + 71);
    CHECK(model->find("c.weight") == nullptr);
    CHECK(model->integer("n") == 7);
    CHECK(model->number("n") == 7.0);
    CHECK(model->number("f") == 0.5);
    CHECK(model->boolean("b") == true);
    CHECK(model->string("general.architecture") == "gemma4");
    CHECK(model->integers("heads") == std::vector<int64_t>{4, 8});
    CHECK(model->integers("n") == std::vector<int64_t>{7});
    CHECK(model->integers("pattern") == std::vector<int64_t>{1, 0});
    CHECK(model->integers("b") == std::vector<int64_t>{1});
    CHECK_FALSE(model->integer("absent").has_value());
    CHECK_FALSE(model->integers("absent").has_value());
    CHECK(says(message_of([&] { model->integer("f"); }), {path, "'f'", "an integer", "a number"}));
    CHECK(says(message_of([&] { model->string("n"); }), {path, "'n'", "a string", "an integer"}));
    CHECK(says(message_of([&] { model->number("general.architecture"); }), {"a number", "a string"}));
    CHECK(says(message_of([&] { model->integers("f"); }), {"a list of integers", "a number"}));

    // The bytes outlive the checkpoint's own name, and the file's.
    const std::shared_ptr<const void> owner = model->owner;
    const uint8_t* data = model->find("a.weight")->data;
    model.reset();
    std::filesystem::remove(path);
    CHECK(data[47] == 47);
  }

  TEST_CASE("gguf: any part of a split model opens the whole") {
    const TemporaryFolder folder;
    const auto part = [](int no, int count, const std::vector<GgufTensor>& tensors, size_t data, int32_t total = 3) {
      std::vector<Bytes> entries{entry("split.no", MetaType::u16, uint16_t(no)),
                                 entry("split.count", MetaType::u16, uint16_t(count)),
                                 entry("split.tensors.count", MetaType::i32, total)};
      if (no == 0) entries.push_back(entry("general.name", "first"));
      return gguf(3, entries, tensors, data);
    };
    const std::string first = folder.write("m-00001-of-00003.gguf", part(0, 3, {}, 0));
    const std::string second = folder.write("m-00002-of-00003.gguf", part(1, 3, {kPlain, kPacked}, 136));
    const std::string third = folder.write("m-00003-of-00003.gguf", part(2, 3, {{"c", {2}, 0, 0}}, 8));
    for (const std::string& path : {first, second, third}) {
      const auto model = Checkpoint::open(path);
      CHECK(model->path == path);
      REQUIRE(model->tensors.size() == 3);
      CHECK(model->tensors[2].name == "c");
      CHECK(model->find("b.weight")->data[0] == 64);
      CHECK(model->string("general.name") == "first");
      CHECK(model->metadata.size() == 1);  // split.* speaks of the files, not of the model
      CHECK(model->metadata_types.size() == 1);
    }
    folder.write("m-00003-of-00003.gguf", part(2, 3, {kPlain}, 64));
    CHECK(says(message_of([&] { Checkpoint::open(first); }), {first, "'a.weight'", "two of the model's files"}));
    folder.write("m-00003-of-00003.gguf", part(1, 3, {{"c", {2}, 0, 0}}, 8));
    CHECK(says(message_of([&] { Checkpoint::open(first); }), {third, "split.no 2, got 1"}));
    folder.write("m-00003-of-00003.gguf", part(2, 4, {{"c", {2}, 0, 0}}, 8));
    CHECK(says(message_of([&] { Checkpoint::open(first); }), {third, "split.count 3"}));
    folder.write("m-00003-of-00003.gguf", part(2, 3, {}, 0));
    CHECK(says(message_of([&] { Checkpoint::open(first); }), {first, "2 tensors", "expected 3"}));
    std::filesystem::remove(third);
    CHECK(says(message_of([&] { Checkpoint::open(first); }), {"part 3 is missing", third}));
    const std::string odd = folder.write("odd.gguf", part(0, 3, {}, 0));
    CHECK(says(message_of([&] { Checkpoint::open(odd); }), {odd, "one of 3 parts", "-00001-of-00003.gguf", "rename"}));
    CHECK(Checkpoint::open(folder.write("whole.gguf", part(0, 1, {kPlain}, 64)))->tensors.size() == 1);
  }

  TEST_CASE("gguf: a vocabulary of 262144 words opens in less than 0.3 s") {
    const TemporaryFolder folder;
    std::vector<std::string> words;
    for (int i = 0; i < 262144; ++i) words.push_back("▁word" + std::to_string(i));
    write_gguf(folder.file("v.gguf"), {{"tokenizer.ggml.tokens", words}}, {});
    const auto start = std::chrono::steady_clock::now();
    const auto model = Checkpoint::open(folder.file("v.gguf"));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    CHECK(std::get<std::vector<std::string>>(model->metadata.at("tokenizer.ggml.tokens")) == words);
    CHECK(seconds < 0.3);
  }
}
