"""Other weights in the same program."""

import numpy as np
import pytest

import gemloupe as gl
from conftest import bits


def test_a_grid_moves_a_weight_by_half_a_step_at_most(gemma3):
    small = gemma3.quantize({"layers.*.ffn.up": gl.grid(bits=8, group=16, scale="f32")})
    before, after = (m.weights["layers.2.ffn.up"].numpy() for m in (gemma3, small))
    groups = before.reshape(60, 3, 16)
    step = np.abs(groups).max(-1, keepdims=True) / 127 * 1.02  # the search may widen a step a little where that lowers the error
    assert (np.abs(after.reshape(groups.shape) - groups) <= step).all() and bits(before) != bits(after)


def test_the_first_pattern_that_matches_counts(packed):
    small = packed.quantize({"layers.0.*": "Q8_0", "layers.*.ffn.*": "int4", "*.attn.*": "BF16"})
    formats = {name: w.format for name, w in small.weights.items()}
    assert formats["layers.0.ffn.up"] == "Q8_0" and formats["layers.1.ffn.up"] == gl.format_named("int4").name
    assert formats["layers.1.attn.q"] == "BF16" and formats["embed"] == "Q4_0" and formats["layers.1.attn.norm"] == "F32"


def test_what_is_not_named_is_shared(packed):
    small = packed.quantize({"layers.0.ffn.up": "Q8_0"})
    assert small.weights["embed"].data() == packed.weights["embed"].data()


@pytest.mark.parametrize("scheme", ["Q8_0", "Q4_0", "BF16", "F16", "int8", "nf4", "ternary", "grid2_g64"])
def test_a_second_trip_changes_nothing(packed, scheme):
    once = packed.quantize({"layers.*": scheme})
    twice = once.quantize({"layers.*": lambda w: w}).quantize({"layers.*": scheme})
    for name in ("layers.1.ffn.down", "layers.0.attn.q"):
        assert np.array_equal(once.weights[name].numpy(), twice.weights[name].numpy())  # a zero may change its sign


def test_a_simulated_scheme_is_its_matrix(gemma3, ids):
    def three_levels(w):
        scale = np.abs(w).mean(axis=1, keepdims=True)
        return np.clip(np.round(w / scale), -1, 1) * scale
    small = gemma3.quantize({"*.ffn.*": three_levels})
    assert small.weights["layers.0.ffn.gate"].format == "F32"
    assert bits(small.weights["layers.0.ffn.gate"].numpy()) == bits(three_levels(gemma3.weights["layers.0.ffn.gate"].numpy()))
    assert np.isfinite(small.run(ids).logits).all()


def test_experts_are_quantized_one_by_one(experts):
    shapes = []
    def same(w):
        shapes.append(w.shape)
        return w
    again = experts.quantize({"layers.0.moe.down": same})
    assert shapes == [(48, 18)] * 10 and again.weights["layers.0.moe.down"].shape == (10, 48, 18)
    assert bits(again.run([2, 3, 4]).logits) == bits(experts.run([2, 3, 4]).logits)


def test_exact_means_the_arithmetic_is_close_to_the_unpacked_weights(packed, ids):
    """Int16 activations, one scale a row: half a step is 2^-16 of a row's largest, so a few 1e-4 of the logits after four layers."""
    plain = packed.quantize({"*": lambda w: w})
    a, b = packed.run(ids).logits, plain.run(ids).logits
    assert np.abs(a - b).max() < 1e-3 * np.abs(b).max()


@pytest.mark.parametrize("isa", ["reference", "avx2"])
def test_grids_have_one_result_on_every_machine(packed, ids, isa):
    small = packed.quantize({"*.ffn.*": gl.grid(bits=3, group=32, asymmetric=True), "*.attn.*": "nf4"})
    expected = bits(small.run(ids).logits)
    with gl.isa(isa):
        assert bits(small.run(ids).logits) == expected
    assert bits(small.session(chunk=3).feed(ids, logits="all")) == expected


def test_grid_levels_of_ones_own():
    levels = gl.grid(bits=2, group=32, levels=[-3, -1, 1, 3])
    assert levels.name == gl.format_named(levels.name).name
    w = np.array([[-3, -1, 1, 3] * 8], np.float32)
    packed_row = levels.pack(w)
    assert bits(packed_row.unpack(0, 1)) == bits(w)  # a group that lies on the lattice keeps it


def test_saved_grids_come_back_as_their_values(packed, ids, tmp_path):
    small = packed.quantize({"*.ffn.*": gl.grid(bits=3, group=32)})
    small.save(tmp_path / "x.gguf")
    again = gl.load(tmp_path / "x.gguf")
    assert again.weights["layers.0.ffn.up"].format == "F32"
    assert bits(again.weights["layers.0.ffn.up"].numpy()) == bits(small.weights["layers.0.ffn.up"].numpy())
    assert again.weights["layers.0.attn.q"].format == "Q4_0"
