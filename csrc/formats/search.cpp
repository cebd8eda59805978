#include "csrc/formats/search.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gemloupe {

namespace {

constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Moments {
  float l = 0, ll = 0, xl = 0;
};

// Sums are made in eight lanes, so that the compiler may use vectors.
Moments moments(const float* x, const float* level, int64_t n) {
  float l[8] = {}, ll[8] = {}, xl[8] = {};
  const int64_t whole = n / 8 * 8;
  for (int64_t i = 0; i < whole; i += 8)
    for (int j = 0; j < 8; ++j) {
      const float v = level[i + j];
      l[j] += v;
      ll[j] += v * v;
      xl[j] += x[i + j] * v;
    }
  for (int64_t i = whole; i < n; ++i) l[0] += level[i], ll[0] += level[i] * level[i], xl[0] += x[i] * level[i];
  Moments sum;
  for (int j = 0; j < 8; ++j) sum.l += l[j], sum.ll += ll[j], sum.xl += xl[j];
  return sum;
}

float squared_error(const float* x, const float* level, int64_t n, float scale, float min) {
  float e[8] = {};
  const int64_t whole = n / 8 * 8;
  const auto square = [&](int64_t i) {
    const float d = x[i] - (scale * level[i] + min);
    return d * d;
  };
  for (int64_t i = 0; i < whole; i += 8)
    for (int j = 0; j < 8; ++j) e[j] += square(i + j);
  for (int64_t i = whole; i < n; ++i) e[0] += square(i);
  float sum = 0;
  for (int j = 0; j < 8; ++j) sum += e[j];
  return sum;
}

bool usable(float scale) { return scale != 0 && std::isfinite(scale) && std::isfinite(1 / scale); }

// Whether every x is exactly scale * some level.
bool on_lattice(const float* x, int64_t n, const Levels& levels, float scale) {
  const float inverse = 1 / scale;
  for (int64_t i = 0; i < n; ++i)
    if (scale * levels.nearest(x[i] * inverse) != x[i]) return false;
  return true;
}

}  // namespace

Levels::Levels(const std::vector<int>& levels) : sorted_(levels) {
  for (int i = static_cast<int>(levels.size()) - 1; i >= 0; --i) code_[levels[i] + 128] = i;
  std::sort(sorted_.begin(), sorted_.end());
  sorted_.erase(std::unique(sorted_.begin(), sorted_.end()), sorted_.end());
  consecutive_ = highest() - lowest() == static_cast<int>(sorted_.size()) - 1;
  for (size_t at = 0, k = 0; k < 512; ++k) {
    while (at + 1 < sorted_.size() && sorted_[at] + sorted_[at + 1] <= static_cast<int>(k) - 256) ++at;
    nearest_[k] = static_cast<float>(sorted_[at]);
  }
}

void Levels::nearest(const float* x, int64_t n, float inverse, float* out) const {
  if (!consecutive_) {
    for (int64_t i = 0; i < n; ++i) out[i] = nearest(x[i] * inverse);
    return;
  }
  const float low = static_cast<float>(lowest()), high = static_cast<float>(highest());
  for (int64_t i = 0; i < n; ++i) {
    float v = x[i] * inverse;
    v = v > low ? v : low;  // also what a NaN becomes
    v = v < high ? v : high;
    out[i] = (v + kRound) - kRound;
  }
}

float signed_extremum(const float* x, int64_t n) {
  float extremum = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) return kNan;
    if (std::fabs(x[i]) > std::fabs(extremum)) extremum = x[i];
  }
  return extremum;
}

