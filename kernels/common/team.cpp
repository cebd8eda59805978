#include "kernels/common/team.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace gemloupe {
namespace {

int cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

int at_first() {
  if (const char* text = std::getenv("GEMLOUPE_THREADS"))
    if (int n = std::atoi(text); n > 0) return n;
  return cores();
}

std::atomic<int>& current() {
  static std::atomic<int> n{at_first()};
  return n;
}

}  // namespace

int threads() { return current(); }
void set_threads(int n) { current() = std::max(1, n); }

namespace detail {

void run_team(int64_t items, int64_t grain, void (*body)(void*, int64_t, int64_t), void* context) {
  if (items <= 0) return;
  grain = std::max<int64_t>(1, grain);
  const int64_t parts = std::min<int64_t>(threads(), (items + grain - 1) / grain);
  if (parts <= 1) return body(context, 0, items);
#if defined(_OPENMP)
  if (omp_in_parallel()) return body(context, 0, items);
#pragma omp parallel for schedule(static, 1) num_threads(static_cast<int>(parts))
#endif
  for (int64_t p = 0; p < parts; ++p) {
    // Cuts at multiples of the grain keep whole blocks together.
    const int64_t blocks = (items + grain - 1) / grain;
    const int64_t first = blocks * p / parts * grain, last = std::min(items, blocks * (p + 1) / parts * grain);
    if (first < last) body(context, first, last);
  }
}

}  // namespace detail
}  // namespace gemloupe
