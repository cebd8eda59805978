// What a file is that somebody took for a model, and what to do about it: the mistakes that are made every day.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace gemloupe {

// "a zip archive, as torch.save writes …; convert …", by the file's first bytes; "" if it is nothing that we know.
std::string not_a_model(std::span<const uint8_t> file);

}  // namespace gemloupe
