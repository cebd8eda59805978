"""Reading and changing values by name."""

import numpy as np
import pytest

import gemloupe as gl
from conftest import bits


def test_every_value_can_be_recorded(model, ids):
    run = model.run(ids, record="*")
    assert set(run.names) >= {n.name for n in model.graph.nodes if len(n.outputs) == 1 and n.outputs[0] == n.name}
    for name, value in model.graph.values.items():
        got = run[name]
        assert got.dtype == value.dtype and got.ndim == 1 + len(value.shape)
        assert all(want in (None, have) for want, have in zip(value.shape, got.shape[1:])), name
    assert bits(run["logits"]) == bits(run.logits)


def test_recording_changes_no_bit(model, ids):
    assert bits(model.run(ids, record="*").logits) == bits(model.run(ids).logits)


def test_an_identity_edit_changes_no_bit(model, ids):
    seen = []
    def same(x, name):
        seen.append(name)
        return x
    assert bits(model.run(ids, edit={"*": same}).logits) == bits(model.run(ids).logits)
    assert set(seen) == set(model.graph.values)


def test_an_edit_is_what_later_nodes_read(gemma3, ids):
    run = gemma3.run(ids, record=["layers.1.mid", "layers.1.ffn.norm"], edit={"layers.1.mid": np.zeros_like})
    assert not run["layers.1.mid"].any() and not run["layers.1.ffn.norm"].any()


def test_edits_apply_in_order(gemma3):
    edits = {"layers.0.mid": lambda x: x + 1.0, "layers.0.m*": lambda x: x * 2.0}
    plain = gemma3.run([2, 3], record="layers.0.mid")["layers.0.mid"]
    both = gemma3.run([2, 3], record="layers.0.mid", edit=edits)["layers.0.mid"]
    assert bits(both) == bits((plain + np.float32(1)) * np.float32(2))


def test_edit_with_double_precision_steering(gemma3):
    steering = np.linspace(-1, 1, 48)
    run = gemma3.run([2, 3], record="layers.0.mid", edit={"layers.0.mid": lambda x: x + steering})
    plain = gemma3.run([2, 3], record="layers.0.mid")["layers.0.mid"]
    assert bits(run["layers.0.mid"]) == bits((plain + steering).astype(np.float32))


def test_cached_keys_can_be_edited(gemma3, ids):
    changed = gemma3.run(ids, edit={"layers.2.attn.cache.values": lambda x: 0 * x}, record="layers.2.attn.mix")
    assert not changed["layers.2.attn.mix"].any()


def test_edited_experts(experts, ids):
    first = experts.run(ids, edit={"layers.1.moe.route.experts": lambda e: np.full_like(e, 4)}, record="layers.1.moe.route.experts")
    assert (first["layers.1.moe.route.experts"] == 4).all()


def test_edits_get_what_they_cannot_write(gemma3):
    with pytest.raises(ValueError, match="read-only"):
        gemma3.run([2], edit={"layers.0.mid": lambda x: x.__imul__(2)})


def test_given_values_take_the_place_of_computed_ones(model, ids):
    embed = model.run(ids, record="embed")["embed"]
    assert bits(model.run(ids, inputs={"embed": embed}).logits) == bits(model.run(ids).logits)
    assert bits(model.run(ids, inputs={"embed": 2 * embed}).logits) != bits(model.run(ids).logits)


def test_logits_of_all_the_last_some_and_none(gemma3, ids):
    every = gemma3.run(ids).logits
    assert every.shape == (len(ids), 260)
    assert bits(gemma3.run(ids, logits="last").logits) == bits(every[-1:])
    assert bits(gemma3.run(ids, logits=5).logits) == bits(every[-5:])
    assert gemma3.run(ids, logits=None, record="layers.0.mid").logits.shape == (0, 260)


def test_recorded_values_outlive_the_run(gemma3):
    value = gemma3.run([2, 3, 4], record="layers.0.mid")["layers.0.mid"]
    before = value.copy()
    for _ in range(3):
        gemma3.run([5, 6, 7], record="*")
    assert bits(value) == bits(before)


def test_a_run_is_a_mapping(gemma3):
    run = gemma3.run([2, 3], record=["layers.0.mid", "layers.1.mid"])
    assert list(run) == run.names == ["layers.0.mid", "layers.1.mid"] and len(run) == 2
    assert run.tokens.tolist() == [2, 3] and "exact" in repr(run) and run.protocol["arithmetic"] == "exact"
    with pytest.raises(KeyError, match="layers.1.mid"):
        run["layers.1.md"]


