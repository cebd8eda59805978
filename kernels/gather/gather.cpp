#include "kernels/gather/gather.h"

namespace gemloupe {

const Kernel<Gather> gather{
    {"reference", Isa::reference, reference::gather},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::gather},
    {"avx512", Isa::avx512, avx512::gather},
#endif
};

}  // namespace gemloupe
