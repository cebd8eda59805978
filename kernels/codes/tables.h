// The books of vectors of the IQ types. An entry is one word of indices into the type's magnitudes, the first element lowest:
// eight fields of two bits, or (Iq3) four of four bits.
#pragma once

#include <cstdint>

namespace gemloupe::codes {

extern const uint16_t kIq2XxsBook[256], kIq2XsBook[512], kIq2SBook[1024];
extern const uint16_t kIq3XxsBook[256], kIq3SBook[512];
extern const uint16_t kIq1Book[2048];  // IQ1_S and IQ1_M

}  // namespace gemloupe::codes
