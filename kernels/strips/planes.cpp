#include "kernels/strips/planes.h"

#include <cstring>

namespace gemloupe::strips {
namespace reference {

// A register of a plane of `width` bits holds 8 / width quads, the first lowest; a plane of these 32 columns has `width` registers.
void to_planes(const uint8_t* index, int cols, int bits, uint8_t* planes) {
  uint8_t quad[8][64];
  for (int c = 0; c < cols; c += 32) {
    for (int q = 0; q < 8; ++q)
      for (int r = 0; r < 16; ++r) std::memcpy(quad[q] + 4 * r, index + r * cols + c + 4 * q, 4);
    for (int width = 8, low = 0; width; width /= 2) {
      if (!(bits & width)) continue;
      const int each = 8 / width, mask = (1 << width) - 1;
      for (int j = 0; j < width; ++j, planes += 64)
        for (int b = 0; b < 64; ++b) {
          int packed = 0;
          for (int m = 0; m < each; ++m) packed |= (quad[each * j + m][b] >> low & mask) << width * m;
          planes[b] = static_cast<uint8_t>(packed);
        }
      low += width;
    }
  }
}

void from_planes(const uint8_t* planes, int cols, int bits, uint8_t* index) {
  uint8_t quad[8][64];
  for (int c = 0; c < cols; c += 32) {
    std::memset(quad, 0, sizeof quad);
    for (int width = 8, low = 0; width; width /= 2) {
      if (!(bits & width)) continue;
      const int each = 8 / width, mask = (1 << width) - 1;
      for (int j = 0; j < width; ++j, planes += 64)
        for (int m = 0; m < each; ++m)
          for (int b = 0; b < 64; ++b) quad[each * j + m][b] |= static_cast<uint8_t>((planes[b] >> width * m & mask) << low);
      low += width;
    }
    for (int q = 0; q < 8; ++q)
      for (int r = 0; r < 16; ++r) std::memcpy(index + r * cols + c + 4 * q, quad[q] + 4 * r, 4);
  }
}

}  // namespace reference

const Kernel<ToPlanes> to_planes = {
    {"reference", Isa::reference, reference::to_planes},
#if defined(__x86_64__)
    {"avx512", Isa::avx512, avx512::to_planes},
#endif
};
const Kernel<FromPlanes> from_planes = {
    {"reference", Isa::reference, reference::from_planes},
#if defined(__x86_64__)
    {"avx512", Isa::avx512, avx512::from_planes},
#endif
};

}  // namespace gemloupe::strips
