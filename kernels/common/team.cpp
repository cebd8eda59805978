#include "kernels/common/team.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__)
#include <pthread.h>
#endif

namespace gemloupe {
namespace {

int cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
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

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// How a thread waits: some tenths of a millisecond it stays on its core, then it offers the core to others between looks. Where
// there are more threads than cores the one that is waited for may need this core, so it is offered at once.
class Patience {
 public:
  explicit Patience(bool crowded) : pauses_(crowded ? 0 : 8000) {}
  // A short while. False when milliseconds have gone by.
  bool wait() {
    if (waited_++ < pauses_) {
      pause();
      return true;
    }
    const auto now = std::chrono::steady_clock::now();
    if (waited_ == pauses_ + 1) offered_ = now;
    std::this_thread::yield();
    return now - offered_ < std::chrono::milliseconds(4);
  }

 private:
  int pauses_;
  int waited_ = 0;
  std::chrono::steady_clock::time_point offered_;
};

// What one thread expects, written by the leading thread while it may be read: a torn hint asks for a useless line at worst.
class alignas(64) Ahead {
 public:
  void set(const Expected& what) {
    for (int s = 0; s < 2; ++s) stream_[s].store(what.stream[s], std::memory_order_relaxed);
    bytes_.store(what.bytes, std::memory_order_relaxed);
    at_.store(0, std::memory_order_relaxed);
  }
  // Asks for the next lines; false where there are none.
  bool fetch() {
    const int64_t at = at_.load(std::memory_order_relaxed);
    if (at >= bytes_.load(std::memory_order_relaxed)) return false;
#if defined(__GNUC__)
    for (const auto& stream : stream_) {
      const uint8_t* const p = stream.load(std::memory_order_relaxed) + at;
      __builtin_prefetch(p, 0, 2);
      __builtin_prefetch(p + 64, 0, 2);
    }
#endif
    at_.store(at + 128, std::memory_order_relaxed);
    return true;
  }

 private:
  std::atomic<const uint8_t*> stream_[2] = {};
  std::atomic<int64_t> bytes_{0}, at_{0};
};

// One job at a time, cut into pieces. The ticket holds the job's number and how many pieces nobody has claimed; who takes it down
// by one owns that piece, and the job's fields stay as they are until every piece is done.
class Team {
 public:
  explicit Team(int threads) : threads_(threads), crowded_(threads > cores()), ahead_(static_cast<size_t>(threads)) {}
  int threads() const { return threads_; }
  void expect(int thread, const Expected& what) {
    if (!crowded_ && thread < threads_) ahead_[static_cast<size_t>(thread)].set(what);
  }

  void run(int64_t items, int64_t grain, int64_t each, void (*body)(void*, int64_t, int64_t), void* context) {
    blocks_ = (items + grain - 1) / grain;
    items_ = items;
    grain_ = grain;
    body_ = body;
    context_ = context;
    pieces_ = std::min<int64_t>(blocks_, threads_ * each);
    done_.store(0, std::memory_order_relaxed);
    const uint64_t job = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
    ticket_.store(job << 32 | static_cast<uint64_t>(pieces_), std::memory_order_release);
    ticket_.notify_all();
    while (claim()) {
    }
    for (Patience patience(crowded_); done_.load(std::memory_order_acquire) != pieces_;)
      if (!ahead_[0].fetch()) patience.wait();
    if (failed_.exchange(false, std::memory_order_relaxed)) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  // What the other threads do until the team is closed.
  void serve(int thread) {
    for (Patience patience(crowded_);;) {
      const uint64_t ticket = ticket_.load(std::memory_order_acquire);
      const uint32_t left = static_cast<uint32_t>(ticket);
      if (left == kClosed) return;
      if (left && claim()) {
        patience = Patience(crowded_);
      } else if (!ahead_[static_cast<size_t>(thread)].fetch() && !patience.wait()) {
        ticket_.wait(ticket, std::memory_order_acquire);
        patience = Patience(crowded_);
      }
    }
  }

  void close() {
    ticket_.store(kClosed, std::memory_order_release);
    ticket_.notify_all();
  }

 private:
  static constexpr uint32_t kClosed = 0xffffffff;

  // Claims a piece of the current job and does it; false if there is none.
  bool claim() {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    do {
      const uint32_t left = static_cast<uint32_t>(ticket);
      if (left == 0 || left == kClosed) return false;
    } while (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel, std::memory_order_acquire));
    const int64_t p = pieces_ - static_cast<int64_t>(static_cast<uint32_t>(ticket));
    // Cuts at multiples of the grain keep whole blocks together.
    const int64_t first = blocks_ * p / pieces_ * grain_, last = std::min(items_, blocks_ * (p + 1) / pieces_ * grain_);
    try {
      if (first < last) body_(context_, first, last);
    } catch (...) {
      if (!failed_.exchange(true, std::memory_order_relaxed)) failure_ = std::current_exception();
    }
    done_.fetch_add(1, std::memory_order_release);
    return true;
  }

