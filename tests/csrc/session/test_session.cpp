// The contract on bits, over whole models: chunks, batches, threads, instruction sets, forks, rewinds, files.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "csrc/core/error.h"
#include "kernels/common/isa.h"
#include "kernels/common/team.h"
#include "tests/csrc/models.h"

using namespace gemloupe;
using namespace gemloupe::testing;

namespace {

struct TemporaryFile {
  std::string path = (std::filesystem::temp_directory_path() / ("gemloupe_session_" + std::to_string(reinterpret_cast<uintptr_t>(this)))).string();
  ~TemporaryFile() { std::remove(path.c_str()); }
};

const char* const kFormats[] = {"F32", "Q8_0", "grid4_g16"};

// An op that notes how many rows it was last given.
class Counting final : public Op {
 public:
  Counting(std::shared_ptr<const Op> op, int64_t* rows, bool by_row) : op_(std::move(op)), rows_(rows), by_row_(by_row) {}
  std::string name() const override { return op_->name(); }
  std::vector<Type> outputs(std::span<const Type> inputs, std::span<const Weight* const> weights) const override {
    return op_->outputs(inputs, weights);
  }
  bool by_row() const override { return by_row_; }
  void run(const Call& call) const override {
    *rows_ = call.outputs[0].rows();
    op_->run(call);
  }

 private:
  const std::shared_ptr<const Op> op_;
  int64_t* const rows_;
  const bool by_row_;
};

}  // namespace

