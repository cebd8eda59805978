// The threads that share a kernel's work. The only door to OpenMP.
//
// with_team opens one parallel region for many calls of share, for example for a whole step: its other threads wait inside for
// work, so that sharing costs a fraction of a microsecond. They wait awake for some milliseconds: to wake a sleeping one takes
// longer than much of what is shared. Work is claimed piece by piece, and the calling thread claims too: a thread that the system
// has put aside holds nothing up but the piece that it is at.
#pragma once

#include <cstdint>
#include <type_traits>

namespace gemloupe {

int threads();             // how many share the work; at first the cores this process may use, or GEMLOUPE_THREADS. One in a
                           // build without OpenMP, and in a process that was forked from one that had shared work
void set_threads(int n);   // at least 1

namespace detail {
void run_team(int64_t items, int64_t grain, int64_t each, void (*body)(void*, int64_t, int64_t), void* context);
void open_team(void (*body)(void*), void* context);

template <class Body>
void run_team(int64_t items, int64_t grain, int64_t each, Body& body) {
  run_team(
      items, grain, each, [](void* context, int64_t first, int64_t last) { (*static_cast<Body*>(context))(first, last); },
      const_cast<void*>(static_cast<const void*>(&body)));
}
}  // namespace detail

// Calls body(first, last) for at most threads() disjoint ranges that cover [0, items), each of at least `grain` items (but the
// last). A result must not depend on where the cuts fall: give each output element to one call, never split a sum.
// Inside a body, share runs on the calling thread. What a body throws comes out when all ranges have been tried.
template <class Body>
void share(int64_t items, int64_t grain, Body&& body) {
  detail::run_team(items, grain, 1, body);
}

// The same in up to eight times as many ranges, for a body that has nothing to set up: threads of unequal speed, or items of
// unequal weight, then end together.
template <class Body>
void deal(int64_t items, int64_t grain, Body&& body) {
  detail::run_team(items, grain, 8, body);
}

// What a thread will probably read next, in two streams side by side: `bytes` from each.
struct Expected {
  const uint8_t* stream[2] = {};
  int64_t bytes = 0;
};

// Tells thread `thread` of the team (0 is the calling one) what to expect. Where it has to wait it meanwhile asks for that, line by
// line, so that memory does not rest while one thread does the little things between two products. A hint: it changes no result.
void expect(int thread, const Expected& what);

// Runs body() on the calling thread, with the team at hand for every share in it. The body may throw. A team in a team is the
// same team.
template <class Body>
void with_team(Body&& body) {
  detail::open_team([](void* context) { (*static_cast<std::remove_reference_t<Body>*>(context))(); },
                    const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace gemloupe
