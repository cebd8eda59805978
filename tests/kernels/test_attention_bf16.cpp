#include <doctest/doctest.h>

#include "kernels/attention/bf16.h"
#include "tests/kernels/attention_problem.h"

namespace gemloupe {
namespace {

using namespace tests;

TEST_SUITE("attention_bf16") {
  TEST_CASE("variants agree over shapes, windows, rings and threads") {
    struct Shape {
      int heads, kv_heads, head_dim;
    };
    int checked = 0;
    for (const Shape s : {Shape{1, 1, 1}, Shape{2, 1, 16}, Shape{3, 3, 32}, Shape{4, 2, 48}, Shape{8, 8, 24}, Shape{8, 1, 64},
                          Shape{4, 4, 80}, Shape{7, 1, 33}, Shape{40, 1, 16}, Shape{8, 4, 256}, Shape{2, 1, 512}})
      for (const int64_t rows : {1, 5, 16, 17, 33, 70})
        for (const int64_t first : {int64_t{0}, int64_t{123}, int64_t{1} << 33})
          for (const int64_t extra : {0, 1, 27, 83, 300, 700})
            for (const int64_t window : {0, 1, 7, 32, 50, 300})
              for (const bool half : {false, true}) {
                if ((rows * 7 + first + extra * 3 + window + half + s.head_dim + s.heads) % 29) continue;
                const int64_t keys = rows + extra;
                Problem p(s.heads, s.kv_heads, s.head_dim, first, first + keys, keys + (extra % 2 ? 0 : 3), rows, half);
                Rows expected = p.empty();
                p.run(reference::attention_bf16, window, expected, 0.7f);
                for (const auto& variant : attention_bf16.runnable()) {
                  if (variant.run == reference::attention_bf16) continue;
                  const int n = some_threads();
                  Threads team(n);
                  Rows y = p.empty();
                  p.run(variant.run, window, y, 0.7f);
                  const bool same = same_bits(y.view(), expected.view()) && y.gaps_untouched();
                  if (!same) {
                    CAPTURE(variant.name);
                    CAPTURE(s.heads);
                    CAPTURE(s.kv_heads);
                    CAPTURE(s.head_dim);
                    CAPTURE(rows);
                    CAPTURE(first);
                    CAPTURE(extra);
                    CAPTURE(window);
                    CAPTURE(half);
                    CAPTURE(n);
                    CHECK(same);
                  }
                  ++checked;
                }
              }
    CHECK(checked > 200);
  }

  TEST_CASE("few keys, every number of them and every place of the first") {
    for (int64_t keys = 1; keys <= 100; ++keys) {
      const int64_t rows = 1 + keys * 7 % std::min<int64_t>(keys, 40), first = keys * 37 % 300;
      Problem p(2, 1, 32, first, first + keys, keys, rows, keys % 3 == 0);
      const int64_t window = keys % 4 == 1 ? 20 : 0;
      Rows expected = p.empty();
      p.run(reference::attention_bf16, window, expected);
      for (const auto& variant : attention_bf16.runnable()) {
        Rows y = p.empty();
        p.run(variant.run, window, y);
        CAPTURE(variant.name);
        CAPTURE(keys);
        CHECK(same_bits(y.view(), expected.view()));
      }
    }
  }

  // A stretch is 32 MiB of tiles: 16384 keys of width 256 for two heads.
  TEST_CASE("more keys than one stretch of tiles") {
    Problem p(2, 2, 225, 100, 100 + 17000, 17000, 3, true);
    Rows expected = p.empty();
    p.run(reference::attention_bf16, 0, expected);
    for (const auto& variant : attention_bf16.runnable()) {
      if (variant.run == reference::attention_bf16) continue;
      Rows y = p.empty();
      p.run(variant.run, 0, y);
      CAPTURE(variant.name);
      CHECK(same_bits(y.view(), expected.view()));
    }
  }

  TEST_CASE("magnitudes at which products and sums fall below the smallest normal number, or overflow") {
    const float sizes[] = {0x1p-149f, 0x1p-127f, 0x1p-122f, 0x1p-116f, 0x1p-60f, 0x1p-45f, 1.0f, 30.0f, 0x1p60f, 0x1p127f};
    // Queries and keys, under a scale that shows what became of their products.
    const float small[3][2] = {{0x1p-95f, 0x1p-30f}, {0x1p-50f, 0x1p-75f}, {0x1p-62f, 0x1p-62f}};
    std::mt19937 random(5);
    for (int round = 0; round < 150; ++round) {
      const bool half = round % 5 == 0;
      Problem p(2, 1, 40, 17, 17 + 70, 75, 20, half);
      const bool scaled = round % 3 == 0;
      const float* const pair = small[random() % 3];
      const float q = scaled ? pair[0] : sizes[random() % 10], k = scaled ? pair[1] : sizes[random() % 10];
      const float v = sizes[random() % 10], scale = scaled ? 0x1p125f : 1.0f;
      for (int64_t t = 0; t < p.rows; ++t)
        for (int i = 0; i < 80; ++i) p.q.at(t, i) *= scaled || random() % 4 ? q : 1.0f;
      for (int64_t t = 0; t < 70; ++t)
        for (int i = 0; i < 40; ++i) {
          p.keys.at(t, i) *= scaled || random() % 4 ? k : 1.0f;
          p.values.at(t, i) *= random() % 4 ? v : 1.0f;
        }
      p.write(reference::cache_write);
      Rows expected = p.empty();
      p.run(reference::attention_bf16, 30, expected, scale);
      for (const auto& variant : attention_bf16.runnable()) {
        Rows y = p.empty();
        p.run(variant.run, 30, y, scale);
        CAPTURE(variant.name);
        CAPTURE(q);
        CAPTURE(k);
        CAPTURE(v);
        CHECK(same_bits(y.view(), expected.view()));
      }
    }
  }

  TEST_CASE("agrees with softmax in double") {
    for (const bool half : {false, true}) {
      Problem p(4, 2, 48, 200, 200 + 390, 390, 3, half);
      const auto cell = [&](float x) { return static_cast<double>(half ? f16_to_float(float_to_f16(x)) : x); };
      for (const auto& variant : attention_bf16.runnable()) {
        Rows y = p.empty();
        p.run(variant.run, 340, y);
        for (int64_t t = 0; t < p.rows; ++t)
          for (int h = 0; h < p.heads; ++h) {
            const int64_t position = p.first_position() + t - 200, column = h / 2 * 48;
            std::vector<double> weight(390, 0.0);
            double total = 0, magnitude = 0, low = INFINITY, high = -INFINITY;
            for (int64_t k = position - 339; k <= position; ++k) {
              double score = 0, size = 0;
              for (int d = 0; d < 48; ++d) {
                const double product = static_cast<double>(p.q.at(t, h * 48 + d)) * cell(p.keys.at(k, column + d));
                score += product;
                size += std::fabs(product);
              }
              total += weight[k] = std::exp(score);
              magnitude = std::max(magnitude, size);
              low = std::min(low, score);
              high = std::max(high, score);
            }
            for (int d = 0; d < 48; ++d) {
              double expected = 0, spread = 0, sum = 0;
              for (int64_t k = 0; k < 390; ++k) expected += weight[k] / total * cell(p.values.at(k, column + d));
              for (int64_t k = 0; k < 390; ++k) {
                spread += weight[k] / total * std::fabs(cell(p.values.at(k, column + d)) - expected);
                sum += weight[k] / total * std::fabs(cell(p.values.at(k, column + d)));
              }
              // Two factors rounded by 2^-9 each make a score off by 2^-8 of its terms; a weight is off by that much and by its
              // own rounding of 2^-9, which moves the mean by twice that times the mean distance from it (once for the weight,
              // once for what all of them sum to). A value is rounded by 2^-9. Float sums, exponentials, the rescaling and
              // second-order terms are below a tenth of all that.
              CHECK(high - low < 20);  // no weight is left out
              const double weights = 0x1p-8 * magnitude + 0x1p-9;
              const double bound = 1.1 * (2 * weights * spread + 0x1p-9 * sum);
              CHECK(std::fabs(y.at(t, h * 48 + d) - expected) <= bound);
            }
          }
      }
    }
  }

  TEST_CASE("one visible key returns its value, rounded") {
    for (const bool half : {false, true})
      for (const auto& variant : attention_bf16.runnable()) {
        Problem p(4, 2, 40, 10, 30, 20, 6, half);
        Rows y = p.empty();
        p.run(variant.run, 1, y);
        for (int64_t t = 0; t < p.rows; ++t)
          for (int64_t i = 0; i < 4 * 40; ++i) {
            const float value = p.values.at(14 + t, i / 80 * 40 + i % 40);
            CHECK(y.at(t, i) == bf16_to_float(float_to_bf16(half ? f16_to_float(float_to_f16(value)) : value)));
          }
      }
  }

  TEST_CASE("a row sees its window and nothing else") {
    for (const float odd : {NAN, INFINITY, -INFINITY})
      for (const bool half : {false, true})
        for (const auto& variant : attention_bf16.runnable()) {
          CAPTURE(variant.name);
          Problem p(2, 1, 32, 0, 100, 100, 10, half);
          Rows before = p.empty(), after = p.empty(), expected = p.empty();
          p.run(variant.run, 16, before);
          // Row t is at 90 + t and sees 75 + t .. 90 + t. What stands at 79 must reach rows 0 to 4, and at 97 rows 7 to 9.
          p.values.at(79, 3) = odd;
          p.keys.at(97, 5) = NAN;
          p.write(reference::cache_write);
          p.run(variant.run, 16, after);
          p.run(reference::attention_bf16, 16, expected);
          CHECK(same_bits(after.view(), expected.view()));
          for (int64_t t = 0; t < 10; ++t)
            for (int i = 0; i < 64; ++i) {
              const bool hit = (t <= 4 && i % 32 == 3) || t >= 7;
              CAPTURE(t);
              CHECK((hit ? !std::isfinite(after.at(t, i)) : same_bits(after.at(t, i), before.at(t, i))));
            }
        }
  }

  TEST_CASE("a prompt in chunks and token by token has the bits of the whole") {
    for (const auto& variant : attention_bf16.runnable())
      for (const int64_t window : {int64_t{0}, int64_t{20}, int64_t{300}}) {
        Problem p(4, 1, 64, 230, 230 + 370, 370, 370, true);
        Rows whole = p.empty();
        if (variant.run == reference::attention_bf16) continue;
        p.run(variant.run, window, whole);
        for (const int64_t chunk : {1, 7, 40}) {
          Rows y = p.empty();
          for (int64_t t = 0; t < 370; t += chunk) {
            const int64_t n = std::min<int64_t>(chunk, 370 - t);
            KeyValues cache = p.cache();
            cache.last = 230 + t + n;
            const Matrix<float> q = p.q.view(), out = y.view();
            variant.run({q.row(t), n, q.cols, q.stride}, 230 + t, cache, 4, 1, 64, 1.0f, window, {out.row(t), n, out.cols, out.stride});
          }
          CAPTURE(variant.name);
          CAPTURE(chunk);
          CHECK(same_bits(y.view(), whole.view()));
        }
      }
  }

  TEST_CASE("a ring of the window's size has the bits of a cache of everything") {
    for (const auto& variant : attention_bf16.runnable()) {
      Problem all(4, 2, 40, 0, 150, 150, 3, true), ring(4, 2, 40, 0, 150, 150, 3, true);
      // The last 22 positions serve 3 rows with a window of 20, in a ring of 22 slots that wraps in their midst.
      ring.first = 128;
      ring.capacity = 22;
      for (int64_t p = 0; p < 150; ++p) {
        const Matrix<float> k = all.keys.view(), v = all.values.view();
        cache_write(Matrix<const float>{k.row(p), 1, k.cols, k.stride}, p, static_cast<void*>(ring.key_ring.data()), int64_t{22},
                    ring.stride, true);
        cache_write(Matrix<const float>{v.row(p), 1, v.cols, v.stride}, p, static_cast<void*>(ring.value_ring.data()), int64_t{22},
                    ring.stride, true);
      }
      Rows a = all.empty(), b = all.empty();
      all.run(variant.run, 20, a);
      ring.run(variant.run, 20, b);
      CHECK(same_bits(a.view(), b.view()));
    }
  }

  TEST_CASE("nothing to see gives zeros; scores of NaN and infinity do not crash") {
    for (const auto& variant : attention_bf16.runnable()) {
      Problem p(2, 1, 24, 5, 9, 8, 2, false);
      Rows y = p.empty();
      KeyValues none = p.cache();
      none.last = none.first;
      variant.run(p.q.view(), 7, none, 2, 1, 24, 1.0f, 0, y.view());
      for (int i = 0; i < 48; ++i) CHECK(y.at(1, i) == 0.0f);
      variant.run(p.q.view(), 2, p.cache(), 2, 1, 24, 1.0f, 0, y.view());  // queries older than every key
      for (int i = 0; i < 48; ++i) CHECK(y.at(0, i) == 0.0f);
      for (const float odd : {NAN, INFINITY, -INFINITY, 3e38f})
        for (const float scale : {1.0f, -0.5f, 0.0f}) {
          for (int i = 0; i < 24; ++i) p.q.at(0, i) = odd;
          Rows expected = p.empty();
          p.run(reference::attention_bf16, 0, expected, scale);
          p.run(variant.run, 0, y, scale);
          CHECK(same_bits(y.view(), expected.view()));
        }
    }
  }
}

}  // namespace
}  // namespace gemloupe
