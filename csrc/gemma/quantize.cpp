#include "csrc/core/error.h"
#include "csrc/formats/strips.h"
#include "csrc/core/names.h"
#include "csrc/gemma/model.h"

#include <algorithm>

namespace gemloupe {

Weight repack(const Weight& w, std::shared_ptr<const Format> format, const std::function<void()>& poll) {
  uint8_t* memory = nullptr;
  const int64_t row_bytes = format->row_bytes(w.cols);
  Weight packed = allocate_weight(format, w.rows, w.cols, memory);
  packed.experts = w.experts;
  constexpr int64_t kSlab = 256;
  std::vector<float> slab(static_cast<size_t>(std::min(kSlab, w.rows) * w.cols));
  for (int64_t row = 0; row < w.rows; row += kSlab) {
    if (poll) poll();
    const Matrix<float> part(slab.data(), std::min(kSlab, w.rows - row), w.cols);
    w.format->unpack(w, row, part);
    const Weight one = format->pack(part);
    // A format that finds a scale for a whole weight cannot be packed slab by slab.
    if (!one.output_scale.empty()) {
      std::vector<float> whole(static_cast<size_t>(w.rows * w.cols));
      w.format->unpack(w, 0, Matrix<float>(whole.data(), w.rows, w.cols));
      Weight all = format->pack(Matrix<const float>(whole.data(), w.rows, w.cols));
      all.experts = w.experts;
      return all;
    }
    std::copy_n(one.data, part.rows * row_bytes, memory + row * row_bytes);
  }
  return packed;
}

Model quantize(const Model& model, const std::vector<Quantization>& rules, const std::function<void()>& poll) {
  const auto is_matrix = [](const Weight& w) { return w.rows > 1 && w.cols > 1; };
  std::vector<std::string> matrices;
  for (const auto& [name, w] : model.graph->weights())
    if (is_matrix(*w)) matrices.push_back(name);
  for (const Quantization& rule : rules)
    if (std::none_of(matrices.begin(), matrices.end(), [&](const std::string& n) { return matches(rule.pattern, n); }))
      throw std::invalid_argument(text("quantize: no matrix matches \"", rule.pattern, "\"", did_you_mean(rule.pattern, matrices)));
  Weights weights = model.graph->weights();
  for (const std::string& name : matrices)
    for (const Quantization& rule : rules) {
      if (!matches(rule.pattern, name)) continue;
      if (poll) poll();
      const Weight& before = *weights[name];
      Weight after;
      try {
        after = rule.apply(name, before);
      } catch (const std::invalid_argument& e) {
        throw std::invalid_argument("quantize: " + name + ": " + e.what());
      }
      check(after.rows == before.rows && after.cols == before.cols, "quantize: ", name, " must stay [", before.rows, ", ", before.cols, "], got [",
            after.rows, ", ", after.cols, "]");
      after.experts = before.experts;
      weights[name] = std::make_shared<const Weight>(std::move(after));
      break;
    }
  Graph graph = model.graph->with_weights(std::move(weights));
  if (strips_pay()) add_strips(graph, model.source ? model.source->owner.get() : nullptr, poll);
  return model.with_graph(std::move(graph));
}

}  // namespace gemloupe
