#include <algorithm>
#include <cmath>

#include "kernels/attention/bf16.h"
#include "kernels/common/bf16.h"
#include "kernels/common/half.h"
#include "kernels/common/math.h"
#include "kernels/common/sum.h"
#include "kernels/common/team.h"

namespace gemloupe::reference {
namespace {

uint16_t element(const void* rows, int64_t i, bool half) {
  return tile_bf16(half ? f16_to_float(static_cast<const uint16_t*>(rows)[i]) : static_cast<const float*>(rows)[i]);
}

float dot(const float* q, const void* keys, int64_t at, int64_t n, bool half) {
  float sum = 0;
  for (int64_t d = 0; d < n; d += kTileBlock) {
    uint16_t a[kTileBlock] = {}, b[kTileBlock] = {};
    for (int64_t i = 0; i < std::min<int64_t>(kTileBlock, n - d); ++i) {
      a[i] = tile_bf16(q[d + i]);
      b[i] = element(keys, at + d + i, half);
    }
    sum = tile_block(a, b, sum);
  }
  return sum;
}

struct Query {
  const float* q;
  float* y;
  const KeyValues& cache;
  int64_t column;  // of its key-value head
  int head_dim;
  float scale;
  float largest = -INFINITY, sum = 0;
};

// The keys at positions first .. last - 1, all of one block of kKeyBlock.
void take(Query& query, int64_t first, int64_t last) {
  const KeyValues& cache = query.cache;
  const int64_t block = first / kKeyBlock * kKeyBlock;
  float score[kKeyBlock];
  float largest = query.largest;
  for (int64_t k = first; k < last; ++k) {
    const int64_t at = k % cache.capacity * cache.key_width_stride + query.column;
    const float x = score[k - block] = query.scale * dot(query.q, cache.keys, at, query.head_dim, cache.half);
    largest = x > largest ? x : largest;
  }
  uint16_t p[kKeyBlock] = {};
  float lanes[kLanes] = {};
  for (int64_t k = first; k < last; ++k) {
    const float x = score[k - block] - largest;
    p[k - block] = tile_bf16(x < kFaint ? 0.0f : exp_(x));
    lanes[k % kLanes] += tile_float(p[k - block]);
  }
  const float factor = exp_(query.largest - largest);
  query.sum = std::fma(query.sum, factor, fold(lanes));
  query.largest = largest;
  for (int d = 0; d < query.head_dim; ++d) {
    float& y = query.y[d];
    y = std::fabs(y * factor) < 0x1p-126f ? 0.0f : y * factor;
    for (int64_t i = first / kTileBlock * kTileBlock; i < last; i += kTileBlock) {
      uint16_t value[kTileBlock] = {};
      for (int64_t k = std::max(first, i); k < std::min(last, i + kTileBlock); ++k)
        value[k - i] = element(cache.values, k % cache.capacity * cache.value_width_stride + query.column + d, cache.half);
      y = tile_block(p + (i - block), value, y);
    }
  }
}

}  // namespace

void attention_bf16(Matrix<const float> q, int64_t first_position, const KeyValues& cache, int heads, int kv_heads, int head_dim,
                    float scale, int64_t window, Matrix<float> y) {
  const int64_t group = heads / kv_heads;
  share(q.rows * heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = i / heads, h = i % heads;
      Query query{q.row(t) + h * head_dim, y.row(t) + h * head_dim, cache, h / group * head_dim, head_dim, scale};
      const Visible seen = visible(first_position + t, window, cache.first, cache.last);
      for (int d = 0; d < head_dim; ++d) query.y[d] = 0.0f;
      for (int64_t k = seen.first; k < seen.last; k = (k / kKeyBlock + 1) * kKeyBlock)
        take(query, k, std::min(seen.last, (k / kKeyBlock + 1) * kKeyBlock));
      if (seen.first < seen.last)
        for (int d = 0; d < head_dim; ++d) query.y[d] = query.y[d] * (1.0f / query.sum) + 0.0f;
    }
  });
}

}  // namespace gemloupe::reference
