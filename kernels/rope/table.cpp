#include <cmath>

#include "kernels/rope/rope.h"

namespace gemloupe {

RopeTable proportional_rope(int head_dim, double theta, int rotated, double factor) {
  RopeTable table;
  table.inv_freq.assign(head_dim / 2, 0.0f);
  for (int i = 0; i < rotated / 2 && i < head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const float power =
        static_cast<float>(std::pow(static_cast<double>(static_cast<float>(theta)), static_cast<double>(exponent)));
    table.inv_freq[i] = 1.0f / power / static_cast<float>(factor);
  }
  return table;
}

RopeTable linear_rope(int head_dim, double theta, double factor) {
  return proportional_rope(head_dim, theta, head_dim, factor);
}

RopeTable default_rope(int head_dim, double theta) { return proportional_rope(head_dim, theta, head_dim, 1.0); }

}  // namespace gemloupe
