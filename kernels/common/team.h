// The threads that share a kernel's work. The only door to OpenMP.
#pragma once

#include <cstdint>
#include <type_traits>

namespace gemloupe {

int threads();             // how many share the work; at first the cores this process may use, or GEMLOUPE_THREADS
void set_threads(int n);   // at least 1

namespace detail {
void run_team(int64_t items, int64_t grain, void (*body)(void*, int64_t, int64_t), void* context);
}

// Calls body(first, last) for disjoint ranges that cover [0, items), each of at least `grain` items (but the last), on all
// threads. A result must not depend on where the cuts fall: give each output element to one call, never split a sum.
// The body must not throw.
template <class Body>
void share(int64_t items, int64_t grain, Body&& body) {
  detail::run_team(
      items, grain,
      [](void* context, int64_t first, int64_t last) { (*static_cast<std::remove_reference_t<Body>*>(context))(first, last); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace gemloupe
