// Models in files: both kinds written and read back to the same bits, and every way a file can be wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "csrc/core/error.h"
#include "csrc/gemma/names.h"
#include "tests/csrc/models.h"

using namespace gemloupe;
using namespace gemloupe::testing;
namespace fs = std::filesystem;

namespace {

struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / ("gemloupe_model_" + std::to_string(reinterpret_cast<uintptr_t>(this)));
  TemporaryFolder() { fs::create_directories(path); }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  std::string at(const char* name) const { return (path / name).string(); }
};

Tensor read(const Model& m, int64_t n = 17) {
  Session s = session_of(m);
  return logits_of(s, some_tokens(n));
}

// The model's tensors as a Hugging Face folder would hold them, for tests that spoil them.
void spoil_config(const std::string& folder, const std::function<void(nlohmann::json&)>& change) {
  const std::string file = folder + "/config.json";
  std::ifstream in(file);
  nlohmann::json j = nlohmann::json::parse(in);
  change(j);
  std::ofstream(file) << j.dump(2);
}

}  // namespace

TEST_SUITE("model") {
  TEST_CASE("a GGUF file gives back the same bits") {
    for (const char* kind : kKinds)
      for (const char* format : {"F32", "BF16", "Q8_0"}) {
        CAPTURE(std::string(kind));
        CAPTURE(std::string(format));
        TemporaryFolder folder;
        const Model m = small_model(kind, format);
        const std::string file = folder.at("model.gguf");
        save_gguf(m, file);
        const Model back = load_model(file);
        CHECK(back.config.layers.size() == m.config.layers.size());
        for (const auto& [name, w] : m.graph->weights()) CHECK(back.graph->weight(name).format->name() == w->format->name());
        if (std::string(kind) == "gemma3") continue;  // its query scale is folded into a norm: see below
        CHECK(same_bits(read(back), read(m)));
      }
  }

  TEST_CASE("a query scale that GGUF cannot state is folded into the norm before it") {
    TemporaryFolder folder;
    const Model m = small_model("gemma3");  // scale 0.2 where readers take 1 / sqrt(16)
    save_gguf(m, folder.at("m.gguf"));
    const Model back = load_model(folder.at("m.gguf"));
    CHECK(back.config.attention_scale == 0.25f);
    const Tensor a = read(m), b = read(back);
    float most = 0, size = 0;
    for (int64_t i = 0; i < a.rows() * a.width(); ++i) {
      most = std::max(most, std::abs(a.floats()[i] - b.floats()[i]));
      size = std::max(size, std::abs(a.floats()[i]));
    }
    CHECK(most > 0);
    CHECK(most < 1e-5f * size);
  }

  TEST_CASE("a Hugging Face folder gives back the same bits") {
    for (const char* kind : kKinds) {
      CAPTURE(std::string(kind));
      TemporaryFolder folder;
      Model m = small_model(kind);
      m.config.attention_scale = kind == std::string("gemma3") ? 0.2f : 1.0f;
      save_folder(m, folder.path.string());
      const Model back = load_model(folder.path.string());
      CHECK(back.config.attention_scale == doctest::Approx(m.config.attention_scale).epsilon(1e-6));
      for (size_t l = 0; l < m.config.layers.size(); ++l) {
        const LayerConfig &a = m.config.layers[l], &b = back.config.layers[l];
        CHECK(a.full == b.full);
        CHECK(a.window == b.window);
        CHECK(a.head_dim == b.head_dim);
        CHECK(a.kv_heads == b.kv_heads);
        CHECK(a.cache_source == b.cache_source);
        CHECK(a.ffn_width == b.ffn_width);
        CHECK(a.keys_are_values == b.keys_are_values);
        CHECK(a.rope.kind == b.rope.kind);
        CHECK(a.rope.rotated == b.rope.rotated);
        CHECK(a.rope.theta == b.rope.theta);
      }
      // Gemma 3's files hold the norms less one, which rounds; all others come back exactly.
      if (std::string(kind) != "gemma3") CHECK(same_bits(read(back), read(m)));
    }
  }

  TEST_CASE("formats that files do not know are written as their values") {
    TemporaryFolder folder;
    const Model m = small_model("dense", "grid3_g16");
    save_gguf(m, folder.at("m.gguf"));
    const Model back = load_model(folder.at("m.gguf"));
    CHECK(back.graph->weight("layers.0.ffn.up").format->name() == "F32");
    std::vector<float> a(56 * 48), b(56 * 48);
    const Weight &x = m.graph->weight("layers.0.ffn.up"), &y = back.graph->weight("layers.0.ffn.up");
    x.format->unpack(x, 0, Matrix<float>(a.data(), 56, 48));
    y.format->unpack(y, 0, Matrix<float>(b.data(), 56, 48));
    CHECK(a == b);
  }

  TEST_CASE("quantize changes the chosen matrices and shares the others") {
    const Model m = small_model("experts");
    const auto grid = format_named("grid4_g16");
    const auto apply = [&](const std::string&, const Weight& w) { return repack(w, grid); };
    const Model q = quantize(m, {{"layers.*.moe.*", apply}});
    CHECK(q.graph->weight("layers.0.moe.gate_up").format->name() == "grid4_g16");
    CHECK(q.graph->weight("layers.0.moe.gate_up").experts == 8);
    CHECK(&q.graph->weight("layers.0.ffn.gate") == &m.graph->weight("layers.0.ffn.gate"));
    CHECK(&q.graph->weight("layers.0.moe.norm") == &m.graph->weight("layers.0.moe.norm"));
    CHECK(!same_bits(read(q), read(m)));
    CHECK_THROWS_WITH_AS(quantize(m, {{"layers.*.mow.*", apply}}), doctest::Contains("no matrix matches"), std::invalid_argument);
  }

  TEST_CASE("files that contradict themselves are refused, and the message says where") {
    TemporaryFolder folder;
    const Model m = small_model("dense");
    save_folder(m, folder.path.string());
    const auto refused = [&](const std::function<void(nlohmann::json&)>& change, const char* words) {
      TemporaryFolder copy;
      fs::copy(folder.path, copy.path, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
      spoil_config(copy.path.string(), change);
      CHECK_THROWS_WITH_AS(load_model(copy.path.string()), doctest::Contains(words), Error);
    };
    using J = nlohmann::json;
    refused([](J& j) { j["hidden_size"] = 50; }, "the configuration asks for");
    refused([](J& j) { j["intermediate_size"] = 57; }, "mlp.gate_proj");
    refused([](J& j) { j["num_hidden_layers"] = 5; }, "layer_types");
    refused([](J& j) { j["num_hidden_layers"] = 5, j.erase("layer_types"); }, "is missing");
    refused([](J& j) { j["num_attention_heads"] = 3; }, "multiple");
    refused([](J& j) { j["model_type"] = "llama"; }, "model_type");
    refused([](J& j) { j["num_hidden_layers"] = "four"; }, "num_hidden_layers");
    refused([](J& j) { j["num_hidden_layers"] = 1000000; }, "num_hidden_layers");
    refused([](J& j) { j["vocab_size"] = 1e30; }, "vocab_size");
    refused([](J& j) { j["rms_norm_eps"] = -1; }, "epsilon");
    refused([](J& j) { j["layer_types"][0] = "diagonal"; }, "layer_types");
    refused([](J& j) { j["num_kv_shared_layers"] = 4; }, "num_kv_shared_layers");
    refused([](J& j) { j["rope_parameters"]["full_attention"]["rope_type"] = "yarn"; }, "yarn");
    refused([](J& j) { j["hidden_activation"] = "silu"; }, "hidden_activation");
    refused([](J& j) { j = J::array({1, 2}); }, "object");
    std::ofstream(folder.at("config.json")) << "{ not json";
    CHECK_THROWS_WITH_AS(load_model(folder.path.string()), doctest::Contains("JSON"), Error);
  }

  TEST_CASE("released sizes have the published number of parameters") {
    const auto parameters = [](const char* size) {
      const Config c = released_config(size);
      int64_t n = 0;
      for (const WeightSpec& s : weight_specs(c)) n += s.experts * s.rows * s.cols;
      return n;
    };
    CHECK(parameters("gemma3-270m") == 268098176);
    CHECK(parameters("gemma3-1b") == 999885952);
    CHECK(parameters("e2b") == 4628569379);
    CHECK(parameters("e4b") == 7463013418);
    CHECK(parameters("12b") == 11907350320);
    CHECK(parameters("26b") == 25233141790);
    CHECK(parameters("31b") == 30697345340);
    CHECK_THROWS_AS(released_config("7b"), std::invalid_argument);
    const Config e2b = released_config("e2b");
    CHECK(e2b.layers[33].cache_source == 13);
    CHECK(e2b.layers[34].cache_source == 14);
    CHECK(released_config("e4b").layers[40].cache_source == 22);
  }

  TEST_CASE("random models of the released architectures run, cut to a few layers") {
    for (const char* size : {"gemma3-270m", "e2b", "26b"}) {
      CAPTURE(size);
      RandomOptions options;
      options.layers = 2;
      options.vocabulary = 64;
      options.format = "Q4_0";
      Config c = released_config(size);
      if (c.experts) c.experts = 8;
      const Model m = random_model(c, options);
      Session s = session_of(m);
      const Tensor logits = logits_of(s, {1, 2, 3});
      for (int64_t i = 0; i < 3 * 64; ++i) CHECK(std::isfinite(logits.floats()[i]));
    }
  }
}
