#if defined(__AVX2__)

#include <immintrin.h>

#include "kernels/roof/roof.h"

namespace gemloupe::roof::avx2 {

uint64_t read_bytes(const uint8_t* from, int64_t bytes) {
  const int64_t quarter = bytes / 4 / 64 * 64;
  __m256i sum = _mm256_setzero_si256(), other = sum;
  for (int64_t i = 0; i < quarter; i += 64)
    for (int s = 0; s < 4; ++s) {
      const uint8_t* at = from + s * quarter + i;
      _mm_prefetch(reinterpret_cast<const char*>(at + 2048), _MM_HINT_T0);
      sum = _mm256_xor_si256(sum, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
      other = _mm256_xor_si256(other, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 32)));
    }
  alignas(32) uint64_t words[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(words), _mm256_xor_si256(sum, other));
  return words[0] ^ words[1] ^ words[2] ^ words[3] ^ reference::read_bytes(from + 4 * quarter, bytes - 4 * quarter);
}

// Independent chains that hide every latency, in assembler so that they stay in registers as they are written.
double fma_spin(int64_t rounds, uint64_t seed) {
  const __m256 a = _mm256_set1_ps(1.0f + static_cast<float>(seed & 1023) * 1e-3f);
  const __m256 b = _mm256_set1_ps(0.37f);
  __m256 c0 = a, c1 = a, c2 = a, c3 = a, c4 = a, c5 = a, c6 = a, c7 = a, c8 = a, c9 = a, c10 = a, c11 = a;
  for (int64_t i = 0; i < rounds; ++i)
    asm volatile(
        "vfmadd132ps %13, %12, %0\n\t" "vfmadd132ps %13, %12, %1\n\t"
        "vfmadd132ps %13, %12, %2\n\t" "vfmadd132ps %13, %12, %3\n\t"
        "vfmadd132ps %13, %12, %4\n\t" "vfmadd132ps %13, %12, %5\n\t"
        "vfmadd132ps %13, %12, %6\n\t" "vfmadd132ps %13, %12, %7\n\t"
        "vfmadd132ps %13, %12, %8\n\t" "vfmadd132ps %13, %12, %9\n\t"
        "vfmadd132ps %13, %12, %10\n\t" "vfmadd132ps %13, %12, %11"
        : "+x"(c0), "+x"(c1), "+x"(c2), "+x"(c3), "+x"(c4), "+x"(c5),
          "+x"(c6), "+x"(c7), "+x"(c8), "+x"(c9), "+x"(c10), "+x"(c11)
        : "x"(a), "x"(b));
  return 12.0 * 16 * static_cast<double>(rounds);
}

double integer_spin(int64_t rounds, uint64_t seed) {
  const __m256i a = _mm256_set1_epi32(static_cast<int>(seed * 2654435761u + 12345));
  const __m256i b = _mm256_set1_epi32(static_cast<int>(seed * 40503u + 77));
  __m256i c0 = a, c1 = a, c2 = a, c3 = a, c4 = a, c5 = a, t0, t1, t2;
  for (int64_t i = 0; i < rounds; ++i)
    asm volatile(
        "vpmaddwd %9, %10, %6\n\t" "vpmaddwd %9, %10, %7\n\t" "vpmaddwd %9, %10, %8\n\t"
        "vpaddd %6, %0, %0\n\t" "vpaddd %7, %1, %1\n\t" "vpaddd %8, %2, %2\n\t"
        "vpmaddwd %9, %10, %6\n\t" "vpmaddwd %9, %10, %7\n\t" "vpmaddwd %9, %10, %8\n\t"
        "vpaddd %6, %3, %3\n\t" "vpaddd %7, %4, %4\n\t" "vpaddd %8, %5, %5"
        : "+x"(c0), "+x"(c1), "+x"(c2), "+x"(c3), "+x"(c4), "+x"(c5), "=&x"(t0), "=&x"(t1), "=&x"(t2)
        : "x"(a), "x"(b));
  return 6.0 * 32 * static_cast<double>(rounds);
}

}  // namespace gemloupe::roof::avx2

#endif
