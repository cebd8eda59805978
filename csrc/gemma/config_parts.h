// What the readers of configurations have in common.
#pragma once

#include <cmath>

#include "csrc/gemma/config.h"

namespace gemloupe {

// Sets every layer's cache_source: the last `shared` layers read the cache of the last earlier layer of their kind.
void share_caches(Config& config, int64_t shared, const std::string& where);

// Gemma 3's query scale is not in GGUF files: 1 / sqrt(head width), but for the 27B (readers know it by its 62 layers), whose
// heads are narrower than hidden / heads.
inline double unstated_query_scale(int64_t layers, int64_t hidden, int64_t heads, int64_t head_dim) {
  return 1.0 / std::sqrt(static_cast<double>(layers == 62 && heads > 0 ? hidden / heads : head_dim));
}

}  // namespace gemloupe
