#if defined(__AVX512VBMI2__)

#include "kernels/strips/avx512_exact.h"

namespace gemloupe::strips {
namespace {

template <int kBits, bool kTable>
void pick(const Lockstep& p) {
  p.layout.group == 16 ? walk<kBits, kTable, true>(p) : walk<kBits, kTable, false>(p);
}

void multiply(const Lockstep& p) {
  switch (p.layout.bits) {
    case 1: return p.layout.table ? pick<1, true>(p) : pick<1, false>(p);
    case 2: return p.layout.table ? pick<2, true>(p) : pick<2, false>(p);
    case 3: return p.layout.table ? pick<3, true>(p) : pick<3, false>(p);
    case 4: return p.layout.table ? pick<4, true>(p) : pick<4, false>(p);
    case 5: return pick<5, false>(p);
    case 6: return pick<6, false>(p);
    default: return pick<8, false>(p);
  }
}

}  // namespace

const Steps avx512_steps = {matmul::avx512_quantize, multiply, nullptr, nullptr};

}  // namespace gemloupe::strips

#endif
