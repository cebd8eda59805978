// A problem for tests of attention: queries, and a cache that holds NaN wherever nothing was written.
#pragma once

#include "kernels/attention/attention.h"
#include "tests/kernels/rows.h"

namespace gemloupe::tests {

// A sequence with its cache: keys and values of positions first .. last - 1 in rings of `capacity` slots.
struct Problem {
  int heads, kv_heads, head_dim;
  int64_t first, last, capacity, rows;
  bool half;
  Rows q, keys, values;
  std::vector<float> key_ring, value_ring;  // twice what float16 needs
  int64_t stride;

  Problem(int heads, int kv_heads, int head_dim, int64_t first, int64_t last, int64_t capacity, int64_t rows, bool half)
      : heads(heads),
        kv_heads(kv_heads),
        head_dim(head_dim),
        first(first),
        last(last),
        capacity(capacity),
        rows(rows),
        half(half),
        q(rows, int64_t{heads} * head_dim, 1, 2.0f / std::sqrt(static_cast<float>(head_dim))),
        keys(last - first, int64_t{kv_heads} * head_dim, 2),
        values(last - first, int64_t{kv_heads} * head_dim, 3),
        stride(int64_t{kv_heads} * head_dim + 5) {
    key_ring.assign(capacity * stride, NAN);  // what is not written must not be read
    value_ring.assign(capacity * stride, NAN);
    write(reference::cache_write);
  }
  void write(CacheWrite* run) {
    run(keys.view(), first, key_ring.data(), capacity, stride, half);
    run(values.view(), first, value_ring.data(), capacity, stride, half);
  }
  KeyValues cache() const { return {key_ring.data(), value_ring.data(), capacity, first, last, half, stride, stride}; }
  int64_t first_position() const { return last - rows; }
  void run(Attention* attend, int64_t window, Rows& y, float scale = 1.0f) {
    attend(q.view(), first_position(), cache(), heads, kv_heads, head_dim, scale, window, y.view());
  }
  Rows empty() const { return Rows(rows, int64_t{heads} * head_dim, 9); }
};

}  // namespace gemloupe::tests
