// Weights with their rows rearranged for the kernels (kernels/strips/strips.h), beside the rows of the file or instead of them.
#pragma once

#include <memory>
#include <optional>

#include "csrc/formats/format.h"
#include "kernels/strips/strips.h"

namespace gemloupe {

// Whether products with strips have more than the readable variant on the instruction set in use. Where they have not, rows serve better.
bool strips_pay();

// The strips that this weight would have, without memory; nothing for a format that has none.
std::optional<Strips> strips_for(const Weight& w);

// What becomes of the rows: a mapped file can stay, memory of our own goes.
enum class Rows { keep, drop };
// The weight with strips; the same weight where it has them already or its format has none. Shared by the team's threads.
std::shared_ptr<const Weight> packed_weight(const std::shared_ptr<const Weight>& w, Rows rows);

// Bytes [first, first + count) of the rows as the format defines them, out of memory or put together from strips.
void read_bytes(const Weight& w, int64_t first, int64_t count, uint8_t* to);

}  // namespace gemloupe
