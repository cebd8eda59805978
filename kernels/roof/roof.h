// What this machine can do at most: the denominators of every "share of the roof".
//
// Nothing here computes anything useful. Each function keeps one unit of the processor as busy as it can be, on random data:
// zeros flatter some units and compressed memory.
#pragma once

#include <cstdint>

#include "kernels/common/isa.h"
#include "kernels/common/kernel.h"

namespace gemloupe::roof {

// Reads every byte and gives the exclusive or of all 8-byte words; the last one is filled up with zeros.
using ReadBytes = uint64_t(const uint8_t* from, int64_t bytes);
extern const Kernel<ReadBytes> read_plain;  // in four streams, as the processor's own prefetching has it
extern const Kernel<ReadBytes> read_ahead;  // in two, which ask 2048 bytes ahead into the second cache, 1024 ahead into the first

// `rounds` turns of independent multiply-adds that stay in registers; gives how many operations these were, a multiply-add
// being two.
using Spin = double(int64_t rounds, uint64_t seed);
extern const Kernel<Spin> fma_spin;      // float32
extern const Kernel<Spin> integer_spin;  // the widest exact one: vpmaddwd with an addition, vpdpbusd, tdpbusd
extern const Kernel<Spin> bf16_spin;     // tdpbf16ps; below amx it is fma_spin

// Bytes or operations a second on all threads of the team: the best of short runs during about `seconds`, since other programs
// only ever take away. Both ways of reading have their turns, and the better one counts: on a Sapphire Rapids server reading ahead
// is a sixth faster than the plain way, from large pages, which are what both get. `spin` runs the best variant that is allowed up
// to `level`. `bytes` of memory are filled and read; they should be several times the last-level cache. Throws std::bad_alloc if
// there are not so many.
double measure_read(double seconds, int64_t bytes = int64_t{1} << 30);
double measure(const Kernel<Spin>& spin, Isa level, double seconds);

namespace reference {
ReadBytes read_bytes;  // of both
Spin fma_spin, integer_spin;
}  // namespace reference
namespace avx2 {
ReadBytes read_plain, read_ahead;
Spin fma_spin, integer_spin;
}  // namespace avx2
namespace avx512 {
ReadBytes read_plain, read_ahead;
Spin fma_spin, integer_spin;
}  // namespace avx512
namespace amx {
Spin integer_spin, bf16_spin;
}  // namespace amx

}  // namespace gemloupe::roof
