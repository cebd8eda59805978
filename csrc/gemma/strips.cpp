#include "csrc/formats/strips.h"
#include "csrc/gemma/model.h"
#include "csrc/io/mapped_file.h"

namespace gemloupe {

void add_strips(Graph& graph, const void* file, const std::function<void()>& poll) {
  uint64_t bytes = 0;
  for (const std::string& name : graph.multiplied()) bytes += static_cast<uint64_t>(graph.weights().at(name)->bytes());
  // Where memory has no room for both, the file's pages in the system's cache would have to make way for the strips one by one.
  const uint64_t memory = physical_memory();
  const bool tight = memory != 0 && 2 * bytes > memory;
  for (const std::string& name : graph.multiplied()) {
    if (poll) poll();
    const std::shared_ptr<const Weight> w = graph.weights().at(name);
    if (w->strips || !strips_for(*w)) continue;
    if (!file || w->owner.get() != file) {
      graph.hold(name, packed_weight(w, Rows::drop));
      continue;
    }
    const std::span<const uint8_t> rows(w->data, static_cast<size_t>(w->bytes()));
    will_need(rows);
    graph.hold(name, packed_weight(w, Rows::keep));
    will_not_need(rows, tight);
  }
}

}  // namespace gemloupe
