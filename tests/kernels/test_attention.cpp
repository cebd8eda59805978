#include <doctest/doctest.h>

#include "tests/kernels/attention_problem.h"

namespace gemloupe {
namespace {

using namespace tests;

TEST_SUITE("attention") {
  TEST_CASE("variants agree over shapes, windows, rings and threads") {
    struct Shape {
      int heads, kv_heads, head_dim;
    };
    int checked = 0;
    for (const Shape s : {Shape{1, 1, 1}, Shape{2, 1, 24}, Shape{3, 1, 40}, Shape{4, 4, 72}, Shape{6, 2, 15}, Shape{8, 1, 64},
                          Shape{4, 2, 80}, Shape{7, 1, 33}, Shape{40, 1, 16}, Shape{8, 1, 256}, Shape{2, 1, 512}})
      for (const int64_t rows : {int64_t{1}, int64_t{2}, int64_t{3}, int64_t{17}, int64_t{70}})
        for (const int64_t first : {int64_t{0}, int64_t{123}})
          for (const int64_t extra : {int64_t{0}, int64_t{1}, int64_t{61}, int64_t{200}})
            for (const int64_t window : {int64_t{0}, int64_t{1}, int64_t{5}, int64_t{64}})
              for (const bool half : {false, true}) {
                if ((rows * 7 + first + extra * 3 + window + half + s.head_dim) % 8) continue;  // an eighth of all, evenly
                const int64_t keys = rows + extra;
                Problem p(s.heads, s.kv_heads, s.head_dim, first, first + keys, keys + (extra % 2 ? 0 : 3), rows, half);
                Rows expected = p.empty();
                p.run(reference::attention, window, expected, 0.7f);
                for (const auto& variant : attention.runnable()) {
                  const int n = some_threads();
                  Threads team(n);
                  Rows y = p.empty();
                  p.run(variant.run, window, y, 0.7f);
                  const bool same = same_bits(y.view(), expected.view()) && y.gaps_untouched();
                  if (!same) {
                    CAPTURE(variant.name);
                    CAPTURE(s.heads);
                    CAPTURE(s.head_dim);
                    CAPTURE(rows);
                    CAPTURE(extra);
                    CAPTURE(window);
                    CAPTURE(half);
                    CAPTURE(n);
                    CHECK(same);
                  }
                  ++checked;
                }
              }
    CHECK(checked > 500);
  }

  TEST_CASE("long contexts: few blocks are shared inside, many whole, all alike") {
    for (const bool half : {false, true})
      for (const int64_t rows : {int64_t{1}, int64_t{5}, int64_t{64}}) {
        Problem p(8, 1, 128, 0, 1500, 1500, rows, half);
        Rows expected = p.empty();
        p.run(reference::attention, 0, expected);
        for (const auto& variant : attention.runnable())
          for (const int n : {1, 2, 5}) {
            if (variant.run == reference::attention) continue;
            Threads team(n);
            Rows y = p.empty();
            p.run(variant.run, 0, y);
            CAPTURE(variant.name);
            CHECK(same_bits(y.view(), expected.view()));
          }
      }
  }

  TEST_CASE("agrees with softmax in double") {
    Problem p(4, 2, 48, 0, 90, 90, 3, false);
    for (const auto& variant : attention.runnable()) {
      Rows y = p.empty();
      p.run(variant.run, 40, y);
      for (int64_t t = 0; t < p.rows; ++t)
        for (int h = 0; h < p.heads; ++h) {
          const int64_t position = p.first_position() + t, column = h / 2 * 48;
          std::vector<double> weight(90, 0.0);
          double total = 0, magnitude = 0;
          for (int64_t k = position - 39; k <= position; ++k) {
            double score = 0, size = 0;
            for (int d = 0; d < 48; ++d) {
              score += static_cast<double>(p.q.at(t, h * 48 + d)) * p.keys.at(k, column + d);
              size += std::fabs(static_cast<double>(p.q.at(t, h * 48 + d)) * p.keys.at(k, column + d));
            }
            total += weight[k] = std::exp(score);
            magnitude = std::max(magnitude, size);
          }
          for (int d = 0; d < 48; ++d) {
            double expected = 0, sum = 0;
            for (int64_t k = 0; k < 90; ++k) {
              expected += weight[k] / total * p.values.at(k, column + d);
              sum += std::fabs(weight[k] / total * p.values.at(k, column + d));
            }
            // A score is off by 3 + 4 roundings of its terms and one of the difference, on both sides of the quotient; an
            // exponential by an ulp (two roundings); 40 keys are added; one division.
            const double bound = (2 * (8 * magnitude + 2) + 40 + 7 + 1) * 0x1p-24 * sum;
            CHECK(std::fabs(y.at(t, h * 48 + d) - expected) <= bound);
          }
        }
    }
  }

  TEST_CASE("one visible key returns its value exactly") {
    for (const bool half : {false, true})
      for (const auto& variant : attention.runnable()) {
        Problem p(4, 2, 40, 10, 30, 20, 6, half);
        Rows y = p.empty();
        p.run(variant.run, 1, y);
        for (int64_t t = 0; t < p.rows; ++t)
          for (int64_t i = 0; i < 4 * 40; ++i) {
            const float value = p.values.at(14 + t, i / 80 * 40 + i % 40);
            CHECK(y.at(t, i) == (half ? f16_to_float(float_to_f16(value)) : value));
          }
      }
  }

  TEST_CASE("a row sees its window and nothing else") {
    for (const auto& variant : attention.runnable()) {
      CAPTURE(variant.name);
      Problem p(2, 1, 32, 0, 100, 100, 10, false);
      Rows before = p.empty();
      p.run(variant.run, 16, before);
      // Row t is at 90 + t and sees 75 + t .. 90 + t. NaN at 79 must reach rows 0 to 4, and 97 rows 7 to 9.
      p.values.at(79, 3) = NAN;
      p.keys.at(97, 5) = NAN;
      p.write(reference::cache_write);
      Rows after = p.empty();
      p.run(variant.run, 16, after);
      for (int64_t t = 0; t < 10; ++t)
        for (int i = 0; i < 64; ++i) {
          const bool hit = (t <= 4 && i % 32 == 3) || t >= 7;
          CAPTURE(t);
          CHECK((hit ? std::isnan(after.at(t, i)) : same_bits(after.at(t, i), before.at(t, i))));
        }
    }
  }

  TEST_CASE("a prompt in chunks and token by token has the bits of the whole") {
    for (const auto& variant : attention.runnable())
      for (const int64_t window : {int64_t{0}, int64_t{20}}) {
        Problem p(4, 1, 64, 0, 75, 75, 75, true);
        Rows whole = p.empty();
        p.run(variant.run, window, whole);
        for (const int64_t chunk : {1, 2, 7, 32}) {
          Rows y = p.empty();
          for (int64_t t = 0; t < 75; t += chunk) {
            const int64_t n = std::min<int64_t>(chunk, 75 - t);
            KeyValues cache = p.cache();
            cache.last = t + n;
            const Matrix<float> q = p.q.view(), out = y.view();
            variant.run({q.row(t), n, q.cols, q.stride}, t, cache, 4, 1, 64, 1.0f, window,
                        {out.row(t), n, out.cols, out.stride});
          }
          CHECK(same_bits(y.view(), whole.view()));
        }
      }
  }

  TEST_CASE("a ring of the window's size has the bits of a cache of everything") {
    for (const auto& variant : attention.runnable()) {
      Problem all(4, 2, 40, 0, 150, 150, 3, true), ring(4, 2, 40, 0, 150, 150, 3, true);
      // The last 22 positions serve 3 rows with a window of 20, in a ring of 22 slots that wraps in their midst.
      ring.first = 128;
      ring.capacity = 22;
      for (int64_t p = 0; p < 150; ++p) {
        const Matrix<float> k = all.keys.view(), v = all.values.view();
        cache_write(Matrix<const float>{k.row(p), 1, k.cols, k.stride}, p, static_cast<void*>(ring.key_ring.data()),
                    int64_t{22}, ring.stride, true);
        cache_write(Matrix<const float>{v.row(p), 1, v.cols, v.stride}, p, static_cast<void*>(ring.value_ring.data()),
                    int64_t{22}, ring.stride, true);
      }
      Rows a = all.empty(), b = all.empty();
      all.run(variant.run, 20, a);
      ring.run(variant.run, 20, b);
      CHECK(same_bits(a.view(), b.view()));
    }
  }

  TEST_CASE("nothing to see gives zeros; scores of NaN and infinity do not crash") {
    for (const auto& variant : attention.runnable()) {
      Problem p(2, 1, 24, 5, 9, 8, 2, false);
      Rows y = p.empty();
      KeyValues none = p.cache();
      none.last = none.first;
      variant.run(p.q.view(), 7, none, 2, 1, 24, 1.0f, 0, y.view());
      for (int i = 0; i < 48; ++i) CHECK(y.at(1, i) == 0.0f);
      variant.run(p.q.view(), 2, p.cache(), 2, 1, 24, 1.0f, 0, y.view());  // queries older than every key
      for (int i = 0; i < 48; ++i) CHECK(y.at(0, i) == 0.0f);
      for (const float odd : {NAN, INFINITY, -INFINITY, 3e38f}) {
        for (int i = 0; i < 24; ++i) p.q.at(0, i) = odd;
        Rows expected = p.empty();
        p.run(reference::attention, 0, expected);
        p.run(variant.run, 0, y);
        CHECK(same_bits(y.view(), expected.view()));
      }
    }
  }
}

TEST_SUITE("cache_write") {
  TEST_CASE("variants agree; the ring keeps the last rows") {
    for (const int64_t cols : kAwkward)
      for (const bool half : {false, true})
        for (const int64_t rows : {int64_t{1}, int64_t{5}, int64_t{12}}) {
          Rows x(rows, cols, 4, 1e4f);
          const float odd[] = {1e-8f, -65519.99f, 65520.0f, NAN, INFINITY, 6.1e-5f, -0.0f, 5.96e-8f};
          for (int64_t i = 0; i < std::min<int64_t>(cols, 8); ++i) x.at(rows - 1, i) = odd[i];
          const int64_t stride = cols + 2, capacity = 7;
          std::vector<float> expected(capacity * stride, 7.0f);
          reference::cache_write(x.view(), 1000, expected.data(), capacity, stride, half);
          for (const auto& variant : cache_write.runnable()) {
            CAPTURE(variant.name);
            std::vector<float> ring(capacity * stride, 7.0f);
            variant.run(x.view(), 1000, ring.data(), capacity, stride, half);
            CHECK(std::memcmp(ring.data(), expected.data(), ring.size() * 4) == 0);
            if (!half) CHECK(same_bits(ring[(1000 + rows - 1) % 7 * stride + cols - 1], x.at(rows - 1, cols - 1)));
          }
        }
  }
}

}  // namespace
}  // namespace gemloupe
