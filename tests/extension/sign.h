// A format of one's own: one bit a weight and one float a row.
#pragma once

#include <memory>

#include "csrc/formats/format.h"

// w = scale * (bit ? 1 : -1), where scale is the mean magnitude of the row: the least squared error for signs. A row is its scale
// and then its bits, the first column in the lowest bit of the first byte.
std::shared_ptr<const gemloupe::Format> sign_format();
