// Every variant of every decode; codes.h has the contract. Only this room includes it.
#pragma once

#include "kernels/codes/codes.h"

namespace gemloupe {

namespace reference {
DecodeCodes q4_0, q4_1, q5_0, q5_1, q8_0, q1_0, q2_0;           // blocks of 32 (q1_0: 128, q2_0: 64)
DecodeCodes q2_k, q3_k, q4_k, q5_k, q6_k;                       // super-blocks of 256
DecodeCodes iq4_nl, iq4_xs, mxfp4, nvfp4;                       // 16 levels
DecodeCodes iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s, iq1_s, iq1_m;  // code books of vectors
DecodeCodes tq1_0, tq2_0;                                       // ternary
DecodeCodes grid;
}  // namespace reference

namespace avx2 {
DecodeCodes q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs, mxfp4, nvfp4, tq2_0, grid;
}

namespace avx512 {
DecodeCodes q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs, mxfp4, nvfp4, tq2_0, grid;
}

}  // namespace gemloupe