  const int threads_;
  const bool crowded_;
  std::vector<Ahead> ahead_;
  int64_t items_ = 0, grain_ = 1, blocks_ = 0, pieces_ = 0;
  void (*body_)(void*, int64_t, int64_t) = nullptr;
  void* context_ = nullptr;
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;  // of the first piece that failed
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int64_t> done_{0};
};

// The team of the calling thread, while it is in with_team and not inside a shared body.
thread_local Team* team = nullptr;
thread_local bool inside_body = false;

#if defined(_OPENMP)
// fork() copies the calling thread alone, and GNU OpenMP would wait for ever for the others that it remembers: the child of a
// process that has had a team goes on with one thread.
std::atomic<bool> alone{false};
void be_alone() {
  alone = true;
  team = nullptr;
  inside_body = false;
}

bool watch_forks() {
#if defined(__unix__)
  pthread_atfork(nullptr, nullptr, be_alone);
#endif
  return true;
}
#endif

}  // namespace

// A team keeps its size, whatever is set meanwhile.
int threads() {
#if defined(_OPENMP)
  if (alone.load(std::memory_order_relaxed)) return 1;
  return team ? team->threads() : current().load();
#else
  return 1;
#endif
}
void set_threads(int n) { current() = std::max(1, n); }

void expect(int thread, const Expected& what) {
  if (team) team->expect(thread, what);
}

namespace detail {

void open_team(void (*body)(void*), void* context) {
  const int wanted = threads();
  if (team || inside_body || wanted == 1) return body(context);
#if defined(_OPENMP)
  [[maybe_unused]] static const bool watched = watch_forks();
  Team mine(wanted);
  std::exception_ptr failure;
#pragma omp parallel num_threads(wanted)
  {
    bool leads = false;
#pragma omp master
    leads = true;
    if (leads) {
      team = &mine;
      try {
        body(context);
      } catch (...) {
        failure = std::current_exception();
      }
      team = nullptr;
      mine.close();
    } else {
      inside_body = true;
      mine.serve(omp_get_thread_num());
      inside_body = false;
    }
  }
  if (failure) std::rethrow_exception(failure);
#else
  body(context);
#endif
}

void run_team(int64_t items, int64_t grain, int64_t each, void (*body)(void*, int64_t, int64_t), void* context) {
  if (items <= 0) return;
  grain = std::max<int64_t>(1, grain);
  if (inside_body || items <= grain || threads() == 1) return body(context, 0, items);
  if (!team) return with_team([&] { run_team(items, grain, each, body, context); });
  Team* const mine = team;
  struct Inside {
    Team* const mine;
    explicit Inside(Team* t) : mine(t) { team = nullptr, inside_body = true; }
    ~Inside() { team = mine, inside_body = false; }
  } const inside(mine);
  mine->run(items, grain, each, body, context);
}

}  // namespace detail
}  // namespace gemloupe
