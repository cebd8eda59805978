// Denormal numbers read as zeros and written as zeros, for a scope: what tiles do without being asked.
#pragma once

#include <immintrin.h>

namespace gemloupe::tiles {
namespace {

class Flush {
 public:
  [[gnu::always_inline]] Flush() : before_(_mm_getcsr()) {
    _mm_setcsr(before_ | 0x8040);
    asm volatile("" ::: "memory");  // what is loaded and stored inside is computed inside
  }
  [[gnu::always_inline]] ~Flush() {
    asm volatile("" ::: "memory");
    _mm_setcsr(before_);
  }
  Flush(const Flush&) = delete;

 private:
  const unsigned before_;
};

}  // namespace
}  // namespace gemloupe::tiles
