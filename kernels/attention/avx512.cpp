#if defined(__AVX512F__)

#include "kernels/common/lanes_avx512.h"

#include "kernels/attention/vector.h"  // after its Lanes

namespace gemloupe::avx512 {

void attention(Matrix<const float> q, int64_t first_position, const KeyValues& cache, int heads, int kv_heads, int head_dim,
               float scale, int64_t window, Matrix<float> y) {
  attention_lanes(q, first_position, cache, heads, kv_heads, head_dim, scale, window, y);
}

void cache_write(Matrix<const float> rows, int64_t first_position, void* ring, int64_t capacity, int64_t width_stride,
                 bool half) {
  cache_write_lanes(rows, first_position, ring, capacity, width_stride, half);
}

}  // namespace gemloupe::avx512

#endif
