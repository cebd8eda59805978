// .gem files: written and read back to the same bits, and every way such a file can be wrong.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "csrc/core/error.h"
#include "csrc/formats/strips.h"
#include "csrc/gemma/gem.h"
#include "csrc/io/checksum.h"
#include "csrc/ops/ops.h"
#include "tests/csrc/models.h"

using namespace gemloupe;
using namespace gemloupe::testing;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = (fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) /
                  ("gemloupe_gem_" + std::to_string(getpid()) + "_" + std::to_string(reinterpret_cast<uintptr_t>(this)));
  Folder() { fs::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  std::string at(const char* name) const { return (path / name).string(); }
};

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

Tensor read(const Model& m) {
  Session s = session_of(m);
  return logits_of(s, some_tokens(9));
}

Model with_strips(const Model& m) {
  Graph graph = *m.graph;
  add_strips(graph, m.source ? m.source->owner.get() : nullptr);
  return m.with_graph(std::move(graph));
}

// Wide enough for formats with blocks, and with a query scale that GGUF files can state.
Model wide_model(const std::string& format) {
  RandomOptions options;
  options.format = format;
  Config config = small_config("gemma3");
  config.hidden = 256;
  config.attention_scale = 0.25f;
  for (LayerConfig& layer : config.layers) layer.ffn_width = 320;
  return random_model(config, options);
}

std::string weight_bytes(const Weight& w) {
  std::string bytes(static_cast<size_t>(w.bytes()), 0);
  read_bytes(w, 0, w.bytes(), reinterpret_cast<uint8_t*>(bytes.data()));
  return bytes;
}

void check_same(const Model& a, const Model& b) {
  CHECK(config_to_gem(a.config) == config_to_gem(b.config));
  CHECK(fingerprint(*a.graph) == fingerprint(*b.graph));
  REQUIRE(a.graph->weights().size() == b.graph->weights().size());
  for (const auto& [name, w] : a.graph->weights()) {
    CAPTURE(name);
    const Weight& other = b.graph->weight(name);
    CHECK(other.format->name() == w->format->name());
    CHECK(other.output_scale == w->output_scale);
    CHECK(weight_bytes(other) == weight_bytes(*w));
  }
  CHECK(same_bits(read(a), read(b)));
}

// A small file to spoil, and its parts.
struct Spoilt {
  Folder folder;
  std::string good, path = folder.at("spoilt.gem");

  Spoilt() {
    Model m = small_model("ple", "grid4_g16");
    save_gem(m, path);
    good = bytes_of(path);
  }
  uint32_t pieces(const std::string& s) const {
    uint32_t n;
    std::memcpy(&n, s.data() + 12, 4);
    return n;
  }
  static uint64_t sum(const std::string& s, size_t first, size_t count) {
    return checksum64({reinterpret_cast<const uint8_t*>(s.data()) + first, count});
  }
  static void put(std::string& s, size_t at, uint64_t v) { std::memcpy(s.data() + at, &v, 8); }
  static uint64_t get(const std::string& s, size_t at) {
    uint64_t v;
    std::memcpy(&v, s.data() + at, 8);
    return v;
  }
  // Every checksum as the bytes now are, so that what is behind them is reached.
  void seal(std::string& s) const {
    const size_t n = pieces(good), tail = s.size() - 8 * (n + 1);
    put(s, tail, sum(s, get(good, 64), get(good, 72)));
    put(s, tail + 8 * n, sum(s, tail, 8 * n));
    put(s, 24, sum(s, 64, 16 * n));
    put(s, 56, sum(s, 0, 56));
  }
  void refused(const std::string& s, const char* words) const {
    write(path, s);
    CHECK_THROWS_WITH_AS(load_model(path), doctest::Contains(words), Error);
  }
};

}  // namespace

