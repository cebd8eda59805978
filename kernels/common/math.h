// exp, tanh, sine and cosine as fixed sequences of correctly rounded operations (fma, add, multiply, divide), so that every
// variant of a kernel can give the same bits. math_avx2.h and math_avx512.h repeat these lines with vector instructions; tests
// compare them bit for bit and measure all of them against double.
//
// exp_     Cody and Waite range reduction, degree-6 minimax polynomial; within 1 ulp on [-87.33, 88.72]; below gives +0
//          (instead of subnormal results), above infinity.
// tanh_    an odd minimax polynomial near zero, beyond it through exp_(2|x|); within 2 ulp; keeps the sign of zero.
// sincos_  in double, then rounded: the correctly rounded float for all but about one argument in a million, up to 2^31.
// A NaN stays a NaN.
#pragma once

#include <cmath>
#include <cstring>

#include "kernels/common/half.h"

namespace gemloupe {

namespace math {
inline constexpr float kLog2e = 1.44269504088896341f;
inline constexpr float kLn2High = 0.693359375f;  // 9 bits: n * kLn2High is exact
inline constexpr float kLn2Low = -2.12194440054690583e-4f;
inline constexpr float kExpLow = -87.33654475f, kExpHigh = 88.72283172f;
inline constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, to nearest even
// Minimax on [-ln2/2, ln2/2] with the last two coefficients held at 1: off by 0.05 of an ulp before rounding.
inline constexpr float kExp[6] = {0.00138143182f, 0.00836885162f, 0.0416684002f, 0.166665196f, 0.49999994f, 1.0f};
}  // namespace math

[[gnu::always_inline]] inline float exp_(float x) {
  using namespace math;
  if (x != x) return x;
  if (x < kExpLow) return 0.0f;
  if (x > kExpHigh) return bits_to_float(0x7f800000);
  const float shifted = std::fma(x, kLog2e, kRound);
  const float n = shifted - kRound;
  float r = std::fma(n, -kLn2High, x);
  r = std::fma(n, -kLn2Low, r);
  float p = kExp[0];
  for (int i = 1; i < 6; ++i) p = std::fma(p, r, kExp[i]);
  p = std::fma(p, r, 1.0f);
  // 2^n in two factors, since n = 128 and n = -127 do not fit one exponent field.
  const int whole = static_cast<int>(n), half = whole >> 1;
  return p * bits_to_float(static_cast<uint32_t>(half + 127) << 23) *
         bits_to_float(static_cast<uint32_t>(whole - half + 127) << 23);
}

// tanh(a) = a + a * s * P(s), s = a^2, for a = |x| < 0.625, else 1 - 2 / (exp(2a) + 1); then the sign of x.
namespace math {
inline constexpr float kTanhSmall = 0.625f;
inline constexpr float kTanh[5] = {-0.00570497848f, 0.0206390787f, -0.0537397116f, 0.133314416f, -0.333332807f};
}  // namespace math

[[gnu::always_inline]] inline float tanh_(float x) {
  using namespace math;
  const float a = std::fabs(x);
  float t;
  if (a < kTanhSmall) {
    const float s = a * a;
    float p = kTanh[0];
    for (int i = 1; i < 5; ++i) p = std::fma(p, s, kTanh[i]);
    t = std::fma(p * s, a, a);
  } else {
    t = 1.0f - 2.0f / (exp_(a + a) + 1.0f);
  }
  return std::copysign(t, x);
}

// gelu(z) = z / 2 * (1 + tanh(sqrt(2/pi) * (z + 0.044715 * z^3))), rounded where PyTorch's "tanh" approximation rounds.
namespace math { inline constexpr float kGeluInner = 0.7978845608028654f, kGeluCube = 0.044715f; }  // namespace math

[[gnu::always_inline]] inline float gelu_(float z) {
  using namespace math;
  const float cube = z * z * z;
  const float inner = kGeluInner * (z + kGeluCube * cube);
  return 0.5f * z * (1.0f + tanh_(inner));
}

namespace math {
inline constexpr double kTwoOverPi = 0.63661977236758134308, kHalfPiHigh = 1.5707963267948966192,
                        kHalfPiLow = 6.123233995736766e-17;
inline constexpr double kRoundDouble = 6755399441055744.0;  // 1.5 * 2^52
// Taylor coefficients of sin(r)/r and cos(r) in r^2, highest first: off by 2e-14 at most for |r| <= pi/4.
inline constexpr double kSin[7] = {1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1.0};
inline constexpr double kCos[8] = {-1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320,
                                   -1.0 / 720,         1.0 / 24,        -0.5,           1.0};
}  // namespace math

[[gnu::always_inline]] inline void sincos_(float x, float& sine, float& cosine) {
  using namespace math;
  const double a = x, shifted = std::fma(a, kTwoOverPi, kRoundDouble), n = shifted - kRoundDouble;
  double r = std::fma(n, -kHalfPiHigh, a);
  r = std::fma(n, -kHalfPiLow, r);
  const double s = r * r;
  double u = kSin[0], v = kCos[0];
  for (int i = 1; i < 7; ++i) u = std::fma(u, s, kSin[i]);
  for (int i = 1; i < 8; ++i) v = std::fma(v, s, kCos[i]);
  u *= r;
  uint64_t quadrant;  // the low bits of the shifted value are n mod 4
  std::memcpy(&quadrant, &shifted, 8);
  const double p = quadrant & 1 ? v : u, q = quadrant & 1 ? u : v;
  sine = static_cast<float>(quadrant & 2 ? -p : p);
  cosine = static_cast<float>((quadrant + 1) & 2 ? -q : q);
}

}  // namespace gemloupe
