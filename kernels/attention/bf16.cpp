#include "kernels/attention/bf16.h"

namespace gemloupe {

const Kernel<Attention> attention_bf16{
    {"reference", Isa::reference, reference::attention_bf16},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::attention_bf16},
    {"avx512", Isa::avx512, avx512::attention_bf16},
    {"amx", Isa::amx, amx::attention_bf16},
#endif
};

}  // namespace gemloupe
