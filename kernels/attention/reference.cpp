#include <cmath>
#include <cstring>

#include "kernels/attention/attention.h"
#include "kernels/common/math.h"
#include "kernels/common/scratch.h"
#include "kernels/common/sum.h"
#include "kernels/common/team.h"

namespace gemloupe::reference {
namespace {

float element(const void* rows, int64_t i, bool half) {
  return half ? f16_to_float(static_cast<const uint16_t*>(rows)[i]) : static_cast<const float*>(rows)[i];
}

float dot(const float* q, const void* keys, int64_t at, int64_t n, bool half) {
  float lanes[kLanes] = {};
  for (int64_t d = 0; d < n; ++d) lanes[d % kLanes] = std::fma(q[d], element(keys, at + d, half), lanes[d % kLanes]);
  return fold(lanes);
}

// One query of one head; e has room for the visible keys.
void mix(const float* q, const KeyValues& cache, int64_t column, int head_dim, float scale, Visible keys, float* e, float* y) {
  float largest = -INFINITY;
  for (int64_t k = keys.first; k < keys.last; ++k) {
    const int64_t slot = k % cache.capacity;
    const float score = scale * dot(q, cache.keys, slot * cache.key_width_stride + column, head_dim, cache.half);
    e[k - keys.first] = score;
    largest = score > largest ? score : largest;
  }
  float lanes[kLanes] = {};
  for (int64_t k = keys.first; k < keys.last; ++k) {
    float& ek = e[k - keys.first];
    ek = exp_(ek - largest);
    lanes[k % kLanes] += ek;
  }
  const float sum = fold(lanes);
  for (int d = 0; d < head_dim; ++d) y[d] = 0.0f;
  for (int64_t k = keys.first; k < keys.last; ++k) {
    const int64_t at = k % cache.capacity * cache.value_width_stride + column;
    for (int d = 0; d < head_dim; ++d) y[d] = std::fma(e[k - keys.first], element(cache.values, at + d, cache.half), y[d]);
  }
  if (keys.last > keys.first)
    for (int d = 0; d < head_dim; ++d) y[d] /= sum;
}

}  // namespace

void attention(Matrix<const float> q, int64_t first_position, const KeyValues& cache, int heads, int kv_heads, int head_dim,
               float scale, int64_t window, Matrix<float> y) {
  const int64_t keys = cache.last - cache.first, group = heads / kv_heads;
  float* const all = scratch(threads() * keys);
  int parts = 0;
  share(q.rows * heads, 1, [&](int64_t first, int64_t last) {
    float* const e = all + __atomic_fetch_add(&parts, 1, __ATOMIC_RELAXED) * keys;
    for (int64_t i = first; i < last; ++i) {
      const int64_t t = i / heads, h = i % heads;
      const Visible seen = visible(first_position + t, window, cache.first, cache.last);
      mix(q.row(t) + h * head_dim, cache, h / group * head_dim, head_dim, scale, seen, e, y.row(t) + h * head_dim);
    }
  });
}

void cache_write(Matrix<const float> rows, int64_t first_position, void* ring, int64_t capacity, int64_t width_stride,
                 bool half) {
  const int64_t skipped = rows.rows > capacity ? rows.rows - capacity : 0;
  for (int64_t t = skipped; t < rows.rows; ++t) {
    const int64_t at = (first_position + t) % capacity * width_stride;
    if (!half) {
      std::memcpy(static_cast<float*>(ring) + at, rows.row(t), static_cast<size_t>(rows.cols) * sizeof(float));
    } else {
      for (int64_t i = 0; i < rows.cols; ++i) static_cast<uint16_t*>(ring)[at + i] = float_to_f16(rows.row(t)[i]);
    }
  }
}

}  // namespace gemloupe::reference
