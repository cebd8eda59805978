// Rows of a float table by number: y[t] = factor * table[ids[t]].
//
// Packed tables are unpacked row by row by their format; this is for tables that are float already. An id outside the table
// gives a row of NaN, never a read outside it. y must not overlap the table.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

using Gather = void(Matrix<const float> table, const int32_t* ids, float factor, Matrix<float> y);
extern const Kernel<Gather> gather;

namespace reference { Gather gather; }
namespace avx2 { Gather gather; }
namespace avx512 { Gather gather; }

}  // namespace gemloupe
