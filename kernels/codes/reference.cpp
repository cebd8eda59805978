// The readable variants: blocks of plain integers, super-blocks of 256, and the types with 16 levels.
//
// Layouts and formulas follow the `gguf` Python package (gguf/quants.py), which the tests compare with bit for bit.
#include "kernels/codes/scales.h"
#include "kernels/codes/variants.h"

namespace gemloupe::reference {

using namespace gemloupe::codes;

namespace {

// Nibbles of blocks of 32: byte i holds element i below and element i + 16 above.
void nibbles(const uint8_t* bytes, uint8_t* code) {
  for (int i = 0; i < 16; ++i) {
    code[i] = bytes[i] & 15;
    code[i + 16] = bytes[i] >> 4;
  }
}

// The same through a table of levels.
void nibble_levels(const uint8_t* bytes, int half, const int8_t* level, int offset, uint8_t* code) {
  for (int i = 0; i < half; ++i) {
    code[i] = static_cast<uint8_t>(level[bytes[i] & 15] + offset);
    code[i + half] = static_cast<uint8_t>(level[bytes[i] >> 4] + offset);
  }
}

uint8_t byte_of(uint64_t word, int i) { return static_cast<uint8_t>(word >> 8 * i); }

}  // namespace

void q4_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 32, block += 18, code += 32) {
    *scale++ = f16_at(block);
    nibbles(block + 2, code);
  }
}

void q4_1(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 32, block += 20, code += 32) {
    *scale++ = f16_at(block);
    *min++ = f16_at(block + 2);
    nibbles(block + 4, code);
  }
}

void q5_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 32, block += 22, code += 32) {
    *scale++ = f16_at(block);
    nibbles(block + 6, code);
    for (int i = 0; i < 32; ++i) code[i] |= (u32_at(block + 2) >> i & 1) << 4;
  }
}

void q5_1(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 32, block += 24, code += 32) {
    *scale++ = f16_at(block);
    *min++ = f16_at(block + 2);
    nibbles(block + 8, code);
    for (int i = 0; i < 32; ++i) code[i] |= (u32_at(block + 4) >> i & 1) << 4;
  }
}

void q8_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 32, block += 34, code += 32) {
    *scale++ = f16_at(block);
    for (int i = 0; i < 32; ++i) code[i] = block[2 + i] ^ 0x80;
  }
}

void q1_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 128, block += 18, code += 128) {
    *scale++ = f16_at(block);
    for (int i = 0; i < 128; ++i) code[i] = (block[2 + i / 8] >> i % 8 & 1) * 2;
  }
}

void q2_0(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 64, block += 18, code += 64) {
    *scale++ = f16_at(block);
    for (int i = 0; i < 64; ++i) code[i] = block[2 + i / 4] >> 2 * (i % 4) & 3;
  }
}

void q2_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 256, block += 84, code += 256) {
    const float d = f16_at(block + 80), dmin = f16_at(block + 82);
    for (int s = 0; s < 16; ++s) {
      *scale++ = d * static_cast<float>(block[s] & 15);
      *min++ = -(dmin * static_cast<float>(block[s] >> 4));
    }
    for (int i = 0; i < 256; ++i) code[i] = block[16 + 32 * (i / 128) + i % 32] >> 2 * (i / 32 % 4) & 3;
  }
}

void q3_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 110, code += 256) {
    const float d = f16_at(block + 108);
    uint64_t first, second;
    q3_k_scales(block + 96, first, second);
    for (int s = 0; s < 16; ++s) *scale++ = d * static_cast<float>(byte_of(s < 8 ? first : second, s % 8) - 32);
    for (int i = 0; i < 256; ++i) {
      const int low = block[32 + 32 * (i / 128) + i % 32] >> 2 * (i / 32 % 4) & 3;
      const int high = block[i % 32] >> i / 32 & 1;
      code[i] = static_cast<uint8_t>(low | high << 2);
    }
  }
}

