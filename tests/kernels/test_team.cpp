// Shared work: every item once, whatever the sizes, however teams meet, after exceptions and in the child of a fork.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kernels/common/team.h"

using namespace gemloupe;

namespace {

struct Threads {
  const int before = threads();
  explicit Threads(int n) { set_threads(n); }
  ~Threads() { set_threads(before); }
};

// How many of the items were not visited exactly once, and how many ranges broke the rules. `each` ranges a thread at most.
int64_t mistakes(int64_t items, int64_t grain, int64_t each = 1) {
  std::vector<std::atomic<int>> visits(static_cast<size_t>(items));
  std::atomic<int64_t> wrong{0}, ranges{0};
  const auto visit = [&](int64_t first, int64_t last) {
    ++ranges;
    if (first < 0 || last > items || first >= last || (last - first < grain && last != items)) ++wrong;
    for (int64_t i = first; i < last; ++i) ++visits[static_cast<size_t>(i)];
  };
  if (each == 1)
    share(items, grain, visit);
  else
    deal(items, grain, visit);
  for (const auto& v : visits) wrong += v != 1;
  return wrong + (ranges > each * threads());
}

// Whether the child, in which `body` runs, ended well within some seconds.
bool child_does(bool (*body)()) {
  const pid_t child = fork();
  if (child == 0) _exit(body() ? 0 : 1);
  int status = -1;
  for (int waited = 0; waited < 2000; ++waited) {
    if (waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    usleep(10000);
  }
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return false;
}

}  // namespace

TEST_SUITE("team") {
  TEST_CASE("a share covers every item once, in ranges of whole grains") {
    for (int n : {1, 2, 3, 5}) {
      const Threads set(n);
      CAPTURE(n);
      for (int64_t items : {0, 1, 2, 3, 4, 5, 7, 16, 63, 64, 65, 1000})
        for (int64_t grain : {1, 2, 3, 16, 64, 2000}) {
          CAPTURE(items);
          CAPTURE(grain);
          CHECK(mistakes(items, grain) == 0);
          with_team([&] { CHECK(mistakes(items, grain) == 0); });
          CHECK(mistakes(items, grain, 8) == 0);
        }
    }
  }

  TEST_CASE("thousands of shares in one team, with more threads than cores") {
    for (int n : {2, 5}) {
      const Threads set(n);
      int64_t wrong = 0;
      with_team([&] {
        for (int64_t i = 0; i < 5000; ++i) {
          wrong += mistakes(1 + i % 13, 1 + i % 3);
          if (i % 1000 == 0) usleep(3000);  // the others fall asleep meanwhile
        }
      });
      CHECK(wrong == 0);
    }
  }

  TEST_CASE("teams in teams and shares in shares") {
    const Threads set(3);
    std::atomic<int64_t> inner{0};
    with_team([&] {
      with_team([&] { CHECK(mistakes(40, 1) == 0); });
      share(12, 1, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          share(10, 1, [&](int64_t a, int64_t b) { inner += b - a; });
          with_team([&] { share(10, 1, [&](int64_t a, int64_t b) { inner += b - a; }); });
        }
      });
      CHECK(mistakes(40, 1) == 0);
    });
    CHECK(inner == 12 * 20);
  }

  TEST_CASE("what threads expect changes nothing, even where there is nothing") {
    const Threads set(3);
    std::vector<uint8_t> memory(1 << 16);
    const uint8_t* const nowhere = reinterpret_cast<const uint8_t*>(uintptr_t{1} << 40);
    expect(0, {{memory.data(), memory.data()}, 1 << 15});  // outside of a team
    int64_t wrong = 0;
    with_team([&] {
      for (int i = 0; i < 300; ++i) {
        for (int thread = 0; thread < 5; ++thread)
          expect(thread, {{i % 2 ? memory.data() : nowhere, memory.data() + 4096}, i % 3 ? 1 << 15 : 0});
        wrong += mistakes(1 + i % 13, 1);
      }
    });
    CHECK(wrong == 0);
  }

  TEST_CASE("a team keeps its size") {
    const Threads set(3);
    const int at_first = threads();
    with_team([&] {
      set_threads(2);
      CHECK(threads() == at_first);
      CHECK(mistakes(100, 1) == 0);
    });
    CHECK(threads() == (at_first == 1 ? 1 : 2));
  }

  TEST_CASE("exceptions come out, and the next share works") {
    for (int n : {1, 4}) {
      const Threads set(n);
      CHECK_THROWS_WITH_AS(with_team([&] {
                             mistakes(10, 1);
                             throw std::runtime_error("in the team");
                           }),
                           "in the team", std::runtime_error);
      CHECK(mistakes(50, 1) == 0);
      // Of a piece, on whichever thread, in a team and alone; of all pieces at once, too.
      for (int64_t at : {int64_t{0}, int64_t{9}, int64_t{-1}}) {
        const auto fail = [&] {
          share(10, 1, [&](int64_t first, int64_t last) {
            if (at < 0 || (first <= at && at < last)) throw std::bad_alloc();
          });
        };
        CHECK_THROWS_AS(fail(), std::bad_alloc);
        with_team([&] {
          CHECK_THROWS_AS(fail(), std::bad_alloc);
          CHECK(mistakes(50, 1) == 0);
        });
      }
    }
  }

  TEST_CASE("several threads of the host, each with its own team") {
    const Threads set(2);
    std::atomic<int64_t> wrong{0};
    std::vector<std::thread> hosts;
    for (int h = 0; h < 3; ++h)
      hosts.emplace_back([&wrong, h] {
        for (int round = 0; round < 20; ++round)
          with_team([&] {
            for (int64_t i = 0; i < 50; ++i) wrong += mistakes(1 + (i * 7 + h) % 40, 1);
          });
      });
    for (auto& host : hosts) host.join();
    CHECK(wrong == 0);
  }

  TEST_CASE("the child of a fork works alone and does not hang") {
    const Threads set(2);
    CHECK(mistakes(100, 1) == 0);  // from here on OpenMP remembers threads that a child does not have
    const auto works = [] { return mistakes(100, 1) == 0 && threads() == 1; };
    CHECK(child_does(works));
    with_team([&] { CHECK(child_does(works)); });
    CHECK(child_does([] { return child_does([] { return mistakes(10, 1) == 0; }); }));
    CHECK(mistakes(100, 1) == 0);
  }
}
