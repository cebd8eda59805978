#include <doctest/doctest.h>

#include "csrc/core/names.h"

using namespace gemloupe;

TEST_SUITE("names") {
  TEST_CASE("a star matches any run of characters, dots too") {
    CHECK(matches("layers.*.attn.mix", "layers.0.attn.mix"));
    CHECK(matches("layers.*.attn.mix", "layers.17.attn.mix"));
    CHECK(!matches("layers.*.attn.mix", "layers.0.attn.mix.more"));
    CHECK(matches("*", ""));
    CHECK(matches("*", "anything at all"));
    CHECK(matches("layers.3.*", "layers.3.ffn.gate"));
    CHECK(!matches("layers.3.*", "layers.30.ffn.gate"));
    CHECK(matches("*mix*mix", "mixmixmix"));
  }

  TEST_CASE("sets, single characters and alternatives") {
    CHECK(matches("layers.[0-3].out", "layers.2.out"));
    CHECK(!matches("layers.[0-3].out", "layers.4.out"));
    CHECK(matches("layers.?.out", "layers.4.out"));
    CHECK(!matches("layers.?.out", "layers.44.out"));
    CHECK(matches("layers.*.attn.{q,k}_rope", "layers.1.attn.k_rope"));
    CHECK(!matches("layers.*.attn.{q,k}_rope", "layers.1.attn.v_rope"));
    CHECK(matches("a[", "a["));
    CHECK(!matches("", "a"));
  }

  TEST_CASE("a pattern full of stars stays linear in each") {
    const std::string name(4000, 'a');
    CHECK(!matches("*a*a*a*a*a*a*a*b", name));
  }

  TEST_CASE("near misses are offered") {
    CHECK(did_you_mean("layers.3.attn.k_rop", {"layers.3.attn.k_rope", "embed"}) == ", did you mean layers.3.attn.k_rope?");
    CHECK(did_you_mean("something else altogether", {"embed"}).empty());
  }
}
