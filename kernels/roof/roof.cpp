#include "kernels/roof/roof.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>

#include "kernels/common/large_pages.h"
#include "kernels/common/team.h"

namespace gemloupe::roof {

const Kernel<ReadBytes> read_plain{
    {"reference", Isa::reference, reference::read_bytes},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::read_plain},
    {"avx512", Isa::avx512, avx512::read_plain},
#endif
};

const Kernel<ReadBytes> read_ahead{
    {"reference", Isa::reference, reference::read_bytes},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::read_ahead},
    {"avx512", Isa::avx512, avx512::read_ahead},
#endif
};

const Kernel<Spin> fma_spin{
    {"reference", Isa::reference, reference::fma_spin},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::fma_spin},
    {"avx512", Isa::avx512, avx512::fma_spin},
#endif
};

const Kernel<Spin> integer_spin{
    {"reference", Isa::reference, reference::integer_spin},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::integer_spin},
    {"avx512", Isa::avx512, avx512::integer_spin},
    {"amx", Isa::amx, amx::integer_spin},
#endif
};

const Kernel<Spin> bf16_spin{
    {"reference", Isa::reference, reference::fma_spin},
#if defined(__x86_64__)
    {"avx2", Isa::avx2, avx2::fma_spin},
    {"avx512", Isa::avx512, avx512::fma_spin},
    {"amx", Isa::amx, amx::bf16_spin},
#endif
};

namespace {

std::atomic<uint64_t> sink;  // what is read has to end somewhere

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// `amount` a second and thread at best, when work(thread, run) does it: on all threads together, or on one alone where the others
// never get a turn.
template <class Work>
double fastest(double amount, double seconds, Work&& work) {
  double rate = 0;
  const auto turn = [&](int64_t count, int64_t run) {
    const double begin = now();
    share(count, 1, [&](int64_t first, int64_t last) {
      for (int64_t thread = first; thread < last; ++thread) work(thread, run);
    });
    rate = std::max(rate, amount * static_cast<double>(count) / (now() - begin));
  };
  with_team([&] {
    const double end = now() + seconds;
    for (int64_t run = 0; run < 20 || now() < end;) {
      turn(threads(), run++);
      if (run % 8 == 0) turn(1, run++);
    }
  });
  return rate;
}

uint64_t scrambled(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

double measure_read(double seconds, int64_t bytes) {
  const int64_t part = bytes / threads() / 64 * 64;
  const std::shared_ptr<uint8_t> buffer = map_zeros(static_cast<size_t>(bytes));
  auto* const words = reinterpret_cast<uint64_t*>(buffer.get());
  share(bytes / 8, 1 << 16, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) words[i] = scrambled(static_cast<uint64_t>(i) + 0x9e3779b97f4a7c15u);
  });
  // A slice at a time, round and round: short runs find the moments in which nobody else uses the memory.
  constexpr int64_t kSlices = 256;
  const int64_t slice = std::max<int64_t>(part / kSlices, 1);
  return fastest(static_cast<double>(slice), seconds, [&](int64_t thread, int64_t turn) {
    const auto& read = turn % 3 ? read_ahead : read_plain;
    sink = read(buffer.get() + thread * part + turn % kSlices * slice, slice);
  });
}

double measure(const Kernel<Spin>& spin, Isa level, double seconds) {
  Spin* run = nullptr;
  for (const auto& variant : spin.runnable())
    if (variant.needs <= level) run = variant.run;
  // So many rounds that a run takes about half a millisecond.
  const double begin = now();
  run(1000, 1);
  const auto rounds = static_cast<int64_t>(std::max(1000.0, 1000 * 5e-4 / std::max(now() - begin, 1e-7)));
  return fastest(run(1, 1) * static_cast<double>(rounds), seconds,
                 [&](int64_t thread, int64_t) { run(rounds, static_cast<uint64_t>(thread) + 1); });
}

}  // namespace gemloupe::roof
