#include "csrc/formats/grid.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "csrc/core/error.h"
#include "csrc/formats/packed.h"
#include "csrc/formats/search.h"
#include "kernels/common/half.h"

namespace gemloupe {

namespace {

const std::vector<int> kNormalFloat = {-127, -88, -67, -50, -36, -23, -12, 0, 10, 20, 31, 43, 56, 71, 92, 127};
const std::vector<int> kTernary = {-1, 0, 1, 0};

std::vector<int> integer_levels(int bits) {
  if (bits == 1) return {-1, 1};
  std::vector<int> levels;
  for (int l = -(1 << (bits - 1)); l < 1 << (bits - 1); ++l) levels.push_back(l);
  return levels;
}

float keep(float f) { return f; }
float round_f16(float f) { return f16_to_float(float_to_f16(f)); }
float round_bf16(float f) { return bf16_to_float(float_to_bf16(f)); }

RoundScale* rounding(ScaleType type) {
  return type == ScaleType::f32 ? keep : type == ScaleType::bf16 ? round_bf16 : round_f16;
}

std::string grid_name(const GridOptions& o) {
  std::string name = text("grid", o.bits);
  bool spelled = false;
  if (o.levels == kNormalFloat) name = "nf4", spelled = true;
  if (o.levels == kTernary) name = "ternary", spelled = true;
  name += o.group ? text("_g", o.group) : "_row";
  if (o.min) name += "_min";
  if (o.scale != ScaleType::f16) name += o.scale == ScaleType::f32 ? "_f32" : "_bf16";
  if (spelled || o.levels == integer_levels(o.bits)) return name;
  for (size_t i = 0; i < o.levels.size(); ++i) name += text(i ? "," : "[", o.levels[i]);
  return name + "]";
}

class GridFormat : public CodesFormat {
 public:
  explicit GridFormat(const GridOptions& options)
      : name_(grid_name(options)), levels_(options.levels), stored_(rounding(options.scale)) {
    row_.bits = options.bits;
    row_.group = options.group;
    row_.scale = options.scale;
    row_.has_min = options.min;
    for (size_t i = 0; i < options.levels.size(); ++i) row_.code[i] = static_cast<uint8_t>(options.levels[i] + 128);
  }

  std::string name() const override { return name_; }
  CodesLayout layout(int64_t cols) const override {
    check(cols <= kLongestRow, name_, ": a row of ", cols, " columns is too long, the limit is ", kLongestRow);
    return grid_layout(row_, cols);
  }
  const Kernel<DecodeCodes>& decode() const override { return decode_grid; }
  const void* context() const override { return &row_; }

 protected:
  void pack_row(const float* row, int64_t cols, uint8_t* bytes) const override {
    const int64_t group = layout(cols).block;
    std::vector<float> memory(static_cast<size_t>(4 * group));
    float *x = memory.data(), *level = x + group, *scratch = level + group;
    for (int64_t first = 0; first < cols; first += group) {
      const int64_t n = std::min(group, cols - first);
      std::copy(row + first, row + first + n, x);
      const Affine fit = row_.has_min ? settled_affine(x, n, level, scratch) : Affine{fit_scale(x, n, levels_, stored_, scratch), 0};
      round_to(x, n, fit, level);
      bytes = put(bytes, fit.scale);
      if (row_.has_min) bytes = put(bytes, fit.min);
      for (int64_t i = 0; i < n; ++i) {
        const int code = levels_.code(level[i]);
        for (int b = 0; b < row_.bits; ++b)
          if (code >> b & 1) bytes[(i * row_.bits + b) / 8] |= static_cast<uint8_t>(1 << (i * row_.bits + b) % 8);
      }
      bytes += group * row_.bits / 8;
    }
  }

 private:
  static constexpr int64_t kLongestRow = int64_t{1} << 24;

  // The levels for stored numbers; overwrites nothing but `level`.
  void round_to(const float* x, int64_t n, Affine fit, float* level) const {
    const bool usable = fit.scale != 0 && std::isfinite(fit.scale) && std::isfinite(1 / fit.scale);
    for (int64_t i = 0; i < n; ++i) level[i] = x[i] - fit.min;
    levels_.nearest(level, n, usable ? 1 / fit.scale : 0, level);
  }

