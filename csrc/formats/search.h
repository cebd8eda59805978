// The search for scales when packing: for given values and a set of levels, the scale (and minimum) with the least squared error.
//
// For fixed codes the best scale is sum(x l) / sum(l^2), and its error is sum(x^2) - sum(x l)^2 / sum(l^2), so a candidate is
// judged by one pass (the method of GGML's packers).
#pragma once

#include <cstdint>
#include <vector>

namespace gemloupe {

// The levels a code may have, -128 .. 127.
class Levels {
 public:
  explicit Levels(const std::vector<int>& levels);  // code i has levels[i]; the lowest code where a level repeats

  int lowest() const { return sorted_.front(); }
  int highest() const { return sorted_.back(); }
  const std::vector<int>& ordered() const { return sorted_; }
  int code(float level) const { return code_[static_cast<int>(level) + 128]; }
  // The level nearest to v, the higher of two as near; the lowest for a NaN.
  float nearest(float v) const {
    const float low = static_cast<float>(lowest()), high = static_cast<float>(highest());
    v = v > low ? v : low;
    v = v < high ? v : high;
    return nearest_[static_cast<int>(2 * v + 256)];
  }
  // out[i] = the level nearest to x[i] * inverse; of two as near, any. out may be x.
  void nearest(const float* x, int64_t n, float inverse, float* out) const;

 private:
  std::vector<int> sorted_;  // without repetitions
  bool consecutive_ = false;
  int code_[256] = {};
  float nearest_[512] = {};  // of v in [k / 2 - 128, k / 2 - 127.5), since levels change at multiples of a half only
};

// How a scale is stored: the nearest number of the storage type.
using RoundScale = float(float);

// scale with x ~ scale * level, as stored. Zero for zeros; NaN where x has a NaN or an infinity. `scratch` holds n floats. A lattice
// that x already lies on is found again exactly.
float fit_scale(const float* x, int64_t n, const Levels& levels, RoundScale* stored, float* scratch);

// x ~ scale * level + min, before storage. With min_at_most_zero the minimum is never positive. `scratch` holds 2n
// floats.
struct Affine {
  float scale, min;
};
Affine fit_affine(const float* x, int64_t n, const Levels& levels, bool min_at_most_zero, float* scratch);

// Whether x is exactly fit.scale * level + fit.min, for this fit or for one that is found from the values.
bool recover_affine(const float* x, const float* level, int64_t n, RoundScale* stored, Affine& fit);

// The largest magnitude, with its sign; NaN where x has a NaN or an infinity.
float signed_extremum(const float* x, int64_t n);

}  // namespace gemloupe
