#include "csrc/formats/pack_ggml.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "csrc/formats/search.h"
#include "kernels/codes/codes.h"
#include "kernels/codes/scales.h"
#include "kernels/common/half.h"

namespace gemloupe {

namespace {

using namespace codes;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

void put_f16(uint8_t* p, float f) {
  const uint16_t h = float_to_f16(f);
  std::memcpy(p, &h, 2);
}

float round_f16(float f) { return f16_to_float(float_to_f16(f)); }
float keep(float f) { return f; }

// The float as an integer in 0..top; a NaN gives 0.
int cut(float v, int top) { return v > 0 ? (v < static_cast<float>(top) ? static_cast<int>(v) : top) : 0; }

float round_half_away(float v) {
  const float a = std::fabs(v), floored = std::floor(a), rounded = floored + std::floor(2 * (a - floored));
  return v < 0 ? -rounded : rounded;
}

float largest(const float* x, int n) {
  float m = 0;
  for (int i = 0; i < n; ++i) m = std::fabs(x[i]) > m || x[i] != x[i] ? std::fabs(x[i]) : m;
  return m;
}

void put_nibbles(const int* q, int half, uint8_t* p) {
  for (int i = 0; i < half; ++i) p[i] = static_cast<uint8_t>((q[i] & 15) | (q[i + half] & 15) << 4);
}

void put_high_bits(const int* q, uint8_t* p) {
  uint32_t bits = 0;
  for (int i = 0; i < 32; ++i) bits |= static_cast<uint32_t>(q[i] >> 4 & 1) << i;
  std::memcpy(p, &bits, 4);
}

// Q4_0 and Q5_0: the extremum lands on code 0.
template <int bits>
void pack_symmetric(const float* x, int64_t cols, uint8_t* block) {
  constexpr int kMiddle = 1 << (bits - 1), kBytes = bits == 4 ? 18 : 22;
  for (; cols > 0; cols -= 32, x += 32, block += kBytes) {
    float extremum = x[0];
    for (int i = 1; i < 32; ++i)
      if (std::fabs(x[i]) > std::fabs(extremum)) extremum = x[i];
    for (int i = 0; i < 32; ++i)
      if (!std::isfinite(x[i])) extremum = kNan;
    const float d = extremum / -kMiddle, inverse = d == 0 ? 0 : 1 / d;
    int q[32];
    for (int i = 0; i < 32; ++i) q[i] = cut(x[i] * inverse + (kMiddle + 0.5f), 2 * kMiddle - 1);
    put_f16(block, d);
    put_nibbles(q, 16, block + kBytes - 16);
    if (bits == 5) put_high_bits(q, block + 2);
  }
}

// Q4_1 and Q5_1.
template <int bits>
void pack_with_min(const float* x, int64_t cols, uint8_t* block) {
  constexpr int kTop = (1 << bits) - 1, kBytes = bits == 4 ? 20 : 24;
  for (; cols > 0; cols -= 32, x += 32, block += kBytes) {
    float low = x[0], high = x[0];
    for (int i = 1; i < 32; ++i) {
      low = x[i] < low ? x[i] : low;
      high = x[i] > high ? x[i] : high;
    }
    for (int i = 0; i < 32; ++i)
      if (!std::isfinite(x[i])) low = high = kNan;
    const float d = (high - low) / kTop, inverse = d == 0 ? 0 : 1 / d;
    int q[32];
    for (int i = 0; i < 32; ++i) q[i] = cut((x[i] - low) * inverse + 0.5f, kTop);
    put_f16(block, d);
    put_f16(block + 2, low);
    put_nibbles(q, 16, block + kBytes - 16);
    if (bits == 5) put_high_bits(q, block + 4);
  }
}

void pack_q8_0(const float* x, int64_t cols, uint8_t* block) {
  for (; cols > 0; cols -= 32, x += 32, block += 34) {
    float d = largest(x, 32) / 127;
    for (int i = 0; i < 32; ++i)
      if (!std::isfinite(x[i])) d = kNan;
    const float inverse = d == 0 ? 0 : 1 / d;
    put_f16(block, d);
    for (int i = 0; i < 32; ++i) {
      const float q = round_half_away(x[i] * inverse);
      block[2 + i] = static_cast<uint8_t>(std::fabs(q) <= 127 ? static_cast<int>(q) : q < 0 ? -127 : 0);
    }
  }
}

void trits(const float* x, float& d, int* q) {
  d = largest(x, 256);
  for (int i = 0; i < 256; ++i)
    if (!std::isfinite(x[i])) d = kNan;
  const float inverse = d == 0 ? 0 : 1 / d;
  for (int i = 0; i < 256; ++i) q[i] = cut(round_half_away(x[i] * inverse) + 1, 2);
}

void pack_tq1_0(const float* x, int64_t cols, uint8_t* block) {
  for (; cols > 0; cols -= 256, x += 256, block += 54) {
    float d;
    int q[256];
    trits(x, d, q);
    put_f16(block + 52, d);
    constexpr int kFirst[3] = {0, 32, 48}, kBytes[3] = {32, 16, 4}, kTrits[3] = {5, 5, 4};
    const int* trit = q;
    for (int run = 0; run < 3; ++run) {
      for (int m = 0; m < kBytes[run]; ++m) {
        int number = 0;
        for (int n = 0; n < 5; ++n) number = 3 * number + (n < kTrits[run] ? trit[n * kBytes[run] + m] : 0);
        block[kFirst[run] + m] = static_cast<uint8_t>((number * 256 + 242) / 243);
      }
      trit += kTrits[run] * kBytes[run];
    }
  }
}

void pack_tq2_0(const float* x, int64_t cols, uint8_t* block) {
  for (; cols > 0; cols -= 256, x += 256, block += 66) {
    float d;
    int q[256];
    trits(x, d, q);
    put_f16(block + 64, d);
    for (int i = 0; i < 256; ++i) block[32 * (i / 128) + i % 32] |= static_cast<uint8_t>(q[i] << 2 * (i / 32 % 4));
  }
}

std::vector<int> range(int low, int high) {
  std::vector<int> levels;
  for (int l = low; l <= high; ++l) levels.push_back(l);
  return levels;
}

void pack_iq4_nl(const float* x, int64_t cols, uint8_t* block) {
  static const Levels levels(std::vector<int>(kNonLinear, kNonLinear + 16));
  for (; cols > 0; cols -= 32, x += 32, block += 18) {
    float level[32];
    const float d = fit_scale(x, 32, levels, round_f16, level);
    levels.nearest(x, 32, d == 0 ? 0 : 1 / d, level);
    int q[32];
    for (int i = 0; i < 32; ++i) q[i] = levels.code(level[i]);
    put_f16(block, d);
    put_nibbles(q, 16, block + 2);
  }
}

const Levels& e2m1() {
  static const Levels levels(std::vector<int>(kE2m1Doubled, kE2m1Doubled + 16));
  return levels;
}

// The scale byte in [first, last] with the least squared error; its levels are left in `level`.
template <class Decode>
int best_scale_byte(const float* x, int n, int first, int last, Decode decode, float* level) {
  int best = first;
  double best_error = INFINITY;
  for (int byte = first; byte <= last; ++byte) {
    const float scale = decode(static_cast<uint8_t>(byte));
    e2m1().nearest(x, n, scale > 0 ? 1 / scale : 0, level);
    double error = 0;
    for (int i = 0; i < n; ++i) {
      const double d = static_cast<double>(x[i]) - static_cast<double>(scale) * level[i];
      error += d * d;
    }
    if (error < best_error) best_error = error, best = byte;
  }
  const float scale = decode(static_cast<uint8_t>(best));
  e2m1().nearest(x, n, scale > 0 ? 1 / scale : 0, level);
  return best;
}

void pack_mxfp4(const float* x, int64_t cols, uint8_t* block) {
  for (; cols > 0; cols -= 32, x += 32, block += 17) {
    const float amax = largest(x, 32);
    int e = 0;
    if (amax > 0 && std::isfinite(amax)) {
      int exponent;
      std::frexp(amax, &exponent);
      e = exponent - 1 - 2 + 127;  // the largest lands on 4 or 6
    }
    float level[32];
    block[0] = static_cast<uint8_t>(best_scale_byte(x, 32, std::clamp(e, 0, 254), std::clamp(e + 1, 0, 254), e8m0_half, level));
    int q[32];
    for (int i = 0; i < 32; ++i) q[i] = e2m1().code(level[i]);
    put_nibbles(q, 16, block + 1);
  }
}

void pack_nvfp4(const float* x, int64_t cols, uint8_t* block) {
  for (; cols > 0; cols -= 64, block += 36)
    for (int t = 0; t < 4; ++t, x += 16) {
      const float target = largest(x, 16) / 12;  // for the halved scale and doubled levels
      int above = 0;
      while (above < 0x7e && ue4m3_half(static_cast<uint8_t>(above)) < target) ++above;
      float level[16];
      block[t] = static_cast<uint8_t>(best_scale_byte(x, 16, std::max(0, above - 2), std::min(0x7e, above + 8), ue4m3_half, level));
      int q[16];
      for (int i = 0; i < 16; ++i) q[i] = e2m1().code(level[i]);
      put_nibbles(q, 8, block + 4 + 8 * t);
    }
}

// Repeats `once` on what it just made until that no longer changes, so that packing twice is packing once.
template <void (*once)(const float*, uint8_t*), int bytes>
void settle(const float* x, int64_t cols, uint8_t* block, const char* name) {
  const Kernel<DecodeCodes>& decode = *packed_type(name)->decode;
  const CodesLayout layout = packed_type(name)->layout;
  for (; cols > 0; cols -= 256, x += 256, block += bytes) {
    once(x, block);
    float before[256], after[256];
    const auto unpack = [&](const uint8_t* from, float* to) {
      uint8_t code[256];
      float scale[16], min[16] = {};
      decode(static_cast<const void*>(nullptr), from, int64_t{256}, static_cast<uint8_t*>(code), static_cast<float*>(scale),
             static_cast<float*>(min));
      for (int i = 0; i < 256; ++i) {
        to[i] = scale[i / layout.group] * static_cast<float>(code[i] - layout.offset);
        if (layout.has_min) to[i] += min[i / layout.group];
      }
    };
    unpack(block, before);
    for (int trip = 0; trip < 8; ++trip) {
      uint8_t again[bytes] = {};
      once(before, again);
      unpack(again, after);
      std::memcpy(block, again, bytes);
      if (!std::memcmp(before, after, sizeof before)) break;
      std::memcpy(before, after, sizeof before);
    }
  }
}

// A block of Q4_K (bits 4) or Q5_K (bits 5): eight scales and minima, both rounded to six bits of the block's two factors, then
// the codes for the rounded ones.
template <int bits>
void pack_k_block(const float* x, uint8_t* block) {
  constexpr int kTop = (1 << bits) - 1;
  static const Levels levels(range(0, kTop));
  std::memset(block, 0, bits == 4 ? 144 : 176);
  float scratch[64], scale[8], depth[8], most = 0, deepest = 0;
  for (int s = 0; s < 8; ++s) {
    const Affine fit = fit_affine(x + 32 * s, 32, levels, true, scratch);
    scale[s] = fit.scale > 0 ? fit.scale : fit.scale == fit.scale ? 0 : kNan;
    depth[s] = fit.min < 0 ? -fit.min : 0;
    most = scale[s] > most || scale[s] != scale[s] ? scale[s] : most;
    deepest = std::max(deepest, depth[s]);
    if (most != most) break;
  }
  put_f16(block, most / 63);
  put_f16(block + 2, deepest / 63);
  if (most != most) return;
  const float d = f16_at(block), dmin = f16_at(block + 2);
  uint8_t* packed = block + 4;
  for (int s = 0; s < 8; ++s) {
    const int sc = d > 0 ? cut(scale[s] / d + 0.5f, 63) : 0, mn = dmin > 0 ? cut(depth[s] / dmin + 0.5f, 63) : 0;
    if (s < 4) {
      packed[s] |= static_cast<uint8_t>(sc);
      packed[s + 4] |= static_cast<uint8_t>(mn);
    } else {
      packed[s + 4] = static_cast<uint8_t>((sc & 15) | (mn & 15) << 4);
      packed[s - 4] |= static_cast<uint8_t>(sc >> 4 << 6);
      packed[s] |= static_cast<uint8_t>(mn >> 4 << 6);
    }
    const float step = d * static_cast<float>(sc), down = dmin * static_cast<float>(mn);
    for (int i = 0; i < 32; ++i) {
      const int q = step > 0 ? cut((x[32 * s + i] + down) / step + 0.5f, kTop) : 0;
      block[(bits == 4 ? 16 : 48) + 32 * (s / 2) + i] |= static_cast<uint8_t>((q & 15) << 4 * (s % 2));
      if (bits == 5) block[16 + i] |= static_cast<uint8_t>((q >> 4) << s);
    }
  }
}

void pack_q6_k_block(const float* x, uint8_t* block) {
  static const Levels levels(range(-32, 31));
  std::memset(block, 0, 210);
  float level[16], scale[16], extremum = 0;
  for (int s = 0; s < 16; ++s) {
    scale[s] = fit_scale(x + 16 * s, 16, levels, keep, level);
    if (scale[s] != scale[s]) {
      put_f16(block + 208, kNan);
      return;
    }
    if (std::fabs(scale[s]) > std::fabs(extremum)) extremum = scale[s];
  }
  put_f16(block + 208, extremum / -128);
  const float d = f16_at(block + 208);
  for (int s = 0; s < 16; ++s) {
    const int sc = d == 0 ? 0 : std::clamp(static_cast<int>(std::lrint(std::clamp(scale[s] / d, -128.0f, 127.0f))), -128, 127);
    block[192 + s] = static_cast<uint8_t>(sc);
    const float step = d * static_cast<float>(sc);
    levels.nearest(x + 16 * s, 16, step == 0 ? 0 : 1 / step, level);
    for (int j = 0; j < 16; ++j) {
      const int i = 16 * s + j, half = i / 128, quarter = i / 32 % 4, q = static_cast<int>(level[j]) + 32;
      block[64 * half + i % 64] |= static_cast<uint8_t>((q & 15) << 4 * (quarter / 2));
      block[128 + 32 * half + i % 32] |= static_cast<uint8_t>((q >> 4) << 2 * quarter);
    }
  }
}

void pack_q4_k(const float* x, int64_t cols, uint8_t* block) { settle<pack_k_block<4>, 144>(x, cols, block, "Q4_K"); }
void pack_q5_k(const float* x, int64_t cols, uint8_t* block) { settle<pack_k_block<5>, 176>(x, cols, block, "Q5_K"); }
void pack_q6_k(const float* x, int64_t cols, uint8_t* block) { settle<pack_q6_k_block, 210>(x, cols, block, "Q6_K"); }

}  // namespace

PackRow* ggml_packer(std::string_view type) {
  static constexpr struct {
    std::string_view type;
    PackRow* pack;
  } kPackers[] = {{"Q4_0", pack_symmetric<4>}, {"Q4_1", pack_with_min<4>}, {"Q5_0", pack_symmetric<5>},
                  {"Q5_1", pack_with_min<5>},  {"Q8_0", pack_q8_0},        {"Q4_K", pack_q4_k},
                  {"Q5_K", pack_q5_k},         {"Q6_K", pack_q6_k},        {"IQ4_NL", pack_iq4_nl},
                  {"MXFP4", pack_mxfp4},       {"NVFP4", pack_nvfp4},      {"TQ1_0", pack_tq1_0},
                  {"TQ2_0", pack_tq2_0}};
  for (const auto& each : kPackers)
    if (each.type == type) return each.pack;
  return nullptr;
}

}  // namespace gemloupe
