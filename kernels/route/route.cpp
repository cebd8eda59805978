#include "kernels/route/route.h"

namespace gemloupe {

const Kernel<TopK> top_k{
    {"reference", Isa::reference, reference::top_k},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::top_k},
    {"avx512", Isa::avx512, avx512::top_k},
#endif
};

}  // namespace gemloupe