float fit_scale(const float* x, int64_t n, const Levels& levels, RoundScale* stored, float* scratch) {
  const float extremum = signed_extremum(x, n);
  if (extremum == 0 || extremum != extremum) return extremum;

  for (int level : levels.ordered()) {
    if (!level) continue;
    const float exact = extremum / static_cast<float>(level), scale = stored(exact);
    if (usable(scale) && on_lattice(x, n, levels, scale)) return scale;
    if (scale != exact) continue;
    for (float end : {-INFINITY, INFINITY}) {  // the division may have lost the last bit of a scale that is stored whole
      const float beside = stored(std::nextafter(exact, end));
      if (beside != scale && usable(beside) && on_lattice(x, n, levels, beside)) return beside;
    }
  }

  float best = 0, best_gain = -1, plain = 0, plain_error = INFINITY;
  for (int end : {levels.lowest(), levels.highest()}) {
    if (!end) continue;
    const float anchored = extremum / static_cast<float>(end), rounded = stored(anchored);
    if (usable(rounded)) {
      levels.nearest(x, n, 1 / rounded, scratch);
      const float error = squared_error(x, scratch, n, rounded, 0);
      if (error < plain_error) plain_error = error, plain = rounded;
    }
    for (int t = -9; t <= 9; t += 2) {
      const float inverse = (static_cast<float>(end) + 0.1f * static_cast<float>(t)) / extremum;
      if (!std::isfinite(inverse)) continue;
      levels.nearest(x, n, inverse, scratch);
      const Moments m = moments(x, scratch, n);
      if (m.ll > 0 && m.xl * m.xl > best_gain * m.ll) best_gain = m.xl * m.xl / m.ll, best = m.xl / m.ll;
    }
  }
  best = stored(best);
  if (!usable(best)) return plain;
  levels.nearest(x, n, 1 / best, scratch);
  return squared_error(x, scratch, n, best, 0) <= plain_error ? best : plain;
}

Affine fit_affine(const float* x, int64_t n, const Levels& levels, bool min_at_most_zero, float* scratch) {
  float low = x[0], high = x[0], sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) return {kNan, kNan};
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
    sum += x[i];
  }
  if (min_at_most_zero) low = std::min(low, 0.0f);
  if (high <= low) return {0, low};
  const float bottom = static_cast<float>(levels.lowest()), span = static_cast<float>(levels.highest()) - bottom;
  float* level = scratch;
  float* moved = scratch + n;
  Affine best{(high - low) / span, 0};
  float best_error = INFINITY;
  for (int t = -10; t <= 10; ++t) {
    const float inverse = (span + 0.1f * static_cast<float>(t)) / (high - low);
    if (!std::isfinite(inverse)) break;
    for (int64_t i = 0; i < n; ++i) moved[i] = (x[i] - low) + bottom / inverse;
    levels.nearest(moved, n, inverse, level);
    const Moments m = moments(x, level, n);
    const float count = static_cast<float>(n), determinant = count * m.ll - m.l * m.l;
    if (!(determinant > 0)) continue;
    Affine fit{(count * m.xl - m.l * sum) / determinant, (m.ll * sum - m.l * m.xl) / determinant};
    if (min_at_most_zero && fit.min > 0) fit = {m.xl / m.ll, 0};
    const float error = squared_error(x, level, n, fit.scale, fit.min);
    if (error < best_error) best_error = error, best = fit;
  }
  if (!(best_error < INFINITY)) best.min = low - best.scale * bottom;
  return best;
}

bool recover_affine(const float* x, const float* level, int64_t n, RoundScale* stored, Affine& fit) {
  const auto exact = [&](Affine a) {
    for (int64_t i = 0; i < n; ++i)
      if (a.scale * level[i] + a.min != x[i]) return false;
    return true;
  };
  if (exact(fit)) return true;
  int64_t zero = -1, far = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (level[i] == 0) zero = i;
    if (std::fabs(level[i]) > std::fabs(level[far])) far = i;
  }
  if (zero < 0 || level[far] == 0) return false;
  const float min = x[zero];
  float scale = (x[far] - min) / level[far];
  for (int step = 0; step < 16; ++step) scale = std::nextafter(scale, -INFINITY);
  for (int step = -16; step <= 16; ++step, scale = std::nextafter(scale, INFINITY)) {
    const Affine found{stored(scale), min};
    if (stored(min) == min && exact(found)) {
      fit = found;
      return true;
    }
  }
  return false;
}

}  // namespace gemloupe
