// Over 400 lines: one case for each part of one contract, over both kinds of vocabulary and their files.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "csrc/core/error.h"
#include "csrc/io/tokenizer.h"

using namespace gemloupe;
using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

namespace {

const Json& fixture() {
  static const Json json = [] {
    std::ifstream file(GEMLOUPE_SOURCE_DIR "/tests/golden/tokenizer.json", std::ios::binary);
    return Json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
  }();
  return json;
}

std::shared_ptr<const Tokenizer> variant(const char* name) {
  return Tokenizer::from_json(fixture().at(name).at("file").dump());
}

// a, b, c and U+2581 with pieces made of them; ids 0 to 3 are <pad> <eos> <bos> <unk>, then the 256 bytes.
Vocabulary small_vocabulary() {
  Vocabulary v;
  v.pieces = {"<pad>", "<eos>", "<bos>", "<unk>"};
  v.types.assign(4, Vocabulary::control);
  const char* const digits = "0123456789ABCDEF";
  for (int b = 0; b < 256; ++b) v.pieces.push_back(std::string("<0x") + digits[b >> 4] + digits[b & 15] + ">");
  v.types.resize(260, Vocabulary::byte);
  v.scores.assign(260, 0.0f);
  for (const auto& [piece, score] : std::initializer_list<std::pair<const char*, float>>{
           {"a", -9}, {"b", -9}, {"c", -9}, {"\u2581", -9}, {"ab", -1}, {"bc", 0}, {"\u2581a", -2}, {"abc", -3}, {"aa", -4}}) {
    v.pieces.push_back(piece);
    v.types.push_back(Vocabulary::normal);
    v.scores.push_back(score);
  }
  v.eos = 1, v.bos = 2, v.unk = 3, v.pad = 0;
  return v;
}

Ids ids_of(const Tokenizer& tokenizer, std::initializer_list<const char*> pieces) {
  Ids ids;
  for (const char* piece : pieces) ids.push_back(tokenizer.id_of(piece).value());
  return ids;
}

std::string random_bytes(std::mt19937& rng, size_t count) {
  const std::string common = " \n<>abthe\xC3\xA9\xE2\x96\x81\xF0\x9F\x99\x82";
  std::string text;
  for (size_t i = 0; i < count; ++i) text += rng() % 4 ? common[rng() % common.size()] : char(rng() & 255);
  return text;
}

}  // namespace

