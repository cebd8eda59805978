#if defined(__AVX2__)

#include "kernels/common/lanes_avx2.h"

#include "kernels/attention/vector.h"  // after its Lanes

namespace gemloupe::avx2 {

void attention(Matrix<const float> q, int64_t first_position, const KeyValues& cache, int heads, int kv_heads, int head_dim,
               float scale, int64_t window, Matrix<float> y) {
  attention_lanes(q, first_position, cache, heads, kv_heads, head_dim, scale, window, y);
}

void cache_write(Matrix<const float> rows, int64_t first_position, void* ring, int64_t capacity, int64_t width_stride,
                 bool half) {
  cache_write_lanes(rows, first_position, ring, capacity, width_stride, half);
}

}  // namespace gemloupe::avx2

#endif
