#include "kernels/sample/sample.h"

namespace gemloupe {

const Kernel<Argmax> argmax{
    {"reference", Isa::reference, reference::argmax},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::argmax},
    {"avx512", Isa::avx512, avx512::argmax},
#endif
};

const Kernel<TopCandidates> top_candidates{
    {"reference", Isa::reference, reference::top_candidates},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::top_candidates},
    {"avx512", Isa::avx512, avx512::top_candidates},
#endif
};

const Kernel<Mass> mass{
    {"reference", Isa::reference, reference::mass},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::mass},
    {"avx512", Isa::avx512, avx512::mass},
#endif
};

}  // namespace gemloupe
