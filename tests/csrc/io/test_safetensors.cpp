#include <numeric>

#include "csrc/io/json_text.h"
#include "csrc/io/safetensors.h"
#include "tests/csrc/io/bytes.h"

using namespace gemloupe;
using namespace gemloupe::test;

namespace {

std::string refusal(const Bytes& bytes) {
  return message_of([&] { read_safetensors(bytes, "m.safetensors"); });
}
std::string refusal(std::string_view header, size_t data = 64) { return refusal(safetensors(header, data)); }

TensorToWrite tensor(const std::string& name, const std::string& type, std::vector<int64_t> shape, const Bytes& data) {
  return {name, type, std::move(shape), data.data(), data.size(), nullptr, {}};
}
Bytes counting(size_t n, uint8_t from) {
  Bytes bytes(n);
  std::iota(bytes.begin(), bytes.end(), from);
  return bytes;
}
bool holds(const TensorEntry* tensor, const Bytes& bytes) {
  return tensor != nullptr && tensor->bytes == bytes.size() && std::equal(bytes.begin(), bytes.end(), tensor->data);
}
std::string one_tensor(const char* name, int begin, int end) {
  return std::string(R"({")") + name + R"(":{"dtype":"U8","shape":[)" + std::to_string(end - begin) + R"(],"data_offsets":[)" +
         std::to_string(begin) + "," + std::to_string(end) + "]}}";
}

}  // namespace

TEST_SUITE("io") {
  TEST_CASE("safetensors: tensors of all kinds, sorted by place, unaligned ones too") {
    const Bytes bytes = safetensors(
        R"({"late":{"dtype":"F32","shape":[2,1],"data_offsets":[3,11]},"__metadata__":{"format":"pt","note":"x"},)"
        R"("first":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"limit":{"dtype":"BF16","shape":[],"data_offsets":[11,13]},)"
        R"("none":{"dtype":"F16","shape":[0,5],"data_offsets":[13,13]}}   )",
        13);
    const auto tensors = read_safetensors(bytes, "m.safetensors");
    REQUIRE(tensors.size() == 4);
    CHECK(tensors[0].name == "first");
    CHECK(tensors[0].type == "U8");
    CHECK(tensors[1].name == "late");
    CHECK(tensors[1].shape == std::vector<int64_t>{2, 1});
    CHECK(tensors[1].data[0] == 3);
    CHECK(tensors[2].shape.empty());
    CHECK(tensors[2].bytes == 2);
    CHECK(tensors[3].bytes == 0);
    CHECK(tensors[3].shape == std::vector<int64_t>{0, 5});
    CHECK(tensors[2].data + 2 == bytes.data() + bytes.size());
    CHECK(read_safetensors(safetensors("{}", 0), "m.safetensors").empty());
  }

  TEST_CASE("safetensors: every type has its width") {
    const std::pair<const char*, int> types[] = {
        {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I64", 8},  {"I32", 4},
        {"I16", 2}, {"I8", 1},  {"U8", 1},  {"U16", 2},  {"U32", 4},     {"U64", 8},     {"BOOL", 1}, {"F8_E8M0", 1}};
    for (const auto& [type, width] : types) {
      CAPTURE(type);
      const std::string header =
          std::string(R"({"w":{"dtype":")") + type + R"(","shape":[3],"data_offsets":[0,)" + std::to_string(3 * width) + "]}}";
      const Bytes bytes = safetensors(header, size_t(3 * width));
      CHECK(read_safetensors(bytes, "m.safetensors")[0].bytes == uint64_t(3 * width));
    }
    CHECK(says(refusal(R"({"w":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}})"),
               {"m.safetensors: ", "'w'", "'F4'", "known are F64"}));
  }

  TEST_CASE("safetensors: headers that cannot be") {
    CHECK(says(refusal(Bytes(7)), {"m.safetensors: ", "7 bytes"}));
    CHECK(says(refusal(ByteWriter().put(uint64_t(100'000'001)).raw("{}").bytes), {"100000001", "100000000"}));
    CHECK(says(refusal(ByteWriter().put(~uint64_t(0)).raw("{}").bytes), {"18446744073709551615"}));
    CHECK(says(refusal(ByteWriter().put(uint64_t(3)).raw("{}").bytes), {"header of 3 bytes", "truncated"}));
    CHECK(says(refusal(" {}"), {"'{'", "byte 8"}));
    CHECK(says(refusal(""), {"'{'"}));
    CHECK(says(refusal(R"({"w":)"), {"JSON", "byte 14"}));
    CHECK(says(refusal("{\"\xFF\":1}"), {"JSON", "byte 11"}));
    CHECK(says(refusal(R"({"w":1e999})"), {"JSON"}));
    CHECK(says(refusal("{\"a\":" + std::string(100000, '[')), {"JSON", "deep"}));
    CHECK(says(refusal(R"({"w":{},"w":{}})"), {"'w'", "twice"}));
    CHECK(says(refusal(R"({"w":{"dtype":"U8","dtype":"I8"}})"), {"'dtype'", "twice"}));
    CHECK(says(refusal(R"({"__metadata__":{"a":1}})"), {"__metadata__"}));
    CHECK(says(refusal(R"({"__metadata__":[]})"), {"__metadata__"}));
    CHECK(says(refusal(R"({"":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})"), {"empty name"}));
  }

  TEST_CASE("safetensors: tensors that cannot be") {
    CHECK(says(refusal(R"({"w":[]})"), {"'w'", "object", "array"}));
    CHECK(says(refusal(R"({"w":{"shape":[],"data_offsets":[0,1]}})"), {"'w'", "dtype", "none"}));
    CHECK(says(refusal(R"({"w":{"dtype":"U8","shape":3,"data_offsets":[0,3]}})"), {"'w'", "shape", "number"}));
    CHECK(says(refusal(R"({"w":{"dtype":"U8","shape":[-3],"data_offsets":[0,3]}})"), {"'w'", "dimension", "-3"}));
    CHECK(says(refusal(R"({"w":{"dtype":"U8","shape":[3.0],"data_offsets":[0,3]}})"), {"'w'", "dimension", "3.0"}));
    CHECK(says(refusal(R"({"w":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,3]}})"), {"'w'", "dimension"}));
    CHECK(says(refusal(R"({"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})"), {"'w'", "64 bits"}));
    CHECK(says(refusal(R"({"w":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"), {"'w'", "64 bits"}));
    CHECK(says(refusal(R"({"w":{"dtype":"U8","shape":[3],"data_offsets":[0]}})"), {"'w'", "data_offsets", "got 1"}));
    CHECK(says(refusal(R"({"w":{"dtype":"U8","shape":[3],"data_offsets":[3,0]}})"), {"'w'", "before they begin"}));
    CHECK(says(refusal(R"({"w":{"dtype":"U8","shape":[3],"data_offsets":[0,"3"]}})"), {"'w'", "data_offsets[1]"}));
    CHECK(says(refusal(R"({"w":{"dtype":"F32","shape":[16],"data_offsets":[0,63]}})"), {"'w'", "need 64 bytes", "63"}));
    CHECK(says(refusal(R"({"w":{"dtype":"U8","shape":[65],"data_offsets":[0,65]}})"), {"'w'", "only 64", "truncated"}));
    CHECK(says(refusal(one_tensor("w", 1, 64)), {"'w'", "offset 1", "expected 0", "no holes"}));
    CHECK(says(refusal(one_tensor("w", 0, 60)), {"4 bytes before"}));
    CHECK(says(refusal(R"({"a":{"dtype":"U8","shape":[40],"data_offsets":[0,40]},)"
                       R"("b":{"dtype":"U8","shape":[25],"data_offsets":[39,64]}})"),
               {"'b'", "overlaps", "'a'"}));
  }

  TEST_CASE("safetensors: a folder of one file, with the texts beside it") {
    const TemporaryFolder folder;
    folder.write("config.json", R"({"model_type":"gemma4","quantization_config":{"quant_method":"gptq","bits":4}})");
    folder.write("tokenizer.json", "{\"version\":\"1.0\"}");
    folder.write("tokenizer_config.json", "{}");
    folder.write("generation_config.json", "{\"top_k\":64}");
    const Bytes a = counting(8, 1), odd = counting(3, 50);
    write_safetensors(folder.path.string(),
                      {tensor("odd", "U8", {3}, odd), tensor("a", "F32", {1, 2}, a), tensor("none", "F16", {0}, {})});
    for (const std::string& path : {folder.path.string(), folder.file("model.safetensors")}) {
      const auto model = Checkpoint::open(path);
      CHECK(model->kind == Checkpoint::Kind::safetensors);
      CHECK(model->path == path);
      CHECK(holds(model->find("odd"), odd));
      CHECK(holds(model->find("a"), a));
      CHECK(reinterpret_cast<uintptr_t>(model->find("a")->data) % 8 == 0);  // wide types first: all aligned
      CHECK(model->find("none")->shape == std::vector<int64_t>{0});
      CHECK(model->metadata.empty());
      CHECK(model->tokenizer_json == "{\"version\":\"1.0\"}");
      CHECK(model->tokenizer_config_json == "{}");
      CHECK(model->generation_config_json == "{\"top_k\":64}");
      CHECK(nlohmann::json::parse(model->quantization_config_json)["bits"] == 4);
    }
    folder.write("config.json", "{\"model_type\":");
    CHECK(says(message_of([&] { Checkpoint::open(folder.path.string()); }), {folder.file("config.json"), "JSON", "byte 15"}));
    folder.write("config.json", "{}");
    folder.write("hf_quant_config.json", "{\"quantization\":{}}");
    CHECK(Checkpoint::open(folder.path.string())->quantization_config_json == "{\"quantization\":{}}");
  }

  TEST_CASE("safetensors: shards, written and read back, one file or many") {
    const TemporaryFolder folder;
    const std::string path = folder.path.string();
    const Bytes a = counting(40, 0), b = counting(30, 50), c = counting(60, 100);
    const std::vector<TensorToWrite> tensors{tensor("a", "U8", {40}, a), tensor("b.\"x\"", "BF16", {5, 3}, b),
                                             tensor("c", "F32", {15}, c)};
    write_safetensors(path, tensors);
    CHECK(names_in(path).size() == 1);
    write_safetensors(path, tensors, 70);  // the earlier model.safetensors would hide the shards
    CHECK(names_in(path).size() == 3);
    for (const std::string& opened :
         {path, folder.file("model.safetensors.index.json"), folder.file("model-00002-of-00002.safetensors")}) {
      const auto model = Checkpoint::open(opened);
      REQUIRE(model->tensors.size() == 3);
      CHECK(holds(model->find("a"), a));
      CHECK(holds(model->find("b.\"x\""), b));
      CHECK(holds(model->find("c"), c));
    }
    const auto index = nlohmann::json::parse(std::ifstream(folder.file("model.safetensors.index.json")));
    CHECK(index["metadata"]["total_size"] == 130);
    CHECK(index["weight_map"]["a"] == "model-00001-of-00002.safetensors");
    CHECK(index["weight_map"]["c"] == "model-00002-of-00002.safetensors");
    write_safetensors(path, tensors, 1);  // a tensor larger than a shard has one of its own
    CHECK(names_in(path).size() == 4);
    CHECK(Checkpoint::open(path)->tensors.size() == 3);
    write_safetensors(path, tensors, 1000);
    CHECK(names_in(path) == std::vector<std::string>{"model.safetensors"});
  }

  TEST_CASE("safetensors: an index that does not fit its shards") {
    const TemporaryFolder folder;
    const std::string path = folder.path.string(), index = folder.file("model.safetensors.index.json");
    const auto refused = [&](std::string_view text) {
      folder.write("model.safetensors.index.json", text);
      return message_of([&] { Checkpoint::open(path); });
    };
    folder.write("s1.safetensors", safetensors(one_tensor("a", 0, 4), 4));
    folder.write("s2.safetensors", safetensors(one_tensor("b", 0, 4), 4));
    folder.write("index", R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})");
    CHECK(says(refused(R"({"weight_map":{"a":"s1.safetensors","c":"s2.safetensors"}})"),
               {index, "'c'", "'s2.safetensors'", "1 missing"}));
    CHECK(
        says(refused(R"({"weight_map":{"a":"s1.safetensors","b":"s3.safetensors"}})"), {index, "'s3.safetensors'", "missing"}));
    CHECK(says(refused(R"({"weight_map":{"a":"s1.safetensors","a":"s2.safetensors"}})"), {index, "'a'", "twice"}));
    CHECK(says(refused(R"({"weight_map":{"a":7}})"), {index, "'a'", "7"}));
    CHECK(says(refused(R"({"weight_map":{}})"), {index, "weight_map"}));
    CHECK(says(refused(R"({"weights":{}})"), {index, "weight_map"}));
    CHECK(says(refused("[]"), {index, "weight_map"}));
    CHECK(says(refused(R"({"weight_map":)"), {index, "JSON", "byte 15"}));
    CHECK(says(refused(""), {index, "JSON"}));
    for (const char* name : {"../s1.safetensors", "/etc/s1.safetensors", "sub/s1.safetensors", "..", "", ".hidden.safetensors",
                             "s1.bin", "a\\\\b.safetensors", "s1\\u0000.safetensors"}) {
      CAPTURE(name);
      CHECK(says(refused(std::string(R"({"weight_map":{"a":")") + name + "\"}}"), {index, "'a'", "same folder"}));
    }
    folder.write("s2.safetensors", safetensors(one_tensor("a", 0, 4), 4));
    CHECK(says(refused(R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})"), {index, "'b'"}));
    folder.write(
        "s2.safetensors",
        safetensors(
            R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})", 4));
    CHECK(says(refused(R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})"),
               {path, "'a'", "two of the model's files"}));
    folder.write("s2.safetensors", std::string_view("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"));
    CHECK(says(refused(R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})"),
               {folder.file("s2.safetensors"), "git lfs pull"}));
    const std::string shard = folder.write("x-00001-of-00002.safetensors", safetensors(one_tensor("a", 0, 4), 4));
    CHECK(says(message_of([&] { Checkpoint::open(shard); }), {shard, "x.safetensors.index.json"}));
  }

  TEST_CASE("safetensors: the writer refuses what it cannot write, and leaves nothing behind") {
    const TemporaryFolder folder;
    const Bytes data(16);
    const auto refused = [&](const std::vector<TensorToWrite>& tensors) {
      const std::string message = message_of<std::invalid_argument>([&] { write_safetensors(folder.file("out"), tensors); });
      CHECK((!std::filesystem::exists(folder.file("out")) || names_in(folder.file("out")).empty()));
      return message;
    };
    CHECK(says(refused({tensor("w", "Q4_0", {32}, data)}), {"'w'", "'Q4_0'", "unpack"}));
    CHECK(says(refused({tensor("w", "F32", {3}, data)}), {"'w'", "12", "16"}));
    CHECK(says(refused({tensor("w", "F32", {-4}, data)}), {"'w'", "negative"}));
    CHECK(says(refused({tensor("w", "F32", {4}, data), tensor("w", "F32", {4}, data)}), {"'w'", "two tensors"}));
    CHECK(says(refused({tensor("__metadata__", "F32", {4}, data)}), {"__metadata__"}));
    CHECK(says(refused({tensor("\xFF", "F32", {4}, data)}), {"UTF-8"}));
    TensorToWrite wrong{"w", "F32", {4}, nullptr, 16, nullptr, {}};
    wrong.produce = [&](const TensorToWrite::Write& write) { write(std::span(data).first(4)); };
    CHECK(says(refused({wrong}), {"'w'", "4 of its 16 bytes"}));
    folder.write("file", "in the way");
    CHECK(says(message_of([&] { write_safetensors(folder.file("file"), {}); }), {folder.file("file")}));
  }

  TEST_CASE("checkpoint: what is not a model is named, with the mend") {
    const TemporaryFolder folder;
    const auto refused = [](const std::string& path) {
      const std::string message = message_of([&] { Checkpoint::open(path); });
      CHECK(message.starts_with(path));
      return message;
    };
    using std::string_view_literals::operator""sv;
    CHECK(says(refused(folder.file("missing.gguf")), {"No such file", "downloaded"}));
    CHECK(says(refused("google/gemma-3-270m-it"), {"No such file", "downloaded"}));
    CHECK(says(refused(folder.path.string()), {"model.safetensors", "no weights"}));
    CHECK(says(refused(folder.write("empty.gguf", ""sv)), {"empty"}));
    CHECK(says(refused(folder.write("empty", ""sv)), {"empty"}));
    CHECK(says(refused(folder.write("notes.txt", "Dear diary,\nto-day I met a gem.\n"sv)), {"a text file", ".gguf"}));
    CHECK(says(refused(folder.write("notes.gguf", "Grüße aus dem Schacht"sv)), {"a text file"}));
    CHECK(says(refused(folder.write("p.png", "\x89PNG\r\n\x1A\n\0\0\0\rIHDR"sv)), {"an image"}));
    CHECK(says(refused(folder.write("model.bin", "PK\x03\x04 archive/data.pkl"sv)), {"zip", "torch.save", "convert"}));
    CHECK(says(refused(folder.write("old.pth", "\x80\x02\x8A\nl\xFC\x9C"sv)), {"pickle", "convert"}));
    CHECK(says(refused(folder.write("old.ggml", "tjgg\x03\0\0\0"sv)), {"before GGUF"}));
    CHECK(says(refused(folder.write("x.h5", "\x89HDF\r\n\x1A\n"sv)), {"HDF5"}));
    CHECK(says(refused(folder.write("m.gguf", "version https://git-lfs.github.com/spec/v1\n"sv)), {"git lfs pull"}));
    CHECK(says(refused(folder.write("m.safetensors", "version https://git-lfs.github.com/spec/v1\n"sv)), {"git lfs pull"}));
    CHECK(says(refused(folder.write("page.gguf", "<!DOCTYPE html><html>"sv)), {"web page"}));
    CHECK(says(refused(folder.write("m.gguf.gz", "\x1F\x8B\x08"sv)), {"compressed"}));
    CHECK(says(refused(folder.write("config.json", "{\"model_type\": \"gemma3\"}"sv)), {"JSON", "folder"}));
    CHECK(says(refused(folder.write("noise", "\xA9\x01\x02\xFE\xFF\x00\x11\x22\x33\x44"sv)), {"neither GGUF", "safetensors"}));
    CHECK(says(refused(folder.write("noise.gguf", "\xA9\x01\x02\xFE\xFF\x00"sv)), {"GGUF"}));
    CHECK(says(refused(folder.write("noise.safetensors", "\xA9\x01\x02\x00\x00\x00\x00\x00\x07\x08"sv)),
               {"safetensors", "header"}));
    CHECK(says(refused("/dev/null"), {"device"}));
    CHECK(says(message_of<std::invalid_argument>([] { Checkpoint::open(""); }), {"empty"}));
    CHECK(says(message_of<std::invalid_argument>([&] { Checkpoint::open(folder.file("m") + '\0'); }), {"zero byte"}));

    const auto folder_with = [&](std::vector<const char*> names) {
      static int count = 0;
      const std::string path = folder.file("f" + std::to_string(count++));
      std::filesystem::create_directory(path);
      for (const char* name : names) std::ofstream(std::filesystem::path(path) / name) << "x";
      return refused(path);
    };
    CHECK(says(folder_with({"m.gguf", "config.json"}), {"GGUF file itself", "m.gguf"}));
    CHECK(says(folder_with({"pytorch_model.bin", "config.json"}), {"pickle", "'pytorch_model.bin'", "safetensors"}));
    CHECK(says(folder_with({"a.safetensors", "b.safetensors"}), {"2 other .safetensors", "'a.safetensors'"}));
    CHECK(says(folder_with({"model-00001-of-00002.safetensors"}), {"index.json", "only the shard"}));
    // A header of 0x280 bytes begins like a pickle, and is none.
    const Bytes odd = safetensors("{}" + std::string(0x27E, ' '), 0);
    CHECK(Checkpoint::open(folder.write("odd.safetensors", odd))->tensors.empty());
    std::filesystem::create_directory(folder.file("other"));
    std::ofstream(folder.file("other/gemma.safetensors"), std::ios::binary)
        .write(reinterpret_cast<const char*>(safetensors("{}", 0).data()), 10);
    CHECK(Checkpoint::open(folder.file("other"))->tensors.empty());
  }
}
