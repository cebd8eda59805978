#include <cstring>

#include "csrc/core/memory.h"
#include "csrc/formats/strips.h"
#include "csrc/gemma/model.h"
#include "csrc/io/mapped_file.h"

namespace gemloupe {
namespace {

// Matrices of plain numbers have no strips. Those that are read whole in every step, as a router's, are worth large pages of memory
// where they are small; in a mapped file they lie in small ones.
constexpr int64_t kSmall = 8 << 20;

std::shared_ptr<const Weight> in_large_pages(const Weight& w) {
  auto moved = std::make_shared<Weight>(w);
  const auto memory = large_memory(static_cast<size_t>(w.bytes()));
  std::memcpy(memory.get(), w.data, static_cast<size_t>(w.bytes()));
  moved->data = memory.get();
  moved->owner = memory;
  return moved;
}

}  // namespace

void add_strips(Graph& graph, const void* file, const std::function<void()>& poll) {
  uint64_t bytes = 0;
  for (const std::string& name : graph.multiplied()) bytes += static_cast<uint64_t>(graph.weights().at(name)->bytes());
  // Where memory has no room for both, the file's pages in the system's cache would have to make way for the strips one by one.
  const uint64_t memory = physical_memory();
  const bool tight = memory != 0 && 2 * bytes > memory;
  for (const std::string& name : graph.multiplied()) {
    if (poll) poll();
    const std::shared_ptr<const Weight> w = graph.weights().at(name);
    const bool mapped = file && w->owner.get() == file, has_strips = strips_for(*w).has_value();
    if (w->strips || (!has_strips && !(mapped && w->bytes() <= kSmall))) continue;
    if (!mapped) {
      graph.hold(name, packed_weight(w, Rows::drop));
      continue;
    }
    const std::span<const uint8_t> rows(w->data, static_cast<size_t>(w->bytes()));
    if (!has_strips) {
      graph.hold(name, in_large_pages(*w));
      will_not_need(rows, tight);
      continue;
    }
    will_need(rows);
    graph.hold(name, packed_weight(w, Rows::keep));
    will_not_need(rows, tight);
  }
}

}  // namespace gemloupe
