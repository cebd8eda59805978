#include <cstring>

#include "kernels/roof/roof.h"

namespace gemloupe::roof::reference {

uint64_t read_bytes(const uint8_t* from, int64_t bytes) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < bytes; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, from + i, static_cast<size_t>(bytes - i < 8 ? bytes - i : 8));
    sum ^= word;
  }
  return sum;
}

namespace {

// Sixteen sums that the compiler can neither merge nor drop: their addresses leave it in every round.
template <class T>
double spin(int64_t rounds, T factor, T addend) {
  constexpr int kSums = 16, kTurns = 16;
  T sum[kSums];
  for (int k = 0; k < kSums; ++k) sum[k] = static_cast<T>(k + 1);
  for (int64_t i = 0; i < rounds; ++i) {
    for (int turn = 0; turn < kTurns; ++turn)
      for (T& s : sum) s = s * factor + addend;
    asm volatile("" : : "r"(sum) : "memory");
  }
  return 2.0 * kSums * kTurns * static_cast<double>(rounds);
}

}  // namespace

double fma_spin(int64_t rounds, uint64_t seed) { return spin(rounds, 0.37f, 1.0f + static_cast<float>(seed & 1023) * 1e-3f); }
double integer_spin(int64_t rounds, uint64_t seed) { return spin(rounds, uint32_t{2654435761}, static_cast<uint32_t>(seed)); }

}  // namespace gemloupe::roof::reference
