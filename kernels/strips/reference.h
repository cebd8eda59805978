// The readable variants; strips.h has the contract.
#pragma once

#include "kernels/strips/strips.h"

namespace gemloupe::reference {

MatmulStrips matmul_strips;
MatmulExpertsStrips matmul_experts_strips;

}  // namespace gemloupe::reference
