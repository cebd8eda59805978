#include "kernels/strips/reference.h"

namespace gemloupe {

const Kernel<MatmulStrips> matmul_strips = {
    {"reference", Isa::reference, reference::matmul_strips},
};

const Kernel<MatmulExpertsStrips> matmul_experts_strips = {
    {"reference", Isa::reference, reference::matmul_experts_strips},
};

}  // namespace gemloupe
