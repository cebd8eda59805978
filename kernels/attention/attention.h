// Grouped-query attention of one sequence's rows over its cache; sliding and full are one kernel with a window.
//
//   y[t, h] = sum over visible k of softmax_k(scale * q[t, h] . key[k, g]) * value[k, g],   g = h / (heads / kv_heads)
//
// The arithmetic is fixed, so a row's bits depend on nothing but the row and what it sees, not on the other rows, on how a
// prompt is cut into chunks, on the place in the ring, on threads or on the variant:
//   score_k = scale * dot(q, key_k), the dot in the order of sum.h over head_dim; float16 is widened, exactly
//   m       = the largest score
//   e_k     = exp_(score_k - m)
//   sum     = of the e_k, in the order of sum.h with lane = absolute position mod 16
//   y[d]    = (fma(e_k, value_k[d], ...) over ascending k, from +0) / sum
// A NaN among what a row sees makes outputs of that row NaN, and no other row's. A row that sees no key gives 0.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

// The keys and values of one sequence in one layer: ring buffers of rows [kv_heads * head_dim]; position p is in
// slot p % capacity.
struct KeyValues {
  const void* keys = nullptr;
  const void* values = nullptr;
  int64_t capacity = 0;
  int64_t first = 0, last = 0;                           // positions present: first .. last - 1, at most capacity of them
  bool half = false;                                     // float16 elements, else float32; keys and values alike
  int64_t key_width_stride = 0, value_width_stride = 0;  // elements between two slots
};

// The keys a query sees: positions first .. last - 1. A query sees the keys of its last `window` positions, its own among them;
// window 0 is no limit. Another rule of visibility that is an interval for each query (a block that sees itself whole) belongs
// here.
struct Visible {
  int64_t first, last;
};
[[gnu::always_inline]] constexpr inline Visible visible(int64_t query, int64_t window, int64_t first_key, int64_t last_key) {
  const int64_t oldest = window > 0 && query - window + 1 > first_key ? query - window + 1 : first_key;
  const int64_t end = query + 1 < last_key ? query + 1 : last_key;
  return {oldest, end > oldest ? end : oldest};
}

// q and y are [row, heads * head_dim] and must not overlap; row t stands at first_position + t; heads is a multiple of
// kv_heads. Needs memory for the scores of a block of queries: throws std::bad_alloc before anything is written if there is
// none.
using Attention = void(Matrix<const float> q, int64_t first_position, const KeyValues& cache, int heads, int kv_heads,
                       int head_dim, float scale, int64_t window, Matrix<float> y);
extern const Kernel<Attention> attention;

// Copies rows to the slots of positions first_position, first_position + 1, ... of a ring of `capacity` slots; half rounds to
// float16, to nearest even. Where there are more rows than slots the last ones stay.
using CacheWrite = void(Matrix<const float> rows, int64_t first_position, void* ring, int64_t capacity, int64_t width_stride,
                        bool half);
extern const Kernel<CacheWrite> cache_write;

namespace reference {
Attention attention;
CacheWrite cache_write;
}  // namespace reference
namespace avx2 {
Attention attention;
CacheWrite cache_write;
}  // namespace avx2
namespace avx512 {
Attention attention;
CacheWrite cache_write;
}  // namespace avx512

}  // namespace gemloupe
