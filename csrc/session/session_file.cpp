// Sessions in files. Layout, little-endian: "GEMSESS2", then u64 each: fingerprint of the graph, context, chunk, half, written
// positions, number of tokens, whether it was altered; the tokens as i32, the arithmetic of each as u8; then for each ring of each node its capacity and width as u64 and its used
// slots; at the end a checksum of all that came before.
#include <cstring>
#include <fstream>

#include "csrc/core/error.h"
#include "csrc/formats/strips.h"
#include "csrc/io/output_file.h"
#include "csrc/io/printable.h"
#include "csrc/session/session.h"

namespace gemloupe {
namespace {

constexpr char kMagic[] = "GEMSESS2";  // the last character is the version

// FNV-1a over 8-byte words: finds damage, not malice.
struct Checksum {
  uint64_t state = 0xcbf29ce484222325u;
  void add(const void* data, size_t bytes) {
    const auto* p = static_cast<const uint8_t*>(data);
    for (; bytes >= 8; p += 8, bytes -= 8) {
      uint64_t word;
      std::memcpy(&word, p, 8);
      state = (state ^ word) * 0x100000001b3u;
      state ^= state >> 29;
    }
    for (; bytes; ++p, --bytes) state = (state ^ *p) * 0x100000001b3u;
  }
};

struct Writer {
  OutputFile file;
  Checksum sum;
  explicit Writer(const std::string& path) : file(path) {}
  void bytes(const void* data, size_t n) {
    sum.add(data, n);
    file.write(std::span(static_cast<const uint8_t*>(data), n));
  }
  void number(uint64_t v) { bytes(&v, 8); }
};

struct Reader {
  const std::string& path;
  std::ifstream file;
  uint64_t left = 0;
  Checksum sum;

  explicit Reader(const std::string& path) : path(path), file(path, std::ios::binary | std::ios::ate) {
    demand(file.good(), path, ": cannot be opened");
    const auto size = file.tellg();
    demand(size > 0, path, ": is no session file");
    left = static_cast<uint64_t>(size);
    file.seekg(0);
  }
  void bytes(void* data, uint64_t n) {
    demand(n <= left, path, ": ends too early: ", n, " more bytes were expected, ", left, " are left");
    file.read(static_cast<char*>(data), static_cast<std::streamsize>(n));
    demand(file.good(), path, ": cannot be read");
    left -= n;
    sum.add(data, n);
  }
  uint64_t number() {
    uint64_t v;
    bytes(&v, 8);
    return v;
  }
};

int64_t slot_bytes(const StateType& type) { return type.width * (type.half ? 2 : 4); }

}  // namespace

uint64_t fingerprint(const Graph& graph) {
  Checksum sum;
  const std::string program = graph.print();
  sum.add(program.data(), program.size());
  for (const auto& [name, w] : graph.weights()) {
    sum.add(name.data(), name.size());
    const std::string kind = text(w->format->name(), ' ', w->rows, ' ', w->cols, ' ', w->experts);
    sum.add(kind.data(), kind.size());
    const size_t bytes = static_cast<size_t>(w->bytes()), sample = std::min<size_t>(bytes, 256);
    for (size_t at : {size_t{0}, (bytes - sample) / 3, (bytes - sample) / 3 * 2, bytes - sample}) {
      uint8_t piece[256];
      read_bytes(*w, static_cast<int64_t>(at), static_cast<int64_t>(sample), piece);
      sum.add(piece, sample);
    }
    sum.add(w->output_scale.data(), w->output_scale.size() * 4);
  }
  return sum.state;
}

void Session::save(const std::string& path) const {
  Writer w(path);
  w.bytes(kMagic, 8);
  for (const int64_t v : {static_cast<int64_t>(fingerprint(*graph_)), limits_.context, limits_.chunk, static_cast<int64_t>(limits_.half_cache),
                          written_, position(), static_cast<int64_t>(altered_)})
    w.number(static_cast<uint64_t>(v));
  w.bytes(tokens_.data(), tokens_.size() * 4);
  w.bytes(arithmetics_.data(), arithmetics_.size());
  for (const auto& node : states_)
    for (const State& s : node) {
      w.number(static_cast<uint64_t>(s.type.capacity));
      w.number(static_cast<uint64_t>(s.type.width));
      w.bytes(s.memory.get(), static_cast<size_t>(std::min(s.type.capacity, written_) * slot_bytes(s.type)));
    }
  const uint64_t sum = w.sum.state;
  w.number(sum);
  w.file.commit();
}

Session Session::load(const std::string& path, std::shared_ptr<const Graph> graph, int64_t vocabulary, int64_t model_context) {
  Reader r(path);
  char magic[8];
  demand(r.left >= 8, path, ": is no session file of gemloupe");
  r.bytes(magic, 8);
  demand(std::memcmp(magic, kMagic, 7) == 0, path, ": is no session file of gemloupe");
  demand(magic[7] == kMagic[7], path, ": is a session file of version ", printable({magic + 7, 1}), ", expected '", kMagic[7],
         "'; read its tokens again with this version");
  const uint64_t print = r.number();
  demand(print == fingerprint(*graph), path, ": the session is of another model or another graph; load it with the one that wrote it");
  SessionOptions options;
  const uint64_t context = r.number(), chunk = r.number(), half = r.number(), written = r.number(), count = r.number(), altered = r.number();
  demand(context >= 1 && context <= static_cast<uint64_t>(model_context) && chunk >= 1 && chunk <= context && chunk <= 65536 && half <= 1 &&
             written <= context && count <= written && altered <= 1 && count <= r.left / 5,
         path, ": its numbers contradict each other; the file is damaged");
  options.context = static_cast<int64_t>(context);
  options.chunk = static_cast<int64_t>(chunk);
  options.half_cache = half == 1;
  Session session(std::move(graph), vocabulary, model_context, options);
  session.written_ = static_cast<int64_t>(written);
  session.altered_ = altered == 1;
  session.tokens_.resize(count);
  r.bytes(session.tokens_.data(), count * 4);
  for (int32_t t : session.tokens_) demand(t >= 0 && t < vocabulary, path, ": holds the token ", t, ", outside the vocabulary; the file is damaged");
  session.arithmetics_.resize(count);
  r.bytes(session.arithmetics_.data(), count);
  for (Arithmetic a : session.arithmetics_)
    demand(static_cast<int>(a) < kArithmetics, path, ": names the arithmetic ", static_cast<int>(a), " of ", kArithmetics,
           "; the file is damaged");
  for (auto& node : session.states_)
    for (State& s : node) {
      const uint64_t capacity = r.number(), width = r.number();
      demand(capacity == static_cast<uint64_t>(s.type.capacity) && width == static_cast<uint64_t>(s.type.width), path,
             ": a cache of ", capacity, " rows of ", width, " was expected to have ", s.type.capacity, " of ", s.type.width);
      r.bytes(s.memory.get(), static_cast<uint64_t>(std::min(s.type.capacity, session.written_) * slot_bytes(s.type)));
    }
  const uint64_t expected = r.sum.state;
  demand(r.number() == expected && r.left == 0, path, ": the checksum does not fit; the file is damaged");
  return session;
}

}  // namespace gemloupe
