#if defined(__AVX512VBMI2__)

#include "kernels/attention/words_avx512.h"

namespace gemloupe {
namespace { constexpr int kRows = 8; }  // of the left matrix abreast
}  // namespace gemloupe

#include "kernels/attention/bf16_products.h"
#include "kernels/attention/bf16_vector.h"

namespace gemloupe::avx512 {

void attention_bf16(Matrix<const float> q, int64_t first_position, const KeyValues& cache, int heads, int kv_heads, int head_dim,
                    float scale, int64_t window, Matrix<float> y) {
  attention_words(q, first_position, cache, heads, kv_heads, head_dim, scale, window, y);
}

}  // namespace gemloupe::avx512

#endif