TEST_SUITE("tokenizer") {
  TEST_CASE("tokenizer: ids are those of the tokenizers package") {
    for (const char* name : {"gemma", "across", "llama", "metaspace"}) {
      CAPTURE(name);
      const auto tokenizer = variant(name);
      for (const Json& row : fixture().at(name).at("cases")) {
        const std::string text = row.at(0);
        CAPTURE(text);
        CHECK(tokenizer->encode(text, true, false) == row.at(1).get<Ids>());
        CHECK(tokenizer->encode(text, false, false) == row.at(2).get<Ids>());
      }
    }
  }

  TEST_CASE("tokenizer: decode gives the text back") {
    for (const char* name : {"gemma", "across", "llama"}) {
      CAPTURE(name);
      const auto tokenizer = variant(name);
      for (const Json& row : fixture().at(name).at("cases")) {
        std::string text = row.at(0);
        CAPTURE(text);
        const Ids ids = tokenizer->encode(text, false, false);
        for (size_t at; (at = text.find("\u2581")) != std::string::npos;) text.replace(at, 3, " ");
        CHECK(tokenizer->decode(ids, false) == text);
      }
    }
  }

  TEST_CASE("tokenizer: with special = false no text yields a control token") {
    for (const char* name : {"gemma", "across", "llama", "metaspace"}) {
      const auto tokenizer = variant(name);
      for (const Json& row : fixture().at(name).at("cases")) {
        for (int32_t id : tokenizer->encode(row.at(0).get<std::string>(), false, false)) {
          CHECK((id == tokenizer->vocabulary().unk || !tokenizer->is_control(id)));
        }
      }
    }
  }

  TEST_CASE("tokenizer: the file says what bos, eos and the ends of a generation are") {
    const auto tokenizer = variant("gemma");
    CHECK(tokenizer->bos() == tokenizer->id_of("<bos>"));
    CHECK(tokenizer->eos() == tokenizer->id_of("<eos>"));
    CHECK(tokenizer->end_of_generation() == ids_of(*tokenizer, {"<eos>", "<end_of_turn>"}));
    CHECK(tokenizer->ends_generation(*tokenizer->id_of("<end_of_turn>")));
    CHECK_FALSE(tokenizer->ends_generation(*tokenizer->id_of("<bos>")));
    CHECK(tokenizer->vocabulary().add_bos);
    CHECK(tokenizer->is_control(tokenizer->bos()));
    CHECK_FALSE(tokenizer->is_control(*tokenizer->id_of("<b>")));
    CHECK(tokenizer->piece(tokenizer->bos()) == "<bos>");
    CHECK_FALSE(tokenizer->id_of("no such piece"));
    CHECK(tokenizer->to_json() == fixture().at("gemma").at("file").dump());

    const auto other = Tokenizer::from_json(
        fixture().at("gemma").at("file").dump(),
        R"({"bos_token": {"content": "<pad>"}, "eos_token": "<end_of_turn>", "add_bos_token": false})");
    CHECK(other->bos() == other->id_of("<pad>"));
    CHECK(other->end_of_generation() == ids_of(*other, {"<end_of_turn>"}));
    CHECK_FALSE(other->vocabulary().add_bos);
  }

  TEST_CASE("tokenizer: Gemma 4 ends on its own tokens, and not on </s>") {
    Vocabulary v = small_vocabulary();
    for (const char* piece : {"<turn|>", "<|tool_response>", "</s>"}) {
      v.pieces.push_back(piece);
      v.types.push_back(Vocabulary::user_defined);
      v.scores.push_back(0);
    }
    v.stops = {5};
    const Tokenizer tokenizer(v);
    Ids expected = ids_of(tokenizer, {"<eos>", "<0x01>", "<turn|>", "<|tool_response>"});
    CHECK(tokenizer.end_of_generation() == expected);
  }

  TEST_CASE("tokenizer: exactly one BOS") {
    const auto tokenizer = variant("gemma");
    const Ids plain = tokenizer->encode("the loupe", true, false);
    Ids expected = plain;
    expected.insert(expected.begin(), tokenizer->bos());
    CHECK(tokenizer->encode("the loupe", true, true) == expected);
    CHECK(tokenizer->encode("<bos>the loupe", true, true) == expected);
    CHECK(tokenizer->encode("", true, true) == Ids{tokenizer->bos()});
    CHECK(tokenizer->encode("<bos>", true, true) == Ids{tokenizer->bos()});
    const Ids spelled = tokenizer->encode("<bos>", false, true);
    CHECK(spelled.size() > 2);
    CHECK(spelled[0] == tokenizer->bos());
    CHECK(std::count(spelled.begin(), spelled.end(), tokenizer->bos()) == 1);
    Vocabulary v = small_vocabulary();
    v.bos = -1;
    CHECK_THROWS_AS(Tokenizer(v).encode("a", true, true), std::invalid_argument);
  }

  TEST_CASE("tokenizer: scores merge the best pair first, the leftmost of equals") {
    const Tokenizer tokenizer(small_vocabulary());
    CHECK(tokenizer.name() == "llama");
    CHECK(tokenizer.encode("abc", true, false) == ids_of(tokenizer, {"abc"}));  // bc, then a bc
    CHECK(tokenizer.encode("abb", true, false) == ids_of(tokenizer, {"ab", "b"}));
    CHECK(tokenizer.encode("aaa", true, false) == ids_of(tokenizer, {"aa", "a"}));
    CHECK(tokenizer.encode("a ab", true, false) == ids_of(tokenizer, {"a", "\u2581", "ab"}));  // ab is better than _a
    Vocabulary tied = small_vocabulary();
    for (const char* piece : {"ab", "aa"}) tied.scores[size_t(*tokenizer.id_of(piece))] = -1;
    CHECK(Tokenizer(tied).encode("aab", true, false) == ids_of(tokenizer, {"aa", "b"}));
    CHECK(tokenizer.encode("aab", true, false) == ids_of(tokenizer, {"a", "ab"}));
    CHECK(tokenizer.encode("a a", true, false) == ids_of(tokenizer, {"a", "\u2581" "a"}));
    CHECK(tokenizer.encode("\u2581" "a", true, false) == ids_of(tokenizer, {"\u2581" "a"}));
    CHECK(tokenizer.encode("d", true, false) == ids_of(tokenizer, {"<0x64>"}));
    CHECK(tokenizer.encode("<0x64>", true, false).size() == 6);  // the text of a byte piece is plain text
  }

  TEST_CASE("tokenizer: a character that is part of a piece, but none itself") {
    Vocabulary v = small_vocabulary();
    v.pieces.push_back("xa");
    v.types.push_back(Vocabulary::normal);
    v.scores.push_back(-5);
    const Tokenizer tokenizer(v);
    CHECK(tokenizer.encode("xa", true, false) == ids_of(tokenizer, {"xa"}));
    CHECK(tokenizer.encode("xc", true, false) == ids_of(tokenizer, {"<0x78>", "c"}));
    CHECK(tokenizer.encode("xab", true, false) == ids_of(tokenizer, {"<0x78>", "ab"}));
  }

  TEST_CASE("tokenizer: a space before the text, and none after decoding") {
    Vocabulary v = small_vocabulary();
    v.add_space_prefix = true;
    const auto tokenizer = std::make_shared<const Tokenizer>(v);
    CHECK(tokenizer->encode("", true, false).empty());
    CHECK(tokenizer->encode("a", true, false) == ids_of(*tokenizer, {"\u2581" "a"}));
    CHECK(tokenizer->encode("a<eos>a", true, false) == ids_of(*tokenizer, {"\u2581" "a", "<eos>", "\u2581" "a"}));
    for (const char* text : {"a", " a", "  b ", "abc abc"}) {
      const Ids ids = tokenizer->encode(text, true, true);
      CHECK(tokenizer->decode(ids, false) == text);
      StreamDecoder stream(tokenizer);
      for (int round = 0; round < 2; ++round) {  // finish makes it ready for another text
        std::string streamed;
        for (int32_t id : ids) streamed += stream.push(id);
        CHECK(streamed + stream.finish() == text);
      }
    }
  }

  TEST_CASE("tokenizer: merges and scores of the same order give the same ids") {
    for (const char* name : {"gemma", "across"}) {
      const auto merges = variant(name);
      Vocabulary v = merges->vocabulary();
      v.kind = Vocabulary::Kind::scores;
      v.merges.clear();
      const Tokenizer scores(v);
      v = merges->vocabulary();
      const Tokenizer list(v);
      CHECK(list.name() == "gemma4");
      for (const Json& row : fixture().at(name).at("cases")) {
        const std::string text = row.at(0);
        CAPTURE(text);
        CHECK(list.encode(text, true, false) == row.at(1).get<Ids>());
        // Only merges can tell two ways to the same piece apart, which pieces across spaces need.
        if (std::string_view(name) == "gemma") CHECK(scores.encode(text, true, false) == row.at(1).get<Ids>());
      }
    }
  }

  TEST_CASE("tokenizer: a GGUF vocabulary written as tokenizer.json encodes alike") {
    std::mt19937 rng(3);
    Vocabulary v = small_vocabulary();
    for (const char* piece : {"  ", "   ", "<b>"}) {
      v.pieces.push_back(piece);
      v.types.push_back(Vocabulary::user_defined);
      v.scores.push_back(-1000);
    }
    v.add_bos = true;
    for (bool prefix : {false, true}) {
      v.add_space_prefix = prefix;
      const Tokenizer from_gguf(v);
      const auto from_json = Tokenizer::from_json(from_gguf.to_json());
      CHECK(from_json->bos() == v.bos);
      CHECK(from_json->vocabulary().add_bos);
      CHECK(from_json->vocabulary().add_space_prefix == prefix);
      for (int i = 0; i < 300; ++i) {
        std::string text;
        const std::array parts = {"a", "b", "c", " ", "<b>", "<eos>", "\n", "\u00e9", "x"};
        for (size_t n = rng() % 20; n > 0; --n) text += parts[rng() % parts.size()];
        CAPTURE(text);
        // With a prefix, a user-defined run of spaces is a border to GGUF and plain text to tokenizer.json.
        if (prefix && text.find("  ") != std::string::npos) continue;
        CHECK(from_json->encode(text, true, true) == from_gguf.encode(text, true, true));
      }
    }
  }

  TEST_CASE("tokenizer: each byte of invalid UTF-8 is its byte's piece") {
    const Tokenizer tokenizer(small_vocabulary());
    const auto spell = [](std::initializer_list<int> bytes) {
      Ids ids;
      for (int b : bytes) ids.push_back(4 + b);
      return ids;
    };
    const auto encode = [&](std::string_view text) { return tokenizer.encode(text, true, false); };
    CHECK(encode("\xFF") == spell({0xFF}));
    CHECK(encode("\x80\xBF") == spell({0x80, 0xBF}));
    CHECK(encode("\xC0\x80") == spell({0xC0, 0x80}));              // overlong
    CHECK(encode("\xE2\x96") == spell({0xE2, 0x96}));              // cut short
    CHECK(encode("\xED\xA0\x80") == spell({0xED, 0xA0, 0x80}));    // a surrogate
    CHECK(encode("\xF4\x90\x80\x80") == spell({0xF4, 0x90, 0x80, 0x80}));
    CHECK(encode(std::string_view("\0\0", 2)) == spell({0, 0}));
    CHECK(encode("\xE2\x96" "a") == Ids{4 + 0xE2, 4 + 0x96, *tokenizer.id_of("a")});
    CHECK(tokenizer.decode(spell({0xF0, 0x9F, 0x99, 0x82})) == "\xF0\x9F\x99\x82");
    CHECK(tokenizer.decode(spell({0xFF, 0x80})) == "\uFFFD\uFFFD");
    CHECK(tokenizer.decode(spell({0xE2, 0x96})) == "\uFFFD");
    CHECK(tokenizer.decode(spell({0xE2, 0x96, 0x41})) == "\uFFFD" "A");
    CHECK(tokenizer.decode(spell({0xED, 0xA0, 0x80})) == "\uFFFD\uFFFD\uFFFD");
  }

  TEST_CASE("tokenizer: a stream never ends inside a character and adds up to decode") {
    std::mt19937 rng(1);
    for (const char* name : {"gemma", "llama"}) {
      const auto tokenizer = variant(name);
      for (int i = 0; i < 400; ++i) {
        Ids ids = tokenizer->encode(random_bytes(rng, 1 + rng() % 30), true, false);
        if (i % 2) {
          for (int32_t& id : ids) id = int32_t(rng() % uint32_t(tokenizer->size()));
        }
        const bool special = rng() % 2;
        StreamDecoder stream(tokenizer, special);
        std::string all;
        for (int32_t id : ids) {
          const std::string part = stream.push(id);
          CHECK((part.empty() || (part[0] & 0xC0) != 0x80));
          all += part;
        }
        CHECK(all + stream.finish() == tokenizer->decode(ids, special));
      }
    }
    const auto tokenizer = std::make_shared<const Tokenizer>(small_vocabulary());
    StreamDecoder stream(tokenizer);
    CHECK(stream.push(4 + 0xF0) == "");
    CHECK(stream.push(4 + 0x9F) == "");
    CHECK(stream.push(4 + 0x99) == "");
    CHECK(stream.push(4 + 0x82) == "\xF0\x9F\x99\x82");
    CHECK(stream.push(4 + 0xE2) == "");
    CHECK(stream.finish() == "\uFFFD");
  }

  TEST_CASE("tokenizer: any bytes can be encoded, and valid text comes back") {
    std::mt19937 rng(2);
    for (const char* name : {"gemma", "across", "llama", "metaspace"}) {
      const auto tokenizer = variant(name);
      for (size_t size : {0, 1, 2, 15, 31, 32, 33, 64, 65, 255, 1000}) {
        const std::string text = random_bytes(rng, size);
        const Ids ids = tokenizer->encode(text, true, true);
        CHECK(std::all_of(ids.begin(), ids.end(), [&](int32_t id) { return id >= 0 && id < tokenizer->size(); }));
        // Stretches encode the same whether or not words in them were met before.
        const Ids twice = tokenizer->encode(text + "\n<bos>" + text, true, false);
        const Ids again = tokenizer->encode(text, true, false);
        if (std::string_view(name) != "metaspace" && size > 0) {  // which prefixes the first stretch only
          CHECK(std::vector(twice.end() - std::ptrdiff_t(again.size()), twice.end()) == again);
        }
      }
    }
  }

  TEST_CASE("tokenizer: a megabyte without a space takes no quadratic time") {
    const auto tokenizer = variant("gemma");
    // Quadratic merging of 10^6 symbols would take hours, so that this test ends is its claim.
    for (const char* unit : {"the", "qz", " ", "\n", "\xE7\x9F\xB3"}) {
      std::string text;
      while (text.size() < 1'000'000) text += unit;
      CHECK(tokenizer->decode(tokenizer->encode(text, true, false)) == text);
    }
  }

  TEST_CASE("tokenizer: threads share one") {
    const auto tokenizer = variant("gemma");
    const std::string text = fixture().at("gemma").at("cases").at(10).at(0);
    const Ids expected = fixture().at("gemma").at("cases").at(10).at(1);
    std::vector<Ids> got(4);
    std::vector<std::thread> threads;
    for (Ids& ids : got) threads.emplace_back([&] { for (int i = 0; i < 50; ++i) ids = tokenizer->encode(text, true, false); });
    for (std::thread& thread : threads) thread.join();
    for (const Ids& ids : got) CHECK(ids == expected);
  }

  TEST_CASE("tokenizer: ids out of range are refused") {
    const auto tokenizer = variant("gemma");
    for (int32_t id : {-1, tokenizer->size(), std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
      const Ids ids = {0, id};
      CHECK_THROWS_AS(tokenizer->decode(ids), std::invalid_argument);
      CHECK_THROWS_AS((void)tokenizer->piece(id), std::invalid_argument);
      CHECK_THROWS_AS((void)tokenizer->bytes(id), std::invalid_argument);
      CHECK_THROWS_AS((void)tokenizer->is_control(id), std::invalid_argument);
      CHECK_THROWS_AS(StreamDecoder(tokenizer).push(id), std::invalid_argument);
    }
  }

  TEST_CASE("tokenizer: vocabularies that contradict themselves are refused, odd ones are not") {
    const auto refused = [](auto spoil, const char* word) {
      Vocabulary v = small_vocabulary();
      spoil(v);
      try {
        Tokenizer tokenizer(std::move(v));
        FAIL("not refused: ", word);
      } catch (const Error& error) {
        CHECK(std::string(error.what()).find(word) != std::string::npos);
      }
    };
    refused([](Vocabulary& v) { v = {}; }, "no pieces");
    refused([](Vocabulary& v) { v.types.pop_back(); }, "token types");
    refused([](Vocabulary& v) { v.scores.pop_back(); }, "scores");
    refused([](Vocabulary& v) { v.scores[7] = std::numeric_limits<float>::quiet_NaN(); }, "not a number");
    refused([](Vocabulary& v) { v.bos = 5000; }, "BOS");
    refused([](Vocabulary& v) { v.eos = -7; }, "EOS");
    refused([](Vocabulary& v) { v.stops = {-2}; }, "stop");
    refused([](Vocabulary& v) { v.pieces[262] = std::string(2000, 'a'); }, "2000 bytes");
    refused([](Vocabulary& v) { v.kind = Vocabulary::Kind::merges, v.merges = {"a b", "ab"}; }, "merge 1");

    Vocabulary v = small_vocabulary();
    v.types.clear();
    v.pieces[0] = "";
    v.pieces[1] = "a";         // twice in the vocabulary: the first counts
    v.pieces[3] = "\xFF\xFE";  // not UTF-8
    v.scores[5] = std::numeric_limits<float>::infinity();
    const Tokenizer odd(v);
    CHECK(odd.encode("b", true, false) == ids_of(odd, {"b"}));
    CHECK(odd.encode("c a", true, false).size() == 2);
    CHECK(odd.decode(Ids{3}) == "\uFFFD\uFFFD");
    v.types.assign(v.pieces.size(), Vocabulary::user_defined);
    CHECK(Tokenizer(v).encode("ac", true, false).size() == 2);  // the empty added token matches nothing

    v = small_vocabulary();
    v.kind = Vocabulary::Kind::merges;
    v.merges = {"a x", "b c", "a bc", "< eos>"};
    const Tokenizer merges(v);  // the first entry names no piece
    CHECK(merges.encode("abc", true, false) == ids_of(merges, {"abc"}));

    v = small_vocabulary();  // without byte pieces, what is unknown is one <unk> a run, or nothing
    v.pieces.erase(v.pieces.begin() + 4, v.pieces.begin() + 260);
    v.types.erase(v.types.begin() + 4, v.types.begin() + 260);
    v.scores.erase(v.scores.begin() + 4, v.scores.begin() + 260);
    CHECK(Tokenizer(v).encode("axya", true, false) == Ids{4, 3, 4});
    v.unk = -1;
    CHECK(Tokenizer(v).encode("axyb", true, false) == ids_of(Tokenizer(v), {"ab"}));
  }

  TEST_CASE("tokenizer: what tokenizer.json asks beyond our means is refused by name") {
    const Json& good = fixture().at("gemma").at("file");
    const auto refused = [&](const char* at, const Json& value, const char* word) {
      Json file = good;
      file[Json::json_pointer(at)] = value;
      try {
        Tokenizer::from_json(file.dump());
        FAIL("not refused: ", at);
      } catch (const Error& error) {
        CAPTURE(error.what());
        CHECK(std::string(error.what()).find(word) != std::string::npos);
      }
    };
    refused("/normalizer", {{"type", "NFKC"}}, "NFKC");
    refused("/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}}}}, "Lowercase");
    refused("/normalizer/content", "_", "normalizer");
    refused("/pre_tokenizer", {{"type", "ByteLevel"}}, "ByteLevel");
    refused("/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "_"}}, "Metaspace");
    refused("/decoder", {{"type", "WordPiece"}}, "WordPiece");
    refused("/model/type", "Unigram", "Unigram");
    refused("/model/dropout", 0.5, "dropout");
    refused("/model/continuing_subword_prefix", "##", "##");
    refused("/model/unk_token", "<none>", "<none>");
    refused("/model/merges/0", Json::array({"no", "pieces"}), "nopieces");
    refused("/model/merges/0", Json::array({"a"}), "two strings");
    refused("/model/merges/0", Json::array({"a", "b", "c"}), "two strings");
    refused("/model/merges/0", 5, "wrong type");
    refused("/model/vocab/a", -1, "id");
    refused("/model/vocab/a", 1.5, "wrong type");
    refused("/model/vocab/a", 1e9, "wrong type");
    refused("/model/vocab/a", 1000000000, "1000000000");
    refused("/model/vocab/a", 5, "both");
    refused("/model/vocab/a", Json::object(), "within vocab");
    refused("/model", nullptr, "model");
    refused("/added_tokens/0/lstrip", true, "lstrip");
    refused("/added_tokens/0/id", "x", "added_tokens");
    refused("/added_tokens/0", 5, "added_tokens");
    CHECK_THROWS_AS(Tokenizer::from_json(""), Error);
    CHECK_THROWS_AS(Tokenizer::from_json("[]"), Error);
    CHECK_THROWS_AS(Tokenizer::from_json("{}"), Error);
    CHECK_THROWS_AS(Tokenizer::from_json(std::string(100000, '[')), Error);
    CHECK_THROWS_AS(Tokenizer::from_json(good.dump(), "{"), Error);
    CHECK_THROWS_AS(Tokenizer::from_json(good.dump(), R"({"bos_token": "<none>"})"), Error);

    // Every beginning of a file, and flipped bytes: an Error or a tokenizer, never anything else.
    const std::string whole = good.dump();
    std::mt19937 rng(4);
    for (int i = 0; i < 300; ++i) {
      std::string spoilt = whole;
      if (i % 3 == 0) spoilt.resize(rng() % whole.size());
      else for (int flips = 1 + int(rng() % 3); flips > 0; --flips) spoilt[rng() % whole.size()] = char(rng() & 127);
      try {
        (void)Tokenizer::from_json(spoilt)->encode("the loupe <b>\xFF\n", true, false);
      } catch (const Error&) {
      }
    }
  }
}
