#include "kernels/add/add.h"

namespace gemloupe {

const Kernel<Add> add{
    {"reference", Isa::reference, reference::add},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::add},
    {"avx512", Isa::avx512, avx512::add},
#endif
};

const Kernel<Scale> scale{
    {"reference", Isa::reference, reference::scale},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::scale},
    {"avx512", Isa::avx512, avx512::scale},
#endif
};

}  // namespace gemloupe