  Affine stored_affine(const float* x, int64_t n, float* scratch) const {
    const Affine fit = fit_affine(x, n, levels_, false, scratch);
    return {stored_(fit.scale), stored_(fit.min)};
  }

  // Fits again what the fit made until that no longer changes, so that packing twice is packing once. Leaves x as it was made.
  Affine settled_affine(float* x, int64_t n, float* level, float* scratch) const {
    Affine fit = stored_affine(x, n, scratch);
    for (int trip = 0; trip < 8 && std::isfinite(fit.scale) && std::isfinite(fit.min); ++trip) {
      round_to(x, n, fit, level);
      if (recover_affine(x, level, n, stored_, fit)) break;
      for (int64_t i = 0; i < n; ++i) x[i] = fit.scale * level[i] + fit.min;
      fit = stored_affine(x, n, scratch);
    }
    return fit;
  }

  uint8_t* put(uint8_t* p, float f) const {
    if (row_.scale == ScaleType::f32) {
      std::memcpy(p, &f, 4);
      return p + 4;
    }
    const uint16_t h = row_.scale == ScaleType::f16 ? float_to_f16(f) : float_to_bf16(f);
    std::memcpy(p, &h, 2);
    return p + 2;
  }

  std::string name_;
  Levels levels_;
  RoundScale* stored_;
  GridRow row_;
};

// Reads what `rest` begins with; false, and nothing taken, if it does not.
bool take(std::string_view& rest, std::string_view word) {
  if (!rest.starts_with(word)) return false;
  rest.remove_prefix(word.size());
  return true;
}

template <class Integer>
bool take_number(std::string_view& rest, Integer& number) {
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (error != std::errc()) return false;
  rest.remove_prefix(static_cast<size_t>(end - rest.data()));
  return true;
}

}  // namespace

std::shared_ptr<const Format> grid(const GridOptions& options) {
  GridOptions o = options;
  check(o.bits >= 1 && o.bits <= 8, "grid: bits must be 1 to 8, got ", o.bits);
  check(o.group >= 0 && o.group <= 65536 && o.group % 16 == 0, "grid: group must be a multiple of 16 up to 65536, or 0 for a row, got ",
        o.group);
  if (o.levels.empty()) o.levels = integer_levels(o.bits);
  check(o.levels.size() == size_t{1} << o.bits, "grid: ", o.bits, " bits choose one of ", 1 << o.bits, " levels, got ",
        o.levels.size());
  for (int level : o.levels) check(level >= -128 && level <= 127, "grid: levels must be in -128 .. 127, got ", level);
  check(std::any_of(o.levels.begin(), o.levels.end(), [](int l) { return l != 0; }), "grid: needs a level that is not zero");
  return std::make_shared<GridFormat>(o);
}

std::optional<GridOptions> parse_grid(const std::string& name) {
  GridOptions o;
  std::string_view rest = name;
  if (take(rest, "nf4")) {
    o.levels = kNormalFloat;
  } else if (take(rest, "ternary")) {
    o.bits = 2;
    o.levels = kTernary;
  } else if (take(rest, "grid") || take(rest, "int")) {
    if (!take_number(rest, o.bits) || o.bits < 1 || o.bits > 8) return {};
    if (o.bits == 4 && name.starts_with("int")) o.group = 32;
  } else {
    return {};
  }
  if (take(rest, "_row")) o.group = 0;
  else if (take(rest, "_g") && !take_number(rest, o.group)) return {};
  if (take(rest, "_min")) o.min = true;
  if (take(rest, "_f32")) o.scale = ScaleType::f32;
  else if (take(rest, "_bf16")) o.scale = ScaleType::bf16;
  if (o.levels.empty() && take(rest, "[")) {
    do {
      int level;
      if (!take_number(rest, level)) return {};
      o.levels.push_back(level);
    } while (take(rest, ","));
    if (!take(rest, "]")) return {};
  }
  if (!rest.empty()) return {};
  return o;
}

}  // namespace gemloupe