void q4_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 256, block += 144, code += 256) {
    const float d = f16_at(block), dmin = f16_at(block + 2);
    uint64_t scales, minima;
    k_scales(block + 4, scales, minima);
    for (int s = 0; s < 8; ++s) {
      *scale++ = d * static_cast<float>(byte_of(scales, s));
      *min++ = -(dmin * static_cast<float>(byte_of(minima, s)));
    }
    for (int i = 0; i < 256; ++i) code[i] = block[16 + 32 * (i / 64) + i % 32] >> 4 * (i / 32 % 2) & 15;
  }
}

void q5_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  for (; cols > 0; cols -= 256, block += 176, code += 256) {
    const float d = f16_at(block), dmin = f16_at(block + 2);
    uint64_t scales, minima;
    k_scales(block + 4, scales, minima);
    for (int s = 0; s < 8; ++s) {
      *scale++ = d * static_cast<float>(byte_of(scales, s));
      *min++ = -(dmin * static_cast<float>(byte_of(minima, s)));
    }
    for (int i = 0; i < 256; ++i) {
      const int low = block[48 + 32 * (i / 64) + i % 32] >> 4 * (i / 32 % 2) & 15;
      const int high = block[16 + i % 32] >> i / 32 & 1;
      code[i] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

void q6_k(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 210, code += 256) {
    const float d = f16_at(block + 208);
    for (int s = 0; s < 16; ++s) *scale++ = d * static_cast<float>(static_cast<int8_t>(block[192 + s]));
    for (int i = 0; i < 256; ++i) {
      const int half = i / 128, quarter = i / 32 % 4;
      const int low = block[64 * half + i % 64] >> 4 * (quarter / 2) & 15;
      const int high = block[128 + 32 * half + i % 32] >> 2 * quarter & 3;
      code[i] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

void iq4_nl(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 32, block += 18, code += 32) {
    *scale++ = f16_at(block);
    nibble_levels(block + 2, 16, kNonLinear, kNonLinearOffset, code);
  }
}

void iq4_xs(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 256, block += 136, code += 256) {
    const float d = f16_at(block);
    for (int s = 0; s < 8; ++s) {
      const int low = block[4 + s / 2] >> 4 * (s % 2) & 15, high = u16_at(block + 2) >> 2 * s & 3;
      *scale++ = d * static_cast<float>((low | high << 4) - 32);
      nibble_levels(block + 8 + 16 * s, 16, kNonLinear, kNonLinearOffset, code + 32 * s);
    }
  }
}

void mxfp4(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 32, block += 17, code += 32) {
    *scale++ = e8m0_half(block[0]);
    nibble_levels(block + 1, 16, kE2m1Doubled, kE2m1Offset, code);
  }
}

void nvfp4(const void*, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float*) {
  for (; cols > 0; cols -= 64, block += 36, code += 64)
    for (int t = 0; t < 4; ++t) {
      *scale++ = ue4m3_half(block[t]);
      nibble_levels(block + 4 + 8 * t, 8, kE2m1Doubled, kE2m1Offset, code + 16 * t);
    }
}

void grid(const void* context, const uint8_t* block, int64_t cols, uint8_t* code, float* scale, float* min) {
  const GridRow& g = *static_cast<const GridRow*>(context);
  const int number = g.scale == ScaleType::f32 ? 4 : 2;
  const int64_t whole = grid_block(g, cols), part = grid_part(whole);
  for (int64_t n; cols > 0; cols -= n, code += n) {
    n = whole < cols ? whole : cols;
    for (int64_t first = 0; first < n; first += part) {
      *scale++ = float_at(block, g.scale);
      if (g.has_min) *min++ = float_at(block + number, g.scale);
    }
    block += g.has_min ? 2 * number : number;
    for (int64_t i = 0; i < n; ++i) {
      unsigned index = 0;
      for (int b = 0; b < g.bits; ++b) {
        const int64_t bit = i * g.bits + b;
        index |= (block[bit / 8] >> bit % 8 & 1u) << b;
      }
      code[i] = g.code[index];
    }
    block += whole * g.bits / 8;
  }
}

}  // namespace gemloupe::reference
