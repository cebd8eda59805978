#include "kernels/gelu_gate/gelu_gate.h"

namespace gemloupe {

const Kernel<GeluGate> gelu_gate{
    {"reference", Isa::reference, reference::gelu_gate},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::gelu_gate},
    {"avx512", Isa::avx512, avx512::gelu_gate},
#endif
};

}  // namespace gemloupe
