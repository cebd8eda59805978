#include "kernels/rms_norm/rms_norm.h"

namespace gemloupe {

const Kernel<RmsNorm> rms_norm{
    {"reference", Isa::reference, reference::rms_norm},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::rms_norm},
    {"avx512", Isa::avx512, avx512::rms_norm},
#endif
};

}  // namespace gemloupe
