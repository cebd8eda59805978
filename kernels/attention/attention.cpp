#include "kernels/attention/attention.h"

namespace gemloupe {

const Kernel<Attention> attention{
    {"reference", Isa::reference, reference::attention},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::attention},
    {"avx512", Isa::avx512, avx512::attention},
#endif
};

const Kernel<CacheWrite> cache_write{
    {"reference", Isa::reference, reference::cache_write},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::cache_write},
    {"avx512", Isa::avx512, avx512::cache_write},
#endif
};

}  // namespace gemloupe
