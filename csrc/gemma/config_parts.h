// What the readers of configurations have in common.
#pragma once

#include "csrc/gemma/config.h"

namespace gemloupe {

// Sets every layer's cache_source: the last `shared` layers read the cache of the last earlier layer of their kind.
void share_caches(Config& config, int64_t shared, const std::string& where);

}  // namespace gemloupe