def test_runs_see_what_sessions_see(model, ids):
    session = model.session()
    session.feed(ids[:9])
    run = session.run(ids[9:], record="layers.1.out")
    whole = model.run(ids, record="layers.1.out")
    assert bits(run["layers.1.out"]) == bits(whole["layers.1.out"][9:]) and bits(run.logits) == bits(whole.logits[9:])


# Ops

def test_a_callable_op(gemma3, ids):
    def act(gate, up):
        inner = np.float32(0.7978845608028654) * (gate + np.float32(0.044715) * gate * gate * gate)
        return np.float32(0.5) * gate * (1 + np.tanh(inner)) * up
    mine = gemma3.replace("layers.*.ffn.act", act)
    assert len(mine.graph["layers.*.ffn.act"]) == 4 and "python(act)" in str(mine.graph["layers.0.ffn.act"])
    reach = np.abs(gemma3.run(ids).logits).max() * 1e-4  # float32 tanh of NumPy is another sequence of roundings
    assert np.abs(mine.run(ids).logits - gemma3.run(ids).logits).max() < reach


def test_a_callable_op_with_several_values(gemma3, ids):
    passing = gemma3.replace("layers.1.attn.rope*", lambda q, k, positions: (q, k))
    run = passing.run(ids, record="layers.1.attn.*")
    assert bits(run["layers.1.attn.q_rope"]) == bits(run["layers.1.attn.q_norm"])


def test_a_router_is_a_callable(experts, ids):
    class Best:
        """The house's own routing, spelled in Python."""
        def __call__(self, scores, *, weights):
            chosen, shares = gl.top_k(scores, k=3)
            return chosen, shares * weights[0].numpy()[chosen]
    mine = experts.replace("layers.*.moe.route", Best())
    assert bits(mine.run(ids).logits) == bits(experts.run(ids).logits)


def test_unused_slots_and_other_numbers_of_them(experts, ids):
    def one(scores):
        chosen, shares = gl.top_k(scores, k=1)
        return np.concatenate([chosen, np.full_like(chosen, -1)], axis=1), np.concatenate([shares, shares], axis=1)
    def only(scores):
        return gl.top_k(scores, k=1)
    a, b = (experts.replace("layers.*.moe.route", f).run(ids).logits for f in (one, only))
    assert bits(a) == bits(b)


def test_a_callable_sees_the_step(gemma3):
    seen = []
    def watch(x, residual, *, step, name):
        seen.append((name, [(s.first_row, s.rows, s.position) for s in step]))
        return x + residual
    mine = gemma3.replace("layers.0.mid", watch)
    a, b = mine.session(), mine.session()
    a.feed([2, 3])
    seen.clear()
    gl.feed([(a, [4]), (b, [2, 3, 4])])
    assert seen == [("layers.0.mid", [(0, 1, 2), (1, 3, 0)])]


def test_callables_keep_the_batch_invariant(gemma3, ids):
    mine = gemma3.replace("layers.*.ffn.post_norm", lambda x, *, weights: x * 0.5)
    one, two = mine.session(), mine.session()
    together = gl.feed([(one, ids), (two, ids[:7])])
    assert bits(together[0]) == bits(mine.session().feed(ids)) and bits(together[1]) == bits(mine.session().feed(ids[:7]))


def test_ops_of_the_core(gemma3, ids):
    narrow = gemma3.replace("layers.*.attn.mix", gl.ops.attention(window=1, scale=0.2))
    run = narrow.run(ids, record=["layers.0.attn.mix", "layers.0.attn.v"])
    # One visible key returns its value, head by head.
    assert np.allclose(run["layers.0.attn.mix"], np.repeat(run["layers.0.attn.v"], 3, axis=1), rtol=1e-6)


def test_an_op_that_does_not_fit_is_refused_when_built(gemma3):
    with pytest.raises(ValueError, match=r"layers\.0\.mid"):
        gemma3.replace("layers.0.mid", gl.ops.attention(window=0, scale=1.0))


def test_models_are_values(gemma3, ids):
    before = bits(gemma3.run(ids).logits)
    gemma3.replace("layers.0.ffn.act", lambda gate, up: gate * 0)
    gemma3.quantize({"*": "int8"})
    assert bits(gemma3.run(ids).logits) == before


def test_top_k_of_the_models():
    experts, weights = gl.top_k([[0.0, 3.0, 1.0, 3.0]], k=3)
    assert experts.tolist() == [[1, 3, 2]]  # equals go to the lower index
    p = np.exp([3.0, 3.0, 1.0]) / np.exp([3.0, 3.0, 1.0]).sum()
    assert np.allclose(weights[0], p, rtol=1e-6)
    assert gl.top_k([[0.0, 3.0]], k=1, bias=[9.0, 0.0])[0].tolist() == [[0]]
