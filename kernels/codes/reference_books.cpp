// The readable variants: types whose codes come from a book of vectors, and the ternary ones.
//
// A book's entry is one 16-bit word: eight fields of two bits, or four of four bits (tables.h). Layouts and formulas follow the
// `gguf` Python package (gguf/quants.py), which the tests compare with bit for bit.
#include "kernels/codes/scales.h"
#include "kernels/codes/tables.h"
#include "kernels/codes/variants.h"

namespace gemloupe::reference {

using namespace gemloupe::codes;

namespace {

// Magnitudes; the offsets that types.cpp declares are the largest of each, since signs come separately.
constexpr uint8_t kIq2[4] = {8, 25, 43, 0};
constexpr uint8_t kIq3Xxs[16] = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr uint8_t kIq3S[16] = {1, 3, 5, 7, 9, 11, 13, 15};
constexpr int kIq2Offset = 43, kIq3XxsOffset = 62, kIq3SOffset = 15, kIq1Offset = 9;

// Seven sign bits; the eighth makes their number even.
unsigned even_signs(unsigned seven) {
  unsigned parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return seven | (parity & 1) << 7;
}

void signed_pairs(uint16_t entry, unsigned signs, uint8_t* code) {
  for (int i = 0; i < 8; ++i) {
    const int magnitude = kIq2[entry >> 2 * i & 3];
    code[i] = static_cast<uint8_t>(kIq2Offset + (signs >> i & 1 ? -magnitude : magnitude));
  }
}

void signed_nibbles(uint16_t entry, const uint8_t* level, int offset, unsigned signs, uint8_t* code) {
  for (int i = 0; i < 4; ++i) {
    const int magnitude = level[entry >> 4 * i & 15];
    code[i] = static_cast<uint8_t>(offset + (signs >> i & 1 ? -magnitude : magnitude));
  }
}

// A ternary vector, eight times enlarged, moved by an eighth of its unit up or down.
void shifted_trits(uint16_t entry, bool down, uint8_t* code) {
  for (int i = 0; i < 8; ++i) code[i] = static_cast<uint8_t>(kIq1Offset + 8 * ((entry >> 2 * i & 3) - 1) + (down ? -1 : 1));
}

float quarter_scale(float d, unsigned s) { return d * (0.5f + static_cast<float>(s)) * 0.25f; }

}  // namespace

void iq2_xxs(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 66) {
    const float d = f16_at(block);
    for (int s = 0; s < 8; ++s) {
      const uint8_t* index = block + 2 + 8 * s;
      const uint32_t word = u32_at(index + 4);
      *scale++ = quarter_scale(d, word >> 28);
      for (int v = 0; v < 4; ++v, code += 8) signed_pairs(kIq2XxsBook[index[v]], even_signs(word >> 7 * v & 127), code);
    }
  }
}

void iq2_xs(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 74) {
    const float d = f16_at(block);
    for (int s = 0; s < 16; ++s) *scale++ = quarter_scale(d, block[66 + s / 2] >> 4 * (s % 2) & 15);
    for (int v = 0; v < 32; ++v, code += 8) {
      const unsigned word = u16_at(block + 2 + 2 * v);
      signed_pairs(kIq2XsBook[word & 511], even_signs(word >> 9), code);
    }
  }
}

void iq2_s(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 82) {
    const float d = f16_at(block);
    for (int s = 0; s < 16; ++s) *scale++ = quarter_scale(d, block[74 + s / 2] >> 4 * (s % 2) & 15);
    for (int v = 0; v < 32; ++v, code += 8) {
      const unsigned high = block[66 + v / 4] >> 2 * (v % 4) & 3;
      signed_pairs(kIq2SBook[block[2 + v] | high << 8], block[34 + v], code);
    }
  }
}

void iq3_xxs(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 98) {
    const float d = f16_at(block);
    for (int s = 0; s < 8; ++s) {
      const uint32_t word = u32_at(block + 66 + 4 * s);
      *scale++ = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
      for (int v = 0; v < 8; ++v, code += 4) {
        const unsigned signs = even_signs(word >> 7 * (v / 2) & 127) >> 4 * (v % 2);
        signed_nibbles(kIq3XxsBook[block[2 + 8 * s + v]], kIq3Xxs, kIq3XxsOffset, signs, code);
      }
    }
  }
}

void iq3_s(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 110) {
    const float d = f16_at(block);
    for (int s = 0; s < 8; ++s) *scale++ = d * static_cast<float>(1 + 2 * (block[106 + s / 2] >> 4 * (s % 2) & 15));
    for (int v = 0; v < 64; ++v, code += 4) {
      const unsigned high = block[66 + v / 8] >> v % 8 & 1, signs = block[74 + v / 2] >> 4 * (v % 2);
      signed_nibbles(kIq3SBook[block[2 + v] | high << 8], kIq3S, kIq3SOffset, signs, code);
    }
  }
}

void iq1_s(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 50) {
    const float d = f16_at(block);
    for (int s = 0; s < 8; ++s) {
      const unsigned word = u16_at(block + 34 + 2 * s);
      *scale++ = d * static_cast<float>(2 * (word >> 12 & 7) + 1) * 0.125f;
      for (int v = 0; v < 4; ++v, code += 8)
        shifted_trits(kIq1Book[block[2 + 4 * s + v] | (word >> 3 * v & 7) << 8], word & 0x8000, code);
    }
  }
}

void iq1_m(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 56) {
    unsigned half = 0;  // the scale of the block lies in the top nibbles of four words
    for (int i = 0; i < 4; ++i) half |= (u16_at(block + 48 + 2 * i) >> 12) << 4 * i;
    const float d = f16_to_float(static_cast<uint16_t>(half));
    for (int s = 0; s < 16; ++s) {
      const unsigned sub = u16_at(block + 48 + 2 * (s / 4)) >> 3 * (s % 4) & 7;
      *scale++ = d * static_cast<float>(2 * sub + 1) * 0.125f;
    }
    for (int v = 0; v < 32; ++v, code += 8) {
      const unsigned high = block[32 + v / 2] >> 4 * (v % 2);
      shifted_trits(kIq1Book[block[v] | (high & 7) << 8], high & 8, code);
    }
  }
}

void tq1_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  constexpr uint8_t kPower[5] = {1, 3, 9, 27, 81};
  for (; cols > 0; cols -= 256, block += 54) {
    *scale++ = f16_at(block + 52);
    // Three runs of bytes; trit n of all bytes of a run comes before trit n + 1.
    constexpr int kFirst[3] = {0, 32, 48}, kBytes[3] = {32, 16, 4}, kTrits[3] = {5, 5, 4};
    for (int run = 0; run < 3; ++run)
      for (int n = 0; n < kTrits[run]; ++n)
        for (int m = 0; m < kBytes[run]; ++m) {
          const uint8_t fraction = static_cast<uint8_t>(block[kFirst[run] + m] * kPower[n]);
          *code++ = static_cast<uint8_t>(fraction * 3 >> 8);
        }
  }
}

void tq2_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 66, code += 256) {
    *scale++ = f16_at(block + 64);
    for (int i = 0; i < 256; ++i) code[i] = block[32 * (i / 128) + i % 32] >> 2 * (i / 32 % 4) & 3;
  }
}

}  // namespace gemloupe::reference
