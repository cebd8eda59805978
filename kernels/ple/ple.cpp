#include "kernels/ple/ple.h"

namespace gemloupe {

const Kernel<PleCombine> ple_combine{
    {"reference", Isa::reference, reference::ple_combine},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::ple_combine},
    {"avx512", Isa::avx512, avx512::ple_combine},
#endif
};

}  // namespace gemloupe
