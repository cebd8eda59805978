#include "csrc/formats/floats.h"

#include <cmath>
#include <cstring>
#include <type_traits>

#include "csrc/core/error.h"
#include "csrc/formats/rows.h"
#include "kernels/common/half.h"
#include "kernels/common/team.h"
#include "kernels/experts/experts.h"

namespace gemloupe {

float f8_e4m3_to_float(uint8_t v) {
  const uint32_t exponent = v >> 3 & 15, fraction = v & 7;
  float magnitude;
  if (exponent == 15 && fraction == 7) magnitude = bits_to_float(0x7fc00000);
  else if (exponent == 0) magnitude = static_cast<float>(fraction) * 0x1p-9f;
  else magnitude = bits_to_float((exponent + 120) << 23 | fraction << 20);
  return std::copysign(magnitude, v & 0x80 ? -1.0f : 1.0f);
}

uint8_t float_to_f8_e4m3(float f) {
  const uint32_t u = float_to_bits(f), magnitude = u & 0x7fffffff;
  const uint8_t sign = static_cast<uint8_t>(u >> 24 & 0x80);
  if (magnitude >= 0x7f800000) return sign | 0x7f;
  if (magnitude >= 0x43e80000) return sign | 0x7e;  // 464, halfway to what would be 480
  if (magnitude < 0x3c800000) {                      // below 2^-6: subnormal, one addition does the rounding
    const float aligned = bits_to_float(magnitude) + 0x1p14f;
    return static_cast<uint8_t>(sign | (float_to_bits(aligned) & 0xff));
  }
  const uint32_t rounded = magnitude + 0x7ffff + (magnitude >> 20 & 1);
  return static_cast<uint8_t>(sign | ((rounded - (120u << 23)) >> 20));
}

// E5M2 is the upper byte of a half; rounding happens once, from the float.
float f8_e5m2_to_float(uint8_t v) { return f16_to_float(static_cast<uint16_t>(v << 8)); }

uint8_t float_to_f8_e5m2(float f) {
  const uint32_t u = float_to_bits(f), magnitude = u & 0x7fffffff;
  const uint8_t sign = static_cast<uint8_t>(u >> 24 & 0x80);
  if (magnitude > 0x7f800000) return sign | 0x7f;
  if (magnitude >= 0x47700000) return sign | 0x7c;  // 61440, halfway to what would be 65536
  if (magnitude < 0x38800000) {
    const float aligned = bits_to_float(magnitude) + 0x1p7f;
    return static_cast<uint8_t>(sign | (float_to_bits(aligned) & 0xff));
  }
  const uint32_t rounded = magnitude + 0xfffff + (magnitude >> 21 & 1);
  return static_cast<uint8_t>(sign | ((rounded - (112u << 23)) >> 21));
}

namespace {

template <class Stored>
Stored stored_at(const uint8_t* p) {
  Stored v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

struct F32 {
  using Stored = float;
  static constexpr const char* kName = "F32";
  static float widen(Stored v) { return v; }
  static Stored narrow(float f) { return f; }
  static void matmul(Matrix<const float> x, Matrix<const Stored> w, Matrix<float> y) { matmul_float(x, w, y); }
  static void experts(Matrix<const float> x, const int32_t* expert, Matrix<const Stored> w, Matrix<float> y) {
    matmul_experts_float(x, expert, y.cols, w, y);
  }
};

struct F16 {
  using Stored = uint16_t;
  static constexpr const char* kName = "F16";
  static float widen(Stored v) { return f16_to_float(v); }
  static Stored narrow(float f) { return float_to_f16(f); }
  static void matmul(Matrix<const float> x, Matrix<const Stored> w, Matrix<float> y) { matmul_f16(x, w, y); }
  static void experts(Matrix<const float> x, const int32_t* expert, Matrix<const Stored> w, Matrix<float> y) {
    matmul_experts_f16(x, expert, y.cols, w, y);
  }
};

struct Bf16 {
  using Stored = uint16_t;
  static constexpr const char* kName = "BF16";
  static float widen(Stored v) { return bf16_to_float(v); }
  static Stored narrow(float f) { return float_to_bf16(f); }
  static void matmul(Matrix<const float> x, Matrix<const Stored> w, Matrix<float> y) { matmul_bf16(x, w, y); }
  static void experts(Matrix<const float> x, const int32_t* expert, Matrix<const Stored> w, Matrix<float> y) {
    matmul_experts_bf16(x, expert, y.cols, w, y);
  }
};

struct F64 {
  using Stored = double;
  static constexpr const char* kName = "F64";
  static float widen(Stored v) { return static_cast<float>(v); }
  static Stored narrow(float f) { return f; }
};

struct F8E4m3 {
  using Stored = uint8_t;
  static constexpr const char* kName = "F8_E4M3";
  static float widen(Stored v) { return f8_e4m3_to_float(v); }
  static Stored narrow(float f) { return float_to_f8_e4m3(f); }
};

struct F8E5m2 {
  using Stored = uint8_t;
  static constexpr const char* kName = "F8_E5M2";
  static float widen(Stored v) { return f8_e5m2_to_float(v); }
  static Stored narrow(float f) { return float_to_f8_e5m2(f); }
};

template <class Type>
class FloatFormat : public Format, public std::enable_shared_from_this<FloatFormat<Type>> {
 public:
  using Stored = typename Type::Stored;

  std::string name() const override { return Type::kName; }

  int64_t row_bytes(int64_t cols) const override {
    check(cols >= 0, Type::kName, ": a row cannot have ", cols, " columns");
    return cols * static_cast<int64_t>(sizeof(Stored));
  }

  Weight pack(Matrix<const float> w) const override {
    uint8_t* data;
    Weight packed = allocate_weight(this->shared_from_this(), w.rows, w.cols, data);
    const int64_t bytes = row_bytes(w.cols);
    share(w.rows, rows_a_share(w.cols), [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r)
        for (int64_t c = 0; c < w.cols; ++c) {
          const Stored v = Type::narrow(w.row(r)[c]);
          std::memcpy(data + r * bytes + c * sizeof v, &v, sizeof v);
        }
    });
    return packed;
  }

  void unpack(const Weight& w, int64_t first_row, Matrix<float> out) const override {
    check_rows(w, first_row, out.rows, out.cols);
    const int64_t bytes = row_bytes(w.cols);
    share(out.rows, rows_a_share(w.cols), [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        const uint8_t* row = w.data + (first_row + r) * bytes;
        float* to = out.row(r);
        for (int64_t c = 0; c < w.cols; ++c) to[c] = Type::widen(stored_at<Stored>(row + c * sizeof(Stored)));
        scale_row(w, first_row + r, to, w.cols);
      }
    });
  }

