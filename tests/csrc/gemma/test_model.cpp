// Models in files: both kinds written and read back to the same bits, and every way a file can be wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "csrc/core/error.h"
#include "csrc/formats/strips.h"
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

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
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

  TEST_CASE("small matrices of plain numbers leave the mapped file") {
    TemporaryFolder folder;
    const Model m = small_model("experts", "F32");
    save_gguf(m, folder.at("m.gguf"));
    LoadOptions options;
    for (const bool pack : {false, true}) {
      options.pack = pack;
      const Model back = load_model(folder.at("m.gguf"), options);
      const auto mapped = [&](const char* name) { return back.graph->weight(name).owner == back.source->owner; };
      CHECK(mapped("layers.0.moe.scores") == !(pack && strips_pay()));
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

  TEST_CASE("checkpoints that others quantized are refused, not misread") {
    TemporaryFolder folder;
    save_folder(small_model("dense"), folder.path.string());
    const std::string good = text_of(folder.at("config.json"));
    spoil_config(folder.path.string(), [](nlohmann::json& j) { j["quantization_config"] = {{"quant_method", "compressed-tensors"}}; });
    CHECK_THROWS_WITH_AS(load_model(folder.path.string()), doctest::Contains("method compressed-tensors"), Error);
    std::ofstream(folder.at("config.json")) << good;
    std::ofstream(folder.at("hf_quant_config.json")) << R"({"quantization": {"quant_algo": "NVFP4"}})";
    CHECK_THROWS_WITH_AS(load_model(folder.path.string()), doctest::Contains("method NVFP4"), Error);
    fs::remove(folder.at("hf_quant_config.json"));
    CHECK_NOTHROW(load_model(folder.path.string()));
    // Without a word in the configuration the scales give them away.
    const auto file = Checkpoint::open(folder.path.string());
    std::vector<TensorToWrite> tensors;
    for (const TensorEntry& t : file->tensors) tensors.push_back({t.name, t.type, t.shape, t.data, t.bytes, file, {}});
    const float scale = 1;
    tensors.push_back({"model.layers.0.mlp.up_proj.weight_scale_inv", "F32", {1}, reinterpret_cast<const uint8_t*>(&scale), 4, nullptr, {}});
    write_safetensors(folder.path.string(), tensors);
    CHECK_THROWS_WITH_AS(load_model(folder.path.string()), doctest::Contains("weight_scale_inv"), Error);
  }

  TEST_CASE("factors of NVFP4 come back, of experts' stacks too, in both spellings") {
    TemporaryFolder folder;
    Config config = small_config("experts");
    config.hidden = config.expert_width = 64;
    for (LayerConfig& layer : config.layers) layer.head_dim = 16, layer.ffn_width = 64, layer.rope.rotated = layer.full ? 2 : 0;
    const Model plain = random_model(config, {});
    const auto pack = [](const std::string& name, const Weight& w) {
      Weight packed = repack(w, format_named("NVFP4"));
      packed.output_scale = {0.5f};
      if (w.experts > 1 && name.find("layers.0") == 0) packed.output_scale = {1, 2, 4, 0.5f, 0.25f, 1, 1, 8};
      return packed;
    };
    const Model fused = quantize(plain, {{"layers.*.moe.{gate_up,down}", pack}, {"layers.*.ffn.*", pack}});
    Weights weights = fused.graph->weights();
    for (int l = 0; l < 4; ++l) {
      const std::string at = text("layers.", l, ".moe.");
      const auto whole = weights.at(at + "gate_up");
      const int64_t each = whole->rows / whole->experts, row_bytes = whole->format->row_bytes(whole->cols);
      for (int part = 0; part < 2; ++part) {
        uint8_t* memory = nullptr;
        Weight half = allocate_weight(whole->format, whole->rows / 2, whole->cols, memory);
        half.experts = whole->experts;
        half.output_scale = whole->output_scale;
        for (int64_t e = 0; e < whole->experts; ++e)
          read_bytes(*whole, (e * each + part * each / 2) * row_bytes, each / 2 * row_bytes, memory + e * each / 2 * row_bytes);
        weights[at + (part ? "up" : "gate")] = std::make_shared<const Weight>(std::move(half));
      }
      weights.erase(at + "gate_up");
    }
    const Model split = fused.with_graph(build_graph(fused.config, weights));
    const Tensor expected = read(fused);
    CHECK(same_bits(read(split), expected));
    for (const Model* m : {&fused, &split}) {
      save_gguf(*m, folder.at("m.gguf"));
      const Model back = load_model(folder.at("m.gguf"));
      CHECK(back.graph->weights().count("layers.0.moe.gate_up") == (m == &fused));
      CHECK(same_bits(read(back), expected));  // all factors are powers of two, so that where they act does not show
      // A folder has no such format: the values are written.
      const std::string sub = folder.at(m == &fused ? "fused" : "split");
      save_folder(*m, sub);
      const Model values = load_model(sub);
      std::vector<float> a(64), b(64);
      const Weight &x = m->graph->weight("layers.0.moe.down"), &y = values.graph->weight("layers.0.moe.down");
      x.format->unpack(x, 7 * 64, Matrix<float>(a.data(), 1, 64));
      y.format->unpack(y, 7 * 64, Matrix<float>(b.data(), 1, 64));
      CHECK(a == b);
      const Weight& z = values.graph->weight("layers.0.moe.gate_up");
      const Weight& gate_up = fused.graph->weight("layers.0.moe.gate_up");
      gate_up.format->unpack(gate_up, 3 * 128 + 100, Matrix<float>(a.data(), 1, 64));
      z.format->unpack(z, 3 * 128 + 100, Matrix<float>(b.data(), 1, 64));
      CHECK(a == b);
    }
  }

  TEST_CASE("tensors may lie at any byte") {
    TemporaryFolder folder;
    const Model m = small_model("dense");
    save_gguf(m, folder.at("m.gguf"));
    const auto file = Checkpoint::open(folder.at("m.gguf"));
    std::vector<std::pair<std::string, MetaValue>> metadata(file->metadata.begin(), file->metadata.end());
    metadata.push_back({"general.alignment", int64_t{1}});
    std::vector<TensorToWrite> tensors;
    const uint8_t odd[3] = {};
    for (const char* type : {"I8", "F32"}) {
      for (const TensorEntry& t : file->tensors)
        if (type == std::string("F32")) tensors.push_back({t.name, t.type, t.shape, t.data, t.bytes, file, {}});
      if (type == std::string("I8")) tensors.push_back({"odd", "I8", {3}, odd, 3, nullptr, {}});
    }
    write_gguf(folder.at("odd.gguf"), metadata, tensors);
    CHECK(same_bits(read(load_model(folder.at("odd.gguf"))), read(m)));
  }

  TEST_CASE("one layer that slides, and the query scale of 62 layers, come back from GGUF files") {
    TemporaryFolder folder;
    RandomOptions options;
    options.layers = 1;
    save_gguf(random_model(small_config("gemma3"), options), folder.at("m.gguf"));
    const Model back = load_model(folder.at("m.gguf"));
    CHECK(!back.config.layers[0].full);
    CHECK(back.config.layers[0].window == 5);

    Config config = small_config("gemma3");
    config.attention_scale = static_cast<float>(1 / std::sqrt(12.0));  // hidden 48 / 4 heads
    while (config.layers.size() < 62) config.layers.push_back(config.layers[config.layers.size() - 2]);
    share_caches(config, 0, "test");
    const Model deep = random_model(config, {});
    save_gguf(deep, folder.at("deep.gguf"));
    const Model again = load_model(folder.at("deep.gguf"));
    CHECK(again.config.attention_scale == config.attention_scale);
    CHECK(same_bits(read(again, 6), read(deep, 6)));
  }

  TEST_CASE("layers that config.json cannot tell apart are refused by the folder, not lost") {
    TemporaryFolder folder;
    Config config = small_config("dense");
    config.layers[1].ffn_width = 64;
    const Model m = random_model(config, {});
    CHECK_THROWS_WITH_AS(save_folder(m, folder.path.string()), doctest::Contains("layer 1 differs"), std::invalid_argument);
    save_gguf(m, folder.at("m.gguf"));
    CHECK(same_bits(read(load_model(folder.at("m.gguf"))), read(m)));
    // A share of pairs that a division rounds down.
    config = small_config("dense");
    for (LayerConfig& layer : config.layers)
      if (layer.full) layer.head_dim = 100, layer.rope.rotated = 29;
    save_folder(random_model(config, {}), folder.path.string());
    CHECK(load_model(folder.path.string()).config.layers[1].rope.rotated == 29);
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

  TEST_CASE("released sizes, whole and cut, come back from config.json") {
    for (const std::string& size : released_sizes()) {
      CAPTURE(size);
      const Config a = released_config(size), b = config_from_json(config_to_json(a), "", "test");
      REQUIRE(b.layers.size() == a.layers.size());
      CHECK(weight_specs(a).size() == weight_specs(b).size());
      CHECK(std::abs(a.attention_scale / b.attention_scale - 1) < 1e-6f);
      for (size_t l = 0; l < a.layers.size(); ++l) CHECK(a.layers[l].cache_source == b.layers[l].cache_source);
    }
    TemporaryFolder folder;
    RandomOptions options;
    options.layers = 20;  // the last of them shares a cache, and becomes a full layer
    options.vocabulary = 64;
    Config small = released_config("e2b");
    small.hidden = 32, small.ple_width = 8;
    for (LayerConfig& layer : small.layers) layer.head_dim /= 16, layer.ffn_width /= 128, layer.rope.rotated /= 16;
    const Model cut = random_model(small, options);
    CHECK(cut.config.layers[19].cache_source == 14);
    save_gguf(cut, folder.at("m.gguf"));
    CHECK(load_model(folder.at("m.gguf")).config.layers[19].cache_source == 14);
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
