#include "csrc/formats/strips.h"
#include "csrc/gemma/model.h"
#include "csrc/io/mapped_file.h"

namespace gemloupe {

void add_strips(Graph& graph, const void* file, const std::function<void()>& poll) {
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
    will_not_need(rows);
  }
}

}  // namespace gemloupe