TEST_SUITE("session") {
  TEST_CASE("logits of the last rows are those of all rows, and late layers compute no more") {
    for (const char* kind : kKinds) {
      CAPTURE(std::string(kind));
      const Model m = small_model(kind, "Q8_0");
      for (Arithmetic arithmetic : kEvery) {
        CAPTURE(std::string(name(arithmetic)));
        const auto a = some_tokens(21, 1), b = some_tokens(14, 2), c = some_tokens(9, 3);
        Session of_a = session_of(m), of_b = session_of(m);
        const Tensor all_a = logits_of(of_a, a, arithmetic), all_b = logits_of(of_b, b, arithmetic);
        Session x = session_of(m), y = session_of(m), z = session_of(m);
        const Feed feeds[] = {{&x, a, 1, arithmetic, {}}, {&y, b, 5, arithmetic, {}}, {&z, c, 0, arithmetic, {}}};
        const auto some = feed(feeds);
        CHECK(same_bits(some[0], 0, all_a, 20, 1));
        CHECK(same_bits(some[1], 0, all_b, 9, 5));
        CHECK(some[2].rows() == 0);
        // What was read is the same too.
        CHECK(same_bits(logits_of(x, c, arithmetic), logits_of(of_a, c, arithmetic)));
      }

      const std::string last = "layers." + std::to_string(m.config.layers.size() - 1);
      for (const bool by_row : {true, false}) {
        int64_t rows = 0;
        const auto counting = [&](const Node& node) { return std::make_shared<Counting>(node.op, &rows, by_row); };
        const auto graph = std::make_shared<const Graph>(m.graph->replace(last + ".ffn.norm", counting));
        Session s(graph, m.config.vocabulary, m.config.context, SessionOptions{128, 64, false});
        const Feed f{&s, some_tokens(21), 2, Arithmetic::exact, {}};
        feed({&f, 1});
        CHECK(rows == (by_row ? 2 : 21));
        // A look at a later value needs all its rows.
        s.clear();
        Trace trace;
        trace.record = {last + ".out"};
        const Tensor seen = feed({&f, 1}, &trace)[0];
        CHECK(rows == 21);
        CHECK(seen.rows() == 2);
      }
    }
  }

  TEST_CASE("a prompt in any chunks gives the bits of the whole prompt") {
    for (const char* kind : kKinds)
      for (const char* format : kFormats) {
        CAPTURE(std::string(kind));
        CAPTURE(std::string(format));
        const Model m = small_model(kind, format);
        const auto tokens = some_tokens(40);
        for (Arithmetic arithmetic : kEvery) {
          CAPTURE(std::string(name(arithmetic)));
          Session whole = session_of(m);
          const Tensor expected = logits_of(whole, tokens, arithmetic);
          for (int64_t chunk : {1, 2, 3, 7, 39}) {
            CAPTURE(chunk);
            Session s = session_of(m, chunk);
            CHECK(same_bits(logits_of(s, tokens, arithmetic), expected));
          }
          Session one = session_of(m, 16);
          for (size_t t = 0; t < tokens.size(); ++t) {
            const Tensor row = logits_of(one, {tokens[t]}, arithmetic);
            CHECK(same_bits(row, 0, expected, static_cast<int64_t>(t), 1));
          }
        }
      }
  }

  TEST_CASE("a sequence is the same alone and among forty") {
    for (const char* kind : kKinds) {
      CAPTURE(std::string(kind));
      const Model m = small_model(kind, "Q8_0");
      std::vector<Session> sessions, alone;
      std::vector<std::vector<int32_t>> prompts;
      for (uint32_t i = 0; i < 40; ++i) {
        sessions.push_back(session_of(m, 4, 64));
        alone.push_back(session_of(m, 64, 64));
        prompts.push_back(some_tokens(1 + i % 13, i));
      }
      std::vector<Feed> feeds;
      for (size_t i = 0; i < 40; ++i) feeds.push_back({&sessions[i], prompts[i], 1, Arithmetic::exact, {}});
      const auto together = feed(feeds);
      for (size_t i = 0; i < 40; ++i) {
        const Tensor expected = logits_of(alone[i], prompts[i]);
        CHECK(same_bits(together[i], 0, expected, expected.rows() - 1, 1));
        feeds[i].tokens = {prompts[i][0]};
      }
      const auto next = feed(feeds);
      for (size_t i = 0; i < 40; ++i) CHECK(same_bits(next[i], logits_of(alone[i], {prompts[i][0]})));
    }
  }

  TEST_CASE("the arithmetics differ") {
    for (const char* kind : kKinds) {
      CAPTURE(std::string(kind));
      const Model m = small_model(kind, "grid4_g16");
      std::vector<Tensor> logits;
      for (Arithmetic arithmetic : kEvery) {
        Session s = session_of(m);
        logits.push_back(logits_of(s, some_tokens(20), arithmetic));
        for (int64_t i = 0; i < logits[0].rows() * logits[0].width(); ++i) CHECK(std::isfinite(logits.back().floats()[i]));
      }
      CHECK(!same_bits(logits[0], logits[1]));
      CHECK(!same_bits(logits[0], logits[2]));
      CHECK(!same_bits(logits[1], logits[2]));
    }
  }

  TEST_CASE("sessions of all arithmetics in one step are as alone") {
    for (const char* kind : kKinds) {
      CAPTURE(std::string(kind));
      const Model m = small_model(kind, "Q8_0");
      std::vector<Session> sessions, alone;
      std::vector<Feed> feeds;
      for (uint32_t i = 0; i < 9; ++i) {
        sessions.push_back(session_of(m, 4, 64));
        alone.push_back(session_of(m, 64, 64));
      }
      for (uint32_t turn = 0; turn < 3; ++turn) {
        feeds.clear();
        for (uint32_t i = 0; i < 9; ++i)
          feeds.push_back({&sessions[i], some_tokens(1 + i * 5 % 12, i), 1 + i % 2 * (i * 5 % 12 > 0), kEvery[(i + turn) % 3], {}});
        const auto together = feed(feeds);
        for (size_t i = 0; i < 9; ++i) {
          const Tensor expected = logits_of(alone[i], feeds[i].tokens, feeds[i].arithmetic);
          const int64_t rows = together[i].rows();
          CHECK(same_bits(together[i], 0, expected, expected.rows() - rows, rows));
          CHECK(sessions[i].arithmetics() == alone[i].arithmetics());
        }
      }
    }
  }

  TEST_CASE("threads and instruction sets do not show in the bits") {
    const int threads_before = threads();
    const Isa isa_before = isa();
    for (const char* kind : kKinds)
      for (const char* format : kFormats) {
        CAPTURE(std::string(kind));
        CAPTURE(std::string(format));
        const Model m = small_model(kind, format);
        const auto tokens = some_tokens(33);
        for (Arithmetic arithmetic : kEvery) {
          set_threads(1);
          limit_isa(Isa::reference);
          CAPTURE(std::string(name(arithmetic)));
          Session first = session_of(m);
          const Tensor expected = logits_of(first, tokens, arithmetic);
          for (Isa level : {Isa::reference, Isa::avx2, Isa::avx512, Isa::amx})
            for (int n : {1, 2, 5}) {
              if (level > detected_isa()) continue;
              limit_isa(level);
              set_threads(n);
              CAPTURE(std::string(name(level)));
              CAPTURE(n);
              Session s = session_of(m);
              CHECK(same_bits(logits_of(s, tokens, arithmetic), expected));
            }
        }
        limit_isa(isa_before);
        set_threads(threads_before);
      }
  }

  TEST_CASE("half-precision caches keep the contract too") {
    const Model m = small_model("ple");
    const auto tokens = some_tokens(30);
    Session whole = session_of(m, 64, 128, true), parts = session_of(m, 3, 128, true), full = session_of(m);
    const Tensor expected = logits_of(whole, tokens);
    CHECK(same_bits(logits_of(parts, tokens), expected));
    CHECK(!same_bits(logits_of(full, tokens), expected));  // and they do round
  }

  TEST_CASE("a fork goes its own way") {
    const Model m = small_model("experts");
    Session a = session_of(m);
    logits_of(a, some_tokens(20));
    Session b = a.fork(), c = a.fork();
    const Tensor of_a = logits_of(a, {5, 6, 7});
    logits_of(b, {50, 60, 70, 80});
    CHECK(same_bits(logits_of(c, {5, 6, 7}), of_a));
    CHECK(b.position() == 24);
  }

  TEST_CASE("rewinding is exact, within the sliding caches and beyond") {
    for (const char* kind : kKinds)
      for (int64_t n : {0, 1, 4, 9, 25, 30}) {
        CAPTURE(std::string(kind));
        CAPTURE(n);
        const Model m = small_model(kind);
        const auto tokens = some_tokens(30);
        Session s = session_of(m, 4), fresh = session_of(m, 4);
        // Twelve tokens of a prompt, then decoding, then int8: what is read again is read as before.
        const auto read = [&](Session& to, int64_t count) {
          const int64_t ends[] = {0, std::min<int64_t>(count, 12), std::min<int64_t>(count, 20), count};
          const Arithmetic how[] = {Arithmetic::bf16, Arithmetic::exact, Arithmetic::int8};
          for (int i = 0; i < 3; ++i)
            if (ends[i] < ends[i + 1]) logits_of(to, {tokens.begin() + ends[i], tokens.begin() + ends[i + 1]}, how[i]);
        };
        read(s, 30);
        s.rewind(n);
        CHECK(s.position() == 30 - n);
        read(fresh, 30 - n);
        CHECK(s.arithmetics() == fresh.arithmetics());
        CHECK(same_bits(logits_of(s, {1, 2, 3}), logits_of(fresh, {1, 2, 3})));
        s.rewind(1);  // and again after reading on
        fresh.rewind(1);
        CHECK(same_bits(logits_of(s, {9}), logits_of(fresh, {9})));
      }
    const Model m = small_model("dense");
    Session s = session_of(m);
    CHECK_THROWS_AS(s.rewind(1), std::invalid_argument);
  }

  TEST_CASE("a saved session goes on where it was") {
    const Model m = small_model("ple", "Q8_0");
    Session s = session_of(m, 4);
    logits_of(s, some_tokens(20), Arithmetic::bf16);
    logits_of(s, some_tokens(10));
    TemporaryFile file;
    s.save(file.path);
    Session back = Session::load(file.path, m.graph, m.config.vocabulary, m.config.context);
    CHECK(back.tokens() == s.tokens());
    CHECK(back.arithmetics() == s.arithmetics());
    CHECK(same_bits(logits_of(back, {1, 2, 3}), logits_of(s, {1, 2, 3})));
    back.rewind(20);  // beyond the sliding caches
    s.rewind(20);
    CHECK(same_bits(logits_of(back, {4}), logits_of(s, {4})));
  }

  TEST_CASE("session files of another version are refused by their version") {
    const Model m = small_model("dense");
    TemporaryFile file;
    session_of(m).save(file.path);
    std::fstream(file.path, std::ios::binary | std::ios::in | std::ios::out).seekp(7).put('1');
    CHECK_THROWS_WITH_AS(Session::load(file.path, m.graph, 97, 512), doctest::Contains("version '1', expected '2'"), Error);
  }

  TEST_CASE("session files that are damaged, cut short or of another model are refused") {
    const Model m = small_model("dense"), other = small_model("dense", "F32", 2);
    Session s = session_of(m, 4, 32);
    logits_of(s, some_tokens(9));
    TemporaryFile file;
    s.save(file.path);
    CHECK_THROWS_AS(Session::load(file.path, other.graph, 97, 512), Error);
    std::ifstream in(file.path, std::ios::binary);
    const std::string good((std::istreambuf_iterator<char>(in)), {});
    const auto refused = [&](const std::string& bytes) {
      std::ofstream(file.path, std::ios::binary | std::ios::trunc) << bytes;
      CHECK_THROWS_AS(Session::load(file.path, m.graph, 97, 512), Error);
    };
    for (size_t length = 0; length < good.size(); length += 1 + length / 16) refused(good.substr(0, length));
    for (size_t at = 0; at < good.size(); at += 1 + at / 16) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 0x41);
      refused(bad);
    }
    refused(good + "x");
  }

  TEST_CASE("what comes from outside is checked before anything moves") {
    const Model m = small_model("gemma3");
    Session s = session_of(m, 8, 16);
    logits_of(s, {1, 2, 3});
    CHECK_THROWS_WITH_AS(logits_of(s, {97}), "feed: token 0 is 97, the vocabulary has ids 0 to 96", std::invalid_argument);
    CHECK_THROWS_AS(logits_of(s, {-1}), std::invalid_argument);
    CHECK_THROWS_AS(logits_of(s, {}), std::invalid_argument);
    CHECK_THROWS_AS(logits_of(s, some_tokens(14)), std::invalid_argument);
    const Feed twice[] = {{&s, {1}, 1, Arithmetic::exact, {}}, {&s, {2}, 1, Arithmetic::exact, {}}};
    CHECK_THROWS_AS(feed(twice), std::invalid_argument);
    CHECK(s.position() == 3);
    CHECK_THROWS_AS(session_of(m, -1), std::invalid_argument);
    CHECK_THROWS_AS(session_of(m, 4, 513), std::invalid_argument);
  }

  TEST_CASE("an interruption loses nothing: complete steps count, and reading goes on") {
    const Model m = small_model("dense");
    const auto tokens = some_tokens(30);
    Session s = session_of(m, 4), fresh = session_of(m, 4);
    int polls = 0;
    Trace trace;
    trace.poll = [&] {
      if (++polls == 150) throw Interrupted();
    };
    CHECK_THROWS_AS(logits_of(s, tokens, Arithmetic::exact, &trace), Interrupted);
    CHECK(s.position() > 0);
    CHECK(s.position() < 30);
    CHECK(s.position() % 4 == 0);
    const Tensor rest = logits_of(s, std::vector<int32_t>(tokens.begin() + s.position(), tokens.end()));
    const Tensor all = logits_of(fresh, tokens);
    CHECK(same_bits(rest, 0, all, 30 - rest.rows(), rest.rows()));
  }

  TEST_CASE("experts bring larger chunks, unless the caller or the context says otherwise") {
    const auto chunk = [](const char* kind, int64_t context, int64_t chunk) {
      const Model m = small_model(kind);
      SessionOptions options;
      options.context = context, options.chunk = chunk;
      return Session(m.graph, m.config.vocabulary, 4096, options).chunk();
    };
    CHECK(chunk("dense", 2048, 0) == 512);
    CHECK(chunk("experts", 2048, 0) == 1024);
    CHECK(chunk("experts", 2048, 7) == 7);
    CHECK(chunk("experts", 100, 0) == 100);
  }
}
