#include <sys/resource.h>

#include <csignal>
#include <numeric>

#include "csrc/io/mapped_file.h"
#include "tests/csrc/io/bytes.h"

using namespace gemloupe;
using namespace gemloupe::test;

TEST_SUITE("io") {
  TEST_CASE("gguf: what is written is read back, values, types and bytes") {
    const TemporaryFolder folder;
    const std::string path = folder.file("out.gguf");
    Bytes a(48), b(72), c(4);
    std::iota(a.begin(), a.end(), uint8_t(1));
    std::iota(b.begin(), b.end(), uint8_t(100));
    std::iota(c.begin(), c.end(), uint8_t(200));
    std::vector<std::pair<std::string, MetaValue>> metadata{{"general.architecture", std::string("gemma3")},
                                                            {"count", int64_t(18)},
                                                            {"negative", int64_t(-3)},
                                                            {"wide", int64_t(1) << 40},
                                                            {"eps", 1e-6},
                                                            {"flag", true},
                                                            {"flags", std::vector<bool>{true, false}},
                                                            {"kinds", std::vector<int64_t>{1, -2}},
                                                            {"ids", std::vector<int64_t>{0, 4000000000}},
                                                            {"scores", std::vector<double>{-1.5, 0.1}},
                                                            {"tokens", std::vector<std::string>{"<pad>", "", "▁the"}},
                                                            {"none", std::vector<int64_t>{}},
                                                            {"exact", 0.1},
                                                            {"short", int64_t(7)},
                                                            {"longs", std::vector<int64_t>{1, 2}}};
    const std::map<std::string, MetaType> types{{"exact", MetaType::f64}, {"short", MetaType::u16}, {"longs", MetaType::u64}};
    TensorToWrite produced{"b.weight", "Q4_0", {2, 64}, nullptr, 72, nullptr, {}};
    produced.produce = [&](const TensorToWrite::Write& write) {  // a row at a time
      write(std::span(b).first(36));
      write(std::span(b).last(36));
    };
    write_gguf(path, metadata,
               {{"a.weight", "F32", {3, 4}, a.data(), 48, nullptr, {}}, produced, {"c", "F32", {}, c.data(), 4, nullptr, {}}},
               types);
    CHECK(folder.count() == 1);

    const auto model = Checkpoint::open(path);
    for (auto& [key, value] : metadata) {
      CAPTURE(key);
      if (key == "eps") value = double(float(1e-6));
      if (key == "scores") value = std::vector<double>{-1.5, double(0.1f)};
      REQUIRE(model->metadata.count(key) == 1);
      CHECK(model->metadata.at(key) == value);
    }
    const std::map<std::string, MetaType> stored{{"general.architecture", MetaType::string},
                                                 {"count", MetaType::u32},
                                                 {"negative", MetaType::i32},
                                                 {"wide", MetaType::i64},
                                                 {"eps", MetaType::f32},
                                                 {"flag", MetaType::boolean},
                                                 {"flags", MetaType::boolean},
                                                 {"kinds", MetaType::i32},
                                                 {"ids", MetaType::u32},
                                                 {"scores", MetaType::f32},
                                                 {"tokens", MetaType::string},
                                                 {"none", MetaType::i32},
                                                 {"exact", MetaType::f64},
                                                 {"short", MetaType::u16},
                                                 {"longs", MetaType::u64}};
    CHECK(model->metadata_types == stored);
    CHECK(std::equal(a.begin(), a.end(), model->find("a.weight")->data));
    CHECK(std::equal(b.begin(), b.end(), model->find("b.weight")->data));
    CHECK(std::equal(c.begin(), c.end(), model->find("c")->data));
    CHECK(model->find("c")->shape == std::vector<int64_t>{1});
    CHECK(std::filesystem::file_size(path) % 32 == 0);

    // Passed through, the file is the same to the byte but for the order of its keys; written again, wholly.
    const auto again = [&](const Checkpoint& from, const std::string& to) {
      std::vector<TensorToWrite> tensors;
      for (const TensorEntry& t : from.tensors) tensors.push_back({t.name, t.type, t.shape, t.data, t.bytes, from.owner, {}});
      write_gguf(to, {from.metadata.begin(), from.metadata.end()}, tensors, from.metadata_types);
      const auto file = MappedFile::open(to);
      return Bytes(file->bytes().begin(), file->bytes().end());
    };
    const Bytes one = again(*model, folder.file("again.gguf"));
    CHECK(one.size() == std::filesystem::file_size(path));
    CHECK(again(*Checkpoint::open(folder.file("again.gguf")), path) == one);  // over a file that is mapped
    CHECK(model->find("b.weight")->data[0] == 100);
  }

  TEST_CASE("gguf: the writer refuses what no reader would take, and leaves nothing behind") {
    const TemporaryFolder folder;
    const std::string path = folder.file("out.gguf");
    const Bytes data(256);
    const auto refused = [&](std::vector<std::pair<std::string, MetaValue>> metadata, std::vector<TensorToWrite> tensors,
                             std::map<std::string, MetaType> types = {}) {
      const std::string message = message_of<std::invalid_argument>([&] { write_gguf(path, metadata, tensors, types); });
      CHECK(folder.count() == 0);
      return message;
    };
    const auto tensor = [&](const char* name, const char* type, std::vector<int64_t> shape, uint64_t bytes) {
      return TensorToWrite{name, type, std::move(shape), data.data(), bytes, nullptr, {}};
    };
    CHECK(says(refused({{"a", int64_t(1)}, {"a", int64_t(1)}}, {}), {"'a'", "twice"}));
    CHECK(says(refused({{"", int64_t(1)}}, {}), {"key"}));
    CHECK(says(refused({{"a", int64_t(300)}}, {}, {{"a", MetaType::u8}}), {"'a'", "300"}));
    CHECK(says(refused({{"a", int64_t(-1)}}, {}, {{"a", MetaType::u64}}), {"'a'", "-1"}));
    CHECK(says(refused({{"a", 1e39}}, {}), {"'a'", "float32"}));
    CHECK(says(refused({{"a", std::string("x")}}, {}, {{"a", MetaType::u8}}), {"'a'", "string"}));
    CHECK(says(refused({{"a", true}}, {}, {{"a", MetaType::u8}}), {"'a'", "bool"}));
    CHECK(says(refused({{"general.alignment", int64_t(24)}}, {}), {"power of two"}));
    CHECK(says(refused({}, {tensor("w", "F8_E4M3", {4}, 4)}), {"'w'", "'F8_E4M3'"}));
    CHECK(says(refused({}, {tensor("w", "F32", {4}, 15)}), {"'w'", "16", "15"}));
    CHECK(says(refused({}, {tensor("w", "Q4_0", {2, 16}, 18)}), {"'w'", "rows of 16"}));
    CHECK(says(refused({}, {tensor("w", "F32", {0, 4}, 0)}), {"'w'", "0"}));
    CHECK(says(refused({}, {tensor("w", "F32", {1, 1, 1, 1, 4}, 16)}), {"'w'", "5 dimensions"}));
    CHECK(says(refused({}, {tensor("w", "F32", {4}, 16), tensor("w", "F32", {4}, 16)}), {"'w'", "two tensors"}));
    CHECK(says(refused({}, {{std::string(64, 'n'), "F32", {4}, data.data(), 16, nullptr, {}}}), {"63 bytes"}));
    CHECK(says(refused({}, {{"w", "F32", {4}, nullptr, 16, nullptr, {}}}), {"'w'", "neither data"}));
    for (const size_t produced : {size_t(12), size_t(20)}) {  // too few bytes, too many: noticed while writing
      TensorToWrite wrong{"w", "F32", {4}, nullptr, 16, nullptr, {}};
      wrong.produce = [&](const TensorToWrite::Write& write) { write(std::span(data).first(produced)); };
      CHECK(says(refused({}, {wrong}), {"'w'", "16 bytes"}));
    }
    CHECK(says(message_of([&] { write_gguf(folder.file("no/such/folder.gguf"), {}, {}); }),
               {"no/such/folder.gguf", "No such file"}));
    std::filesystem::create_directory(path);
    CHECK(says(message_of([&] { write_gguf(path, {}, {}); }), {path, "rename"}));
    CHECK(folder.count() == 1);
  }

  TEST_CASE("gguf: a disk that is full costs an error, not a half file") {
    const TemporaryFolder folder;
    const std::string path = folder.file("out.gguf");
    const std::string earlier = "what was there before";
    folder.write("out.gguf", earlier);
    const Bytes data(1 << 20);
    // The process's limit on file sizes stands for the disk's end: write() fails in the middle of a tensor either way.
    rlimit before;
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    const rlimit tight{100000, before.rlim_max};
    const auto handler_before = std::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
    std::string gguf_message, folder_message;
    try {
      write_gguf(path, {}, {{"w", "I8", {1 << 20}, data.data(), 1 << 20, nullptr, {}}});
    } catch (const Error& error) {
      gguf_message = error.what();
    }
    try {
      write_safetensors(folder.file("hf"), {{"w", "I8", {1 << 20}, data.data(), 1 << 20, nullptr, {}}});
    } catch (const Error& error) {
      folder_message = error.what();
    }
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler_before);
    CHECK(says(gguf_message, {path, "cannot write", "File too large"}));
    CHECK(says(folder_message, {"model.safetensors", "cannot write"}));
    CHECK(std::filesystem::file_size(path) == earlier.size());
    CHECK(folder.count() == 2);
    CHECK(names_in(folder.file("hf")).empty());
  }
}
