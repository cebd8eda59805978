#if defined(__AVX512VBMI2__)

#include <immintrin.h>

#include "kernels/roof/roof.h"

namespace gemloupe::roof {
namespace {

struct Line {
  __m512i sum = _mm512_setzero_si512();
  [[gnu::always_inline]] void add(const uint8_t* from) { sum = _mm512_xor_si512(sum, _mm512_loadu_si512(from)); }
  uint64_t folded() const {
    alignas(64) uint64_t words[8];
    _mm512_store_si512(words, sum);
    return words[0] ^ words[1] ^ words[2] ^ words[3] ^ words[4] ^ words[5] ^ words[6] ^ words[7];
  }
};

}  // namespace
}  // namespace gemloupe::roof

#include "kernels/roof/read.h"  // after its Line

namespace gemloupe::roof::avx512 {

uint64_t read_plain(const uint8_t* from, int64_t bytes) { return read<4, 0, 0>(from, bytes); }
uint64_t read_ahead(const uint8_t* from, int64_t bytes) { return read<2, 2048, 1024>(from, bytes); }

// Independent chains that hide every latency, in assembler so that they stay in registers as they are written.
double fma_spin(int64_t rounds, uint64_t seed) {
  const __m512 a = _mm512_set1_ps(1.0f + static_cast<float>(seed & 1023) * 1e-3f);
  const __m512 b = _mm512_set1_ps(0.37f);
  __m512 c0 = a, c1 = a, c2 = a, c3 = a, c4 = a, c5 = a, c6 = a, c7 = a, c8 = a, c9 = a, c10 = a, c11 = a;
  for (int64_t i = 0; i < rounds; ++i)
    asm volatile(
        "vfmadd132ps %13, %12, %0\n\t" "vfmadd132ps %13, %12, %1\n\t"
        "vfmadd132ps %13, %12, %2\n\t" "vfmadd132ps %13, %12, %3\n\t"
        "vfmadd132ps %13, %12, %4\n\t" "vfmadd132ps %13, %12, %5\n\t"
        "vfmadd132ps %13, %12, %6\n\t" "vfmadd132ps %13, %12, %7\n\t"
        "vfmadd132ps %13, %12, %8\n\t" "vfmadd132ps %13, %12, %9\n\t"
        "vfmadd132ps %13, %12, %10\n\t" "vfmadd132ps %13, %12, %11"
        : "+v"(c0), "+v"(c1), "+v"(c2), "+v"(c3), "+v"(c4), "+v"(c5),
          "+v"(c6), "+v"(c7), "+v"(c8), "+v"(c9), "+v"(c10), "+v"(c11)
        : "v"(a), "v"(b));
  return 12.0 * 32 * static_cast<double>(rounds);
}

double integer_spin(int64_t rounds, uint64_t seed) {
  const __m512i a = _mm512_set1_epi32(static_cast<int>(seed * 2654435761u + 12345));
  const __m512i b = _mm512_set1_epi32(static_cast<int>(seed * 40503u + 77));
  __m512i c0 = a, c1 = a, c2 = a, c3 = a, c4 = a, c5 = a, c6 = a, c7 = a, c8 = a, c9 = a, c10 = a, c11 = a;
  for (int64_t i = 0; i < rounds; ++i)
    asm volatile(
        "vpdpbusd %13, %12, %0\n\t" "vpdpbusd %13, %12, %1\n\t"
        "vpdpbusd %13, %12, %2\n\t" "vpdpbusd %13, %12, %3\n\t"
        "vpdpbusd %13, %12, %4\n\t" "vpdpbusd %13, %12, %5\n\t"
        "vpdpbusd %13, %12, %6\n\t" "vpdpbusd %13, %12, %7\n\t"
        "vpdpbusd %13, %12, %8\n\t" "vpdpbusd %13, %12, %9\n\t"
        "vpdpbusd %13, %12, %10\n\t" "vpdpbusd %13, %12, %11"
        : "+v"(c0), "+v"(c1), "+v"(c2), "+v"(c3), "+v"(c4), "+v"(c5),
          "+v"(c6), "+v"(c7), "+v"(c8), "+v"(c9), "+v"(c10), "+v"(c11)
        : "v"(a), "v"(b));
  return 12.0 * 128 * static_cast<double>(rounds);
}

}  // namespace gemloupe::roof::avx512

#endif
