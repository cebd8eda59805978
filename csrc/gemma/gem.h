// Models in .gem files: what was rearranged for the kernels as it lies in memory, so that loading is mapping. The container is
// csrc/io/gem_file.h; piece 0 describes the others as JSON:
//   config    the configuration (config_gem.cpp)
//   source    the words of the files that the model came from, for its tokenizer and for writing it as they were:
//             {"kind": "gguf", "metadata": piece, a GGUF file without tensors}, {"kind": "safetensors", "config.json": piece, …}, or null
//   weights   [{"name", "format", "piece", "strips": [bits, group, unit, header, scale] or null for rows, "output_scale": bits of
//             the floats}, …]; shapes follow from the configuration
#pragma once

#include <functional>
#include <string>

#include "csrc/gemma/model.h"
#include "csrc/io/gem_file.h"

namespace gemloupe {

std::string config_to_gem(const Config& config);
// Any text; throws Error that begins with `where` unless it is a configuration that can be built.
Config config_from_gem(const std::string& words, const std::string& where);

Model load_gem(const GemFile& file);

}  // namespace gemloupe