TEST_SUITE("gem") {
  TEST_CASE("checksums are those of XXH64") {
    CHECK(checksum64({}) == 0xef46db3751d8e999);
    const std::string abc = "abc";
    CHECK(checksum64({reinterpret_cast<const uint8_t*>(abc.data()), 3}) == 0x44bc2cf5ad770999);
    std::vector<uint8_t> bytes(1000);
    std::mt19937 random(1);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    const uint64_t whole = checksum64(bytes);
    for (int trip = 0; trip < 50; ++trip) {
      Checksum64 sum;
      for (size_t at = 0, n; at < bytes.size(); at += n) {
        n = std::min<size_t>(random() % 70, bytes.size() - at);
        sum.add(std::span(bytes).subspan(at, n));
      }
      CHECK(sum.value() == whole);
    }
  }

  TEST_CASE("a model comes back to the bit") {
    Folder folder;
    for (const char* kind : kKinds)
      for (const char* format : {"F32", "BF16", "grid3_g16", "grid4_g16_min_f32", "grid8_row", "ternary_g16"}) {
        CAPTURE(kind);
        CAPTURE(format);
        const Model m = small_model(kind, format);
        for (const Model& each : {m, with_strips(m)}) {
          save_gem(each, folder.at("m.gem"));
          const Model back = load_model(folder.at("m.gem"), {true, true, {}});
          check_same(back, m);
          CHECK(back.path == folder.at("m.gem"));
          CHECK_FALSE(back.tokenizer);
        }
      }
  }

  TEST_CASE("formats with blocks, factors of NVFP4, and GGUF files written again") {
    Folder folder;
    for (const char* format : {"Q4_0", "Q8_0", "Q5_1", "Q6_K", "NVFP4", "MXFP4", "nf4"}) {
      CAPTURE(format);
      const Model m = wide_model(format), packed = with_strips(m);
      save_gem(packed, folder.at("m.gem"));
      const Model back = load_model(folder.at("m.gem"));
      CHECK(back.graph->weight("layers.0.ffn.up").strips != nullptr);
      CHECK(back.graph->weight("layers.0.ffn.up").data == nullptr);
      if (std::string(format) == "NVFP4") CHECK(back.graph->weight("layers.0.ffn.up").output_scale.size() == 1);
      check_same(back, m);
      for (const auto& [model, name] : {std::pair{&m, "a.gguf"}, {&packed, "b.gguf"}, {&back, "c.gguf"}}) save_gguf(*model, folder.at(name));
      CHECK(bytes_of(folder.at("a.gguf")) == bytes_of(folder.at("b.gguf")));
      CHECK(bytes_of(folder.at("a.gguf")) == bytes_of(folder.at("c.gguf")));
      save_gem(back, folder.at("m.gem"));  // over the file that it is mapped from
      check_same(load_model(folder.at("m.gem")), m);
    }
  }

  TEST_CASE("what a model was made from comes along: metadata, texts, tokenizer") {
    Folder folder;
    const Model m = wide_model("Q8_0");
    save_gguf(m, folder.at("m.gguf"));
    const Model from_gguf = with_strips(load_model(folder.at("m.gguf")));
    save_gem(from_gguf, folder.at("m.gem"));
    const Model back = load_model(folder.at("m.gem"));
    check_same(back, from_gguf);
    CHECK(back.source->metadata == from_gguf.source->metadata);
    save_gguf(back, folder.at("again.gguf"));
    save_gguf(load_model(folder.at("m.gguf")), folder.at("m2.gguf"));
    CHECK(bytes_of(folder.at("again.gguf")) == bytes_of(folder.at("m2.gguf")));

    save_folder(m, folder.at("f"));
    const Model from_folder = load_model(folder.at("f"));
    save_gem(from_folder, folder.at("f.gem"));
    CHECK(load_model(folder.at("f.gem")).source->config_json == from_folder.source->config_json);
    check_same(load_model(folder.at("f.gem")), from_folder);
  }

  TEST_CASE("loading keeps a mapped file's rows, making a model does not") {
    Folder folder;
    const Model m = wide_model("Q4_0");
    save_gguf(m, folder.at("m.gguf"));
    const Model plain = load_model(folder.at("m.gguf"), {false, false, {}}), packed = with_strips(plain), own = with_strips(m);
    CHECK_FALSE(plain.graph->weight("layers.0.ffn.up").strips);
    CHECK(packed.graph->weight("layers.0.ffn.up").strips);
    CHECK(packed.graph->weight("layers.0.ffn.up").data == plain.graph->weight("layers.0.ffn.up").data);
    CHECK(packed.graph->weight("embed").strips);  // the head is the embedding
    CHECK_FALSE(packed.graph->weight("layers.0.ffn.norm").strips);
    CHECK(own.graph->weight("layers.0.ffn.up").data == nullptr);
    check_same(packed, plain);
    check_same(own, m);
    int polled = 0;
    Graph graph = *plain.graph;
    CHECK_THROWS_AS(add_strips(graph, nullptr, [&] { if (++polled == 3) throw Interrupted(); }), Interrupted);
    check_same(plain.with_graph(std::move(graph)), plain);  // half packed is as good
  }

  TEST_CASE("ops of one's own are not for files") {
    Folder folder;
    const Model m = small_model("dense"), other = m.with_graph(m.graph->replace("layers.0.ffn.act", ops::add()));
    CHECK_THROWS_AS(save_gem(other, folder.at("m.gem")), std::invalid_argument);
    CHECK_FALSE(fs::exists(folder.at("m.gem")));
  }

  TEST_CASE("a damaged file is refused with a reason") {
    const Spoilt f;
    const auto changed = [&](const std::function<void(std::string&)>& change, bool seal = true) {
      std::string s = f.good;
      change(s);
      if (seal) f.seal(s);
      return s;
    };
    write(f.path, changed([](std::string&) {}));
    CHECK_NOTHROW(load_model(f.path));
    f.refused(changed([](std::string& s) { s[8] = 2; }), "version 2");
    f.refused(changed([](std::string& s) { s[0] = 'X'; }, false), "begins with the letters");
    f.refused(changed([](std::string& s) { s[40] = 1; }, false), "head's checksum");
    f.refused(changed([](std::string& s) { s[70] = 1; }, false), "table's checksum");
    f.refused(f.good.substr(0, f.good.size() - 1), "it was cut off");
    f.refused(f.good + "x", "its head says");
    const auto entry = [](size_t i) { return 64 + 16 * i; };
    f.refused(changed([&](std::string& s) { f.put(s, entry(2), f.get(s, entry(2)) + 64); }), "no multiple of 4096");
    f.refused(changed([&](std::string& s) { f.put(s, entry(2), f.get(s, entry(1))); }), "within what lies before it");
    f.refused(changed([&](std::string& s) { f.put(s, entry(2), uint64_t{1} << 62); }), "reaches beyond the end");
    f.refused(changed([&](std::string& s) { f.put(s, entry(2) + 8, ~uint64_t{0}); }), "reaches beyond the end");
    f.refused(changed([&](std::string& s) { f.put(s, entry(3) + 8, f.get(s, entry(3) + 8) - 1); }), "the file has");
    const size_t description = f.get(f.good, 64);
    f.refused(changed([&](std::string& s) { s[description + 5] ^= 1; }, false), "description's checksum");
    f.refused(changed([&](std::string& s) { s[description] = '['; }), "JSON");

    std::string weight = f.good;
    weight[f.get(f.good, entry(f.pieces(f.good) - 1)) + 3] ^= 1;
    write(f.path, weight);
    CHECK_NOTHROW(load_model(f.path));
    CHECK_THROWS_WITH_AS(load_model(f.path, {true, true, {}}), doctest::Contains("is damaged"), Error);
  }

  TEST_CASE("cut anywhere, or a bit turned in what describes it, a file is refused") {
    const Spoilt f;
    std::mt19937 random(5);
    int wrong = 0;
    const auto refused = [&](const std::string& s) {
      write(f.path, s);
      try {
        (void)load_model(f.path);
        ++wrong;
      } catch (const Error&) {
      }
    };
    for (size_t n = 0; n < f.good.size(); n += n < 200 ? 1 : 1 + random() % 1000) refused(f.good.substr(0, n));
    const size_t description = f.get(f.good, 64), end = description + f.get(f.good, 72);
    for (size_t at = 0; at < end; at += at < 2000 ? 1 : 1 + random() % 50) {
      if (at >= 64 + 16 * f.pieces(f.good) && at < description) continue;  // zeros that nobody reads
      std::string s = f.good;
      s[at] = static_cast<char>(s[at] ^ 1 << random() % 8);
      refused(s);
    }
    CHECK(wrong == 0);
  }

  TEST_CASE("a file that is spoilt and sealed again is refused, or it runs") {
    const Spoilt f;
    std::mt19937 random(6);
    int ran = 0, refused = 0;
    for (int trip = 0; trip < 400; ++trip) {
      std::string s = f.good;
      const size_t description = f.get(f.good, 64), length = f.get(f.good, 72);
      if (trip % 4 == 0) {
        f.put(s, 64 + 8 * (random() % (2 * f.pieces(s))), trip % 8 ? uint64_t{random()} << random() % 40 : random() % 100 * 4096);
      } else {
        for (int k = 0; k < 2; ++k) {
          // Digits for digits keep it JSON.
          size_t at = description + random() % length;
          for (int look = 0; look < 200 && !std::isdigit(static_cast<unsigned char>(s[at])); ++look) at = description + random() % length;
          s[at] = trip % 4 == 1 ? static_cast<char>(random()) : static_cast<char>('0' + random() % 10);
        }
      }
      f.seal(s);
      write(f.path, s);
      try {
        const Model m = load_model(f.path);
        Session session(m.graph, m.config.vocabulary, m.config.context, {});
        logits_of(session, {0, 0});
        ++ran;
      } catch (const Error&) {
        ++refused;
      } catch (const std::invalid_argument&) {
        ++refused;
      }
    }
    CHECK(ran > 0);
    CHECK(refused > 100);
  }
}
