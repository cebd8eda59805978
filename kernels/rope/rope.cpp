#include "kernels/rope/rope.h"

namespace gemloupe {

const Kernel<Rope> rope{
    {"reference", Isa::reference, reference::rope},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::rope},
    {"avx512", Isa::avx512, avx512::rope},
#endif
};

}  // namespace gemloupe