  void matmul(Matrix<const float> x, const Weight& w, int64_t first_row, Matrix<float> y, Arithmetic arithmetic) const override {
    if constexpr (requires { Type::matmul(x, Matrix<const Stored>(), y); }) {
      check_rows(w, first_row, y.cols, x.cols);
      check_outputs(x, y);
      const Matrix<const Stored> rows = stored(w).slice(first_row, y.cols);
      if (rounds(arithmetic))
        matmul_tiles(x, tiles(rows, 1), int64_t{0}, int64_t{0}, y);
      else
        Type::matmul(x, rows, y);
      scale_outputs(w, first_row, y);
    } else {
      Format::matmul(x, w, first_row, y, arithmetic);
    }
  }

  void matmul_experts(Matrix<const float> x, const int32_t* expert, const Weight& w, Matrix<float> y,
                      Arithmetic arithmetic) const override {
    if constexpr (requires { Type::experts(x, expert, Matrix<const Stored>(), y); }) {
      check_experts(x, expert, w, y);
      if (rounds(arithmetic))
        matmul_experts_tiles(x, expert, tiles(stored(w), w.experts), y);
      else
        Type::experts(x, expert, stored(w), y);
      scale_experts(w, expert, y);
    } else {
      Format::matmul_experts(x, expert, w, y, arithmetic);
    }
  }

 private:
  // F32 weights have float32 sums whatever is asked.
  static bool rounds(Arithmetic arithmetic) { return sizeof(Stored) == 2 && arithmetic == Arithmetic::bf16; }

  static Matrix<const Stored> stored(const Weight& w) { return {reinterpret_cast<const Stored*>(w.data), w.rows, w.cols}; }

  static TileWeight tiles(Matrix<const Stored> rows, int64_t parts) {
    TileWeight t{parts, rows.rows / parts, rows.cols};
    t.half = reinterpret_cast<const uint16_t*>(rows.data);
    t.is_bf16 = std::is_same_v<Type, Bf16>;
    t.stride = rows.stride;
    return t;
  }
};

}  // namespace

const std::vector<std::shared_ptr<const Format>>& float_formats() {
  static const std::vector<std::shared_ptr<const Format>> formats = {
      std::make_shared<FloatFormat<F32>>(),    std::make_shared<FloatFormat<F16>>(),    std::make_shared<FloatFormat<Bf16>>(),
      std::make_shared<FloatFormat<F64>>(), std::make_shared<FloatFormat<F8E4m3>>(), std::make_shared<FloatFormat<F8E5m2>>()};
  return formats;
}

}  // namespace gemloupe
