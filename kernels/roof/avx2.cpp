#if defined(__AVX2__)

#include <immintrin.h>

#include "kernels/roof/roof.h"

namespace gemloupe::roof {
namespace {

struct Line {
  __m256i low = _mm256_setzero_si256(), high = low;
  [[gnu::always_inline]] void add(const uint8_t* from) {
    low = _mm256_xor_si256(low, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    high = _mm256_xor_si256(high, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32)));
  }
  uint64_t folded() const {
    alignas(32) uint64_t words[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(words), _mm256_xor_si256(low, high));
    return words[0] ^ words[1] ^ words[2] ^ words[3];
  }
};

}  // namespace
}  // namespace gemloupe::roof

#include "kernels/roof/read.h"  // after its Line

namespace gemloupe::roof::avx2 {

uint64_t read_plain(const uint8_t* from, int64_t bytes) { return read<4, 0, 0>(from, bytes); }
uint64_t read_ahead(const uint8_t* from, int64_t bytes) { return read<2, 2048, 1024>(from, bytes); }

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
