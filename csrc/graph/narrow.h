// The rest of a step for the wanted rows alone. Behind the last cache that a step fills, a row is of use only where its logits
// are wanted; in models whose late layers share caches that is most of a prompt's work.
#pragma once

#include <optional>

#include "csrc/core/tensor.h"
#include "csrc/graph/step.h"

namespace gemloupe {

// The step of the wanted rows, all of them wanted; nothing where that is the whole step, none of it, or where they do not lie
// side by side in each segment.
std::optional<Step> narrowed(const Step& step);

// Rows of a value of the whole step.
Tensor narrowed(const Tensor& value, const std::vector<int32_t>& rows);

}  // namespace gemloupe
