#include "kernels/common/isa.h"

#include <atomic>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace gemloupe {
namespace {

constexpr const char* kNames[kIsas] = {"reference", "avx2", "avx512", "amx"};

#if defined(__x86_64__)
struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Leaf cpuid(unsigned leaf, unsigned sub = 0) {
  Leaf r;
  if (!__get_cpuid_count(leaf, sub, &r.a, &r.b, &r.c, &r.d)) return {};
  return r;
}

bool bit(unsigned word, int i) { return (word >> i) & 1; }

unsigned long long enabled_state() {
  unsigned low, high;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<unsigned long long>(high) << 32) | low;
}

bool tiles_permitted() {
#if defined(__linux__)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

Isa detect() {
#if defined(__x86_64__)
  const Leaf one = cpuid(1), seven = cpuid(7), seven_one = cpuid(7, 1);
  const bool xsave = bit(one.c, 27), fma = bit(one.c, 12), f16c = bit(one.c, 29);
  if (!xsave) return Isa::reference;
  const unsigned long long state = enabled_state();
  if ((state & 0x6) != 0x6 || !fma || !f16c || !bit(seven.b, 5)) return Isa::reference;
  const bool f = bit(seven.b, 16), dq = bit(seven.b, 17), cd = bit(seven.b, 28), bw = bit(seven.b, 30), vl = bit(seven.b, 31);
  const bool vbmi = bit(seven.c, 1), vbmi2 = bit(seven.c, 6), vnni = bit(seven.c, 11);
  if ((state & 0xe6) != 0xe6 || !(f && dq && cd && bw && vl && vbmi && vbmi2 && vnni)) return Isa::avx2;
  // Leaf 0x1D can read zero in a virtual machine whose tiles work, so only leaf 7, the state and the permission are asked.
  const bool tiles = bit(seven.d, 24) && bit(seven.d, 25) && bit(seven.d, 22) && bit(seven_one.a, 5) && (state & 0x60000) == 0x60000;
  return tiles && tiles_permitted() ? Isa::amx : Isa::avx512;
#else
  return Isa::reference;
#endif
}

Isa from_environment() {
  Isa limit = detected_isa();
  if (const char* text = std::getenv("GEMLOUPE_ISA")) {
    Isa asked;
    if (parse_isa(text, asked) && asked < limit) limit = asked;
  }
  return limit;
}

std::atomic<Isa>& current() {
  static std::atomic<Isa> isa{from_environment()};
  return isa;
}

}  // namespace

Isa detected_isa() {
  static const Isa found = detect();
  return found;
}

Isa isa() { return current().load(std::memory_order_relaxed); }

void limit_isa(Isa limit) { current() = limit < detected_isa() ? limit : detected_isa(); }

const char* name(Isa isa) { return kNames[static_cast<int>(isa)]; }

bool parse_isa(std::string_view text, Isa& isa) {
  for (int i = 0; i < kIsas; ++i)
    if (text == kNames[i]) return isa = static_cast<Isa>(i), true;
  return false;
}

}  // namespace gemloupe
