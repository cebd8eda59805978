// A kernel is a contract (its signature) and the variants that honour it: the reference first, the fastest last.
//
//   using RmsNorm = void(Matrix<const float> x, const float* scale, float eps, Matrix<float> y);
//   extern const Kernel<RmsNorm> rms_norm;             // rms_norm(x, scale, eps, y) runs the best variant allowed
//
// Every variant gives the reference's bits, unless the kernel's header says otherwise.
#pragma once

#include <initializer_list>
#include <vector>

#include "kernels/common/isa.h"

namespace gemloupe {

template <class Fn>
struct Variant {
  const char* name;
  Isa needs;
  Fn* run;
};

template <class Fn>
class Kernel {
 public:
  Kernel(std::initializer_list<Variant<Fn>> variants) : variants_(variants) {
    for (int level = 0; level < kIsas; ++level)
      for (const auto& v : variants_)
        if (static_cast<int>(v.needs) <= level) best_[level] = v.run;
  }

  template <class... Args>
  auto operator()(const Args&... args) const {
    return best_[static_cast<int>(isa())](args...);
  }

  // Whether another variant than the reference runs.
  bool is_fast() const { return best_[static_cast<int>(isa())] != variants_.front().run; }

  // The variants this machine can run, the reference first. Tests and benchmarks walk this list.
  std::vector<Variant<Fn>> runnable() const {
    std::vector<Variant<Fn>> found;
    for (const auto& v : variants_)
      if (v.needs <= detected_isa()) found.push_back(v);
    return found;
  }

 private:
  std::vector<Variant<Fn>> variants_;
  Fn* best_[kIsas] = {};
};

}  // namespace gemloupe
