// Indices of a strip's unit, a byte each, to planes and back. Only this room includes it.
#pragma once

#include <cstdint>

#include "kernels/common/kernel.h"

namespace gemloupe::strips {

// index is [16][cols], planes cols * bits * 2 bytes as strips.h says; cols is a multiple of 64, bits 1..6 or 8. Both are
// aligned to 64 bytes. ToPlanes takes indices below 2^bits.
using ToPlanes = void(const uint8_t* index, int cols, int bits, uint8_t* planes);
using FromPlanes = void(const uint8_t* planes, int cols, int bits, uint8_t* index);

extern const Kernel<ToPlanes> to_planes;
extern const Kernel<FromPlanes> from_planes;

namespace reference {
ToPlanes to_planes;
FromPlanes from_planes;
}  // namespace reference
namespace avx512 {
ToPlanes to_planes;
FromPlanes from_planes;
}  // namespace avx512

}  // namespace gemloupe::strips
