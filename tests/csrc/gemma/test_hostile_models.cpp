// Whole models with spoilt metadata, headers, configurations and tokenizers: each is refused with a message, or it runs.
#include <doctest/doctest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "csrc/core/error.h"
#include "csrc/gemma/names.h"
#include "tests/csrc/models.h"

using namespace gemloupe;
using namespace gemloupe::testing;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr int kRounds = 60;   // of each kind of damage, for each model

struct Folder {
  // In memory where there is such a place: thousands of small files.
  fs::path path = (fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) /
                  ("gemloupe_hostile_" + std::to_string(getpid()) + "_" + std::to_string(reinterpret_cast<uintptr_t>(this)));
  Folder() { fs::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write_file(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::shared_ptr<const Tokenizer> small_tokenizer(Vocabulary::Kind kind) {
  Vocabulary v;
  v.kind = kind;
  v.pieces = {"<pad>", "<eos>", "<bos>", "<unk>"};
  v.types.assign(4, Vocabulary::control);
  for (int b = 0; b < 256; ++b) {
    char piece[8];
    std::snprintf(piece, sizeof piece, "<0x%02X>", b);
    v.pieces.push_back(piece);
    v.types.push_back(Vocabulary::byte);
  }
  for (const char* piece : {"\u2581", "a", "b", "c", "ab", "bc", "abc", "\u2581a"}) {
    v.pieces.push_back(piece);
    v.types.push_back(Vocabulary::normal);
  }
  for (size_t i = 0; i < v.pieces.size() && kind == Vocabulary::Kind::scores; ++i) v.scores.push_back(-static_cast<float>(i));
  if (kind == Vocabulary::Kind::merges) v.merges = {"a b", "b c", "ab c", "\u2581 a"};
  v.pad = 0, v.eos = 1, v.bos = 2, v.unk = 3;
  return std::make_shared<const Tokenizer>(std::move(v));
}

Model model_with_tokenizer(const std::string& kind, const std::string& format) {
  Config config = small_config(kind);
  if (kind == "gemma3") config.attention_scale = 0.25f;  // what GGUF readers take for heads of 16
  RandomOptions options;
  options.format = format;
  options.vocabulary = 300;
  Model m = random_model(config, options);
  m.tokenizer = small_tokenizer(kind == "gemma3" ? Vocabulary::Kind::scores : Vocabulary::Kind::merges);
  return m;
}

struct Outcome {
  int ran = 0, refused = 0;
};

// Loads and runs three tokens. Whatever else comes out than our errors fails the test, as does a wait of many seconds.
void try_model(const std::string& path, Outcome& outcome) {
  const auto begin = std::chrono::steady_clock::now();
  try {
    const Model m = load_model(path);
    Session s(m.graph, m.config.vocabulary, m.config.context, {});
    logits_of(s, {0, 1 % static_cast<int32_t>(m.config.vocabulary), 0});
    if (m.tokenizer) (void)m.tokenizer->decode(m.tokenizer->encode("abc a\xff", true, true), true);
    ++outcome.ran;
  } catch (const Error& e) {
    ++outcome.refused;
    CHECK(std::string(e.what()).size() > 10);
  } catch (const std::invalid_argument& e) {
    ++outcome.refused;
    CHECK(std::string(e.what()).size() > 10);
  }
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

const int64_t kNumbers[] = {0, 1, 2, 3, 5, 7, 8, 16, 48, 255, 256, 1000, 1023, 65535, 65536, 1 << 20, 1 << 24, (int64_t{1} << 31) - 1,
                            int64_t{1} << 31, (int64_t{1} << 32) - 1, int64_t{1} << 40, int64_t{1} << 62, std::numeric_limits<int64_t>::max(), -1, -2,
                            -1000, -(int64_t{1} << 31), std::numeric_limits<int64_t>::min()};
const double kReals[] = {0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, 1e38, 1e39, 1e300, -1e300, 0.5, INFINITY, -INFINITY, NAN, 5e-324};

struct Damage {
  std::mt19937_64 random;
  explicit Damage(uint64_t seed) : random(seed) {}

  size_t below(size_t n) { return n ? random() % n : 0; }
  int64_t number() { return kNumbers[below(std::size(kNumbers))]; }
  double real() { return kReals[below(std::size(kReals))]; }

  // Bytes among the first `header`, numbers where numbers may lie, or a cut.
  std::string bytes(std::string s, size_t header) {
    header = std::min(header, s.size());
    for (size_t n = 1 + below(3); n > 0; --n) {
      const size_t at = below(header);
      switch (below(5)) {
        case 0: s[at] = static_cast<char>(s[at] ^ (1 << below(8))); break;
        case 1: s[at] = static_cast<char>(random()); break;
        case 2:
        case 3: {
          const int64_t v = number();
          const size_t width = below(2) ? 8 : 4;
          if (at + width <= s.size()) std::memcpy(s.data() + at, &v, width);
          break;
        }
        default:
          if (below(4) == 0) s.resize(below(s.size()));
      }
      header = std::min(header, s.size());
      if (!header) break;
    }
    return s;
  }

  // Another value for one entry of well-formed metadata.
  void value(MetaValue& v) {
    if (below(6) == 0) {
      const MetaValue others[] = {number(), real(), below(2) == 0, std::string("linear"), std::vector<int64_t>{number(), number()},
                                  std::vector<double>{real()}, std::vector<std::string>{}, std::vector<bool>{true, false}};
      v = others[below(std::size(others))];
      return;
    }
    std::visit(
        [&](auto& x) {
          using T = std::decay_t<decltype(x)>;
          if constexpr (std::is_same_v<T, bool>) x = !x;
          else if constexpr (std::is_same_v<T, int64_t>) x = number();
          else if constexpr (std::is_same_v<T, double>) x = real();
          else if constexpr (std::is_same_v<T, std::string>) x = below(2) ? "" : x + x;
          else if (below(3) == 0) x.resize(below(2 * x.size() + 2));
          else if (!x.empty()) {
            const size_t at = below(x.size());
            if constexpr (std::is_same_v<T, std::vector<int64_t>>) x[at] = number();
            else if constexpr (std::is_same_v<T, std::vector<double>>) x[at] = real();
            else if constexpr (std::is_same_v<T, std::vector<std::string>>) x[at] = below(2) ? std::string() : x[below(x.size())];
            else x[at] = !x[at];
          }
        },
        v);
  }

  // Another value somewhere in a tree.
  void tree(json& j) {
    if (j.is_structured() && !j.empty() && below(8)) {
      auto at = j.begin();
      std::advance(at, static_cast<std::ptrdiff_t>(below(j.size())));
      if (below(8) == 0) j.erase(at);
      else tree(*at);
      return;
    }
    const json others[] = {number(), number(), number(), real(), nullptr, true, false, "", "text", "full_attention", json::array(), json::object(),
                           json::array({number(), "x"}), json{{"rope_type", "linear"}}, std::to_string(number()), 1e20};
    j = others[below(std::size(others))];
  }
};

std::string dumped(const json& j) { return j.dump(1, ' ', false, json::error_handler_t::replace); }

}  // namespace

TEST_SUITE("hostile_models") {
  TEST_CASE("GGUF files with damaged bytes and with absurd metadata") {
    Folder folder;
    Outcome outcome;
    uint64_t seed = 1;
    for (const char* kind : kKinds) {
      CAPTURE(std::string(kind));
      const Model m = model_with_tokenizer(kind, kind == std::string("dense") ? "Q8_0" : "BF16");
      const std::string good = (folder.path / "good.gguf").string(), bad = (folder.path / "bad.gguf").string();
      save_gguf(m, good);
      const int ran = outcome.ran;
      try_model(good, outcome);
      REQUIRE(outcome.ran == ran + 1);
      const std::string bytes = read_file(good);
      const auto file = Checkpoint::open(good);
      const size_t metadata_end = bytes.find("token_embd.weight");
      REQUIRE(metadata_end < bytes.size());
      for (int round = 0; round < kRounds; ++round, ++seed) {
        CAPTURE(seed);
        Damage damage(seed);
        // The keys before the vocabulary, then the tensors' headers, are where most can go wrong.
        const size_t vocabulary = bytes.find("tokenizer.ggml.tokens");
        std::string spoilt = bytes;
        if (seed % 2) {
          spoilt = damage.bytes(bytes, vocabulary);
        } else {
          const std::string tail = damage.bytes(bytes.substr(metadata_end - 8), std::min<size_t>(bytes.size() - metadata_end, 6000));
          spoilt = bytes.substr(0, metadata_end - 8) + tail;
        }
        write_file(bad, spoilt);
        try_model(bad, outcome);

        std::vector<std::pair<std::string, MetaValue>> metadata(file->metadata.begin(), file->metadata.end());
        for (size_t n = 1 + damage.below(2); n > 0; --n) {
          const size_t at = damage.below(metadata.size());
          if (damage.below(10) == 0) metadata.erase(metadata.begin() + static_cast<std::ptrdiff_t>(at));
          else damage.value(metadata[at].second);
        }
        std::vector<TensorToWrite> tensors;
        for (const TensorEntry& t : file->tensors) tensors.push_back({t.name, t.type, t.shape, t.data, t.bytes, file, {}});
        if (damage.below(3) == 0) tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(damage.below(tensors.size())));
        if (damage.below(6) == 0) std::swap(tensors[damage.below(tensors.size())].name, tensors.front().name);
        try {
          write_gguf(bad, metadata, tensors);
        } catch (const std::invalid_argument&) {
          continue;  // what cannot be written
        }
        try_model(bad, outcome);
      }
    }
    CHECK(outcome.refused > kRounds);  // both outcomes must be met, or the damage tests nothing
    CHECK(outcome.ran > kRounds / 4);
  }

  TEST_CASE("folders with absurd configurations, damaged headers and damaged tokenizers") {
    Folder folder;
    Outcome outcome;
    uint64_t seed = 1;
    for (const char* kind : kKinds) {
      CAPTURE(std::string(kind));
      const Model m = model_with_tokenizer(kind, "BF16");
      save_folder(m, folder.path.string());
      const int ran = outcome.ran;
      try_model(folder.path.string(), outcome);
      REQUIRE(outcome.ran == ran + 1);
      const char* const names[] = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"};
      std::map<std::string, std::string> good;
      for (const char* name : names) good[name] = read_file(folder.path / name);
      uint64_t header = 0;
      std::memcpy(&header, good["model.safetensors"].data(), 8);
      for (int round = 0; round < kRounds; ++round, ++seed) {
        CAPTURE(seed);
        Damage damage(seed);
        const std::string name = seed % 2 ? "config.json" : names[damage.below(std::size(names))];
        if (name == "model.safetensors") {
          write_file(folder.path / name, damage.bytes(good[name], 8 + header));
        } else if (damage.below(10) == 0) {
          write_file(folder.path / name, damage.bytes(good[name], good[name].size()));
        } else {
          json j = json::parse(good[name]);
          for (size_t n = 1 + damage.below(2); n > 0; --n) damage.tree(j);
          write_file(folder.path / name, dumped(j));
        }
        try_model(folder.path.string(), outcome);
        write_file(folder.path / name, good[name]);
      }
    }
    CHECK(outcome.refused > kRounds);
    CHECK(outcome.ran > kRounds / 4);
  }

  TEST_CASE("weights that are NaN or infinite run") {
    for (const char* kind : kKinds)
      for (const char* format : {"F32", "BF16", "Q8_0"})
        for (const float bad : {NAN, INFINITY, -INFINITY}) {
          CAPTURE(std::string(kind));
          CAPTURE(std::string(format));
          CAPTURE(bad);
          const Model m = small_model(kind, format);
          for (const char* pattern : {"embed", "layers.1.attn.q", "layers.2.ffn.down", "layers.0.moe.scores"}) {
            if (!m.graph->weights().count(pattern)) continue;
            Weights weights = m.graph->weights();
            const Weight& before = *weights[pattern];
            uint8_t* memory = nullptr;
            Weight spoilt = allocate_weight(format_named("F32"), before.rows, before.cols, memory);
            const Matrix<float> values(reinterpret_cast<float*>(memory), before.rows, before.cols);
            before.format->unpack(before, 0, values);
            for (int64_t i = 0; i < before.cols; i += 7) values.row(0)[i] = bad;
            if (before.format->name() != "F32") spoilt = repack(spoilt, before.format);
            weights[pattern] = std::make_shared<const Weight>(std::move(spoilt));
            const Model changed = m.with_graph(m.graph->with_weights(std::move(weights)));
            Session s = session_of(changed);
            CHECK(logits_of(s, {0, 1, 2}).rows() == 3);
          }
        }
  }
}
