#include "kernels/softcap/softcap.h"

namespace gemloupe {

const Kernel<Softcap> softcap{
    {"reference", Isa::reference, reference::softcap},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::softcap},
    {"avx512", Isa::avx512, avx512::softcap},
#endif
};

}  // namespace gemloupe
