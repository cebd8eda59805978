// What this machine can do at most, measured with the team's threads when first asked: the denominators of every "share of
// the roof". All data are random: zeros flatter some units and memory compression.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>

#include "kernels/common/isa.h"
#include "kernels/common/team.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gemloupe::roof {

// The best of several short runs of work(thread) on all threads, in seconds: other programs only ever add to it.
template <class Work>
double best_seconds(int runs, Work&& work) {
  double best = 1e30;
  for (int i = 0; i < runs; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    share(threads(), 1, [&](int64_t first, int64_t last) {
      for (int64_t thread = first; thread < last; ++thread) work(thread);
    });
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

namespace detail {

inline volatile uint64_t sink;

// A buffer far larger than any last-level cache it will meet here.
inline constexpr int64_t kBytes = int64_t{1} << 30;

#if defined(__x86_64__)
// Four streams, prefetched: about what a matmul over several rows does.
__attribute__((target("avx2"))) inline void read(const uint8_t* from, int64_t bytes) {
  const int64_t quarter = bytes / 4 / 64 * 64;
  __m256i sum = _mm256_setzero_si256();
  for (int64_t i = 0; i < quarter; i += 64)
    for (int s = 0; s < 4; ++s) {
      const uint8_t* at = from + s * quarter + i;
      _mm_prefetch(reinterpret_cast<const char*>(at + 1024), _MM_HINT_T0);
      sum = _mm256_xor_si256(sum, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
      sum = _mm256_xor_si256(sum, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 32)));
    }
  sink = static_cast<uint64_t>(_mm256_extract_epi64(sum, 0));
}

// Twelve independent chains hide every latency; the empty assembler keeps the loop as it is written.
__attribute__((target("avx512f,avx512vnni"))) inline void vnni(int64_t rounds, uint32_t seed) {
  __m512i a = _mm512_set1_epi32(static_cast<int>(seed * 2654435761u));
  __m512i b = _mm512_set1_epi32(static_cast<int>(seed * 40503u + 77));
  __m512i c[12];
  for (auto& v : c) v = a;
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < 12; ++k) asm volatile("vpdpbusd %2, %1, %0" : "+v"(c[k]) : "v"(a), "v"(b));
  }
  for (auto& v : c) a = _mm512_add_epi32(a, v);
  sink = static_cast<uint64_t>(_mm512_cvtsi512_si32(a));
}
__attribute__((target("avx512f"))) inline void fma512(int64_t rounds, uint32_t seed) {
  __m512 a = _mm512_set1_ps(1.0f + static_cast<float>(seed) * 1e-6f), b = _mm512_set1_ps(0.37f), c[12];
  for (auto& v : c) v = a;
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < 12; ++k) asm volatile("vfmadd132ps %1, %2, %0" : "+v"(c[k]) : "v"(b), "v"(a));
  }
  for (auto& v : c) a = _mm512_add_ps(a, v);
  sink = static_cast<uint64_t>(_mm512_cvtss_f32(a));
}
__attribute__((target("avx2"))) inline void madd(int64_t rounds, uint32_t seed) {
  __m256i a = _mm256_set1_epi32(static_cast<int>(seed * 2654435761u));
  __m256i b = _mm256_set1_epi32(static_cast<int>(seed * 40503u + 77));
  __m256i c[8], d[4];
  for (auto& v : c) v = a;
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k)
      asm volatile("vpmaddwd %2, %3, %1\n\tvpaddd %1, %0, %0" : "+x"(c[k]), "=&x"(d[k & 3]) : "x"(a), "x"(b));
  }
  for (auto& v : c) a = _mm256_add_epi32(a, v);
  sink = static_cast<uint64_t>(_mm256_extract_epi64(a, 0));
}
__attribute__((target("avx2,fma"))) inline void fma256(int64_t rounds, uint32_t seed) {
  __m256 a = _mm256_set1_ps(1.0f + static_cast<float>(seed) * 1e-6f), b = _mm256_set1_ps(0.37f), c[12];
  for (auto& v : c) v = a;
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < 12; ++k) asm volatile("vfmadd132ps %1, %2, %0" : "+x"(c[k]) : "x"(b), "x"(a));
  }
  for (auto& v : c) a = _mm256_add_ps(a, v);
  sink = static_cast<uint64_t>(_mm256_cvtss_f32(a));
}
#endif

inline double measure_dram() {
#if defined(__x86_64__)
  if (detected_isa() < Isa::avx2) return 0;
  const int64_t words = kBytes / 8, part = kBytes / threads() / 64 * 64;
  std::unique_ptr<uint64_t[]> buffer(new uint64_t[words + 256]);
  share(words, 1 << 20, [&](int64_t first, int64_t last) {
    std::mt19937_64 random(first);
    for (int64_t i = first; i < last; ++i) buffer[i] = random();
  });
  // A slice at a time, round and round: short runs find the moments in which nobody else uses the machine.
  const auto* bytes = reinterpret_cast<const uint8_t*>(buffer.get());
  constexpr int64_t kSlices = 32;
  const int64_t slice = part / kSlices;
  double best = 1e30;
  for (int i = 0; i < 4 * kSlices; ++i)
    best = std::min(best, best_seconds(1, [&](int64_t thread) { read(bytes + thread * part + i % kSlices * slice, slice); }));
  return static_cast<double>(slice) * threads() / best;
#else
  return 0;
#endif
}

// Operations a second, a multiply-add being two.
template <class Work>
double measure(double operations_a_round, Work&& work) {
  constexpr int64_t kRounds = 100'000;
  return operations_a_round * kRounds * threads() /
         best_seconds(200, [&](int64_t thread) { work(kRounds, static_cast<uint32_t>(std::random_device{}() + thread)); });
}

}  // namespace detail

// Bytes a second read from memory.
inline double dram() {
  static const double value = detail::measure_dram();
  return value;
}

// Integer operations a second of the widest exact instruction: vpdpbusd, or vpmaddwd with an addition; 0 where there is
// neither.
inline double integer(Isa isa) {
#if defined(__x86_64__)
  static const double vnni = detected_isa() >= Isa::avx512 ? detail::measure(12 * 128, detail::vnni) : 0;
  static const double madd = detected_isa() >= Isa::avx2 ? detail::measure(8 * 32, detail::madd) : 0;
  return isa >= Isa::avx512 ? vnni : isa == Isa::avx2 ? madd : 0;
#else
  return static_cast<void>(isa), 0;
#endif
}

// Float operations a second.
inline double fma(Isa isa) {
#if defined(__x86_64__)
  static const double wide = detected_isa() >= Isa::avx512 ? detail::measure(12 * 32, detail::fma512) : 0;
  static const double half = detected_isa() >= Isa::avx2 ? detail::measure(12 * 16, detail::fma256) : 0;
  return isa >= Isa::avx512 ? wide : isa == Isa::avx2 ? half : 0;
#else
  return static_cast<void>(isa), 0;
#endif
}

}  // namespace gemloupe::roof
