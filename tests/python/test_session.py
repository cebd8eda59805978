"""Sessions: what one computes depends on nothing but its tokens. All to the bit."""

import numpy as np
import pytest

import gemloupe as gl
from conftest import bits, tiny


def whole(model, ids):
    return bits(model.run(ids).logits)


@pytest.mark.parametrize("chunk", [1, 2, 5, 16])
def test_chunks_change_no_bit(model, ids, chunk):
    assert bits(model.session(chunk=chunk).feed(ids, logits="all")) == whole(model, ids)


def test_token_by_token(model, ids):
    session = model.session()
    assert bits(np.stack([session.feed([token]) for token in ids])) == whole(model, ids)


def test_a_batch_of_forty(model, ids):
    others = [[2, *np.random.default_rng(i).integers(3, 240, 1 + i % 9).tolist()] for i in range(39)]
    sessions = [model.session(context=64) for _ in range(40)]
    together = gl.feed(list(zip(sessions, [ids, *others])), logits="last")
    assert bits(together[0]) == bits(model.run(ids).logits[-1])
    assert bits(together[11]) == bits(model.run(others[10]).logits[-1])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_no_bit(model, ids, threads):
    expected = whole(model, ids)
    with gl.threads(threads):
        assert whole(model, ids) == expected


@pytest.mark.parametrize("isa", ["reference", "avx2", "avx512", "amx"])
@pytest.mark.parametrize("name", ["gemma3", "e2b", "26b"])
def test_instruction_sets_change_no_bit(name, ids, isa):
    order = ["reference", "avx2", "avx512", "amx"]
    if order.index(isa) > order.index(gl.system()["detected_isa"]):
        pytest.skip(f"this machine has no {isa}")
    model = tiny(name)
    expected = whole(model, ids)
    with gl.isa(isa):
        assert whole(model, ids) == expected


@pytest.mark.parametrize("isa", ["reference", "avx2"])
def test_instruction_sets_on_packed_weights(packed, ids, isa):
    expected = whole(packed, ids)
    with gl.isa(isa):
        assert whole(packed, ids) == expected


def test_fork(model, ids):
    session = model.session()
    session.feed(ids[:11])
    other = session.fork()
    session.feed([5, 6, 7])
    assert bits(other.feed(ids[11:], logits="all")) == bits(model.run(ids).logits[11:])
    assert session.tokens == [*ids[:11], 5, 6, 7] and other.tokens == ids


@pytest.mark.parametrize("n", [1, 4, 12, 20])
def test_rewind(model, ids, n):
    session = model.session(chunk=4)
    session.feed(ids)
    session.rewind(n)
    assert session.position == len(ids) - n
    assert bits(session.feed(ids[-n:], logits="all")) == bits(model.run(ids).logits[-n:])


def test_clear(model, ids):
    session = model.session()
    session.feed([7, 8, 9])
    session.clear()
    assert bits(session.feed(ids, logits="all")) == whole(model, ids)


def test_save_and_load(model, ids, tmp_path):
    session = model.session(chunk=5)
    session.feed(ids[:15])
    session.save(tmp_path / "s")
    again = model.session(tmp_path / "s")
    assert again.tokens == ids[:15] and again.context == session.context
    assert bits(again.feed(ids[15:], logits="all")) == bits(model.run(ids).logits[15:])


def test_half_caches_take_half_the_memory_and_are_close(model, ids):
    full, half = model.session(cache="f32"), model.session(cache="f16")
    assert half.bytes * 2 == full.bytes
    a, b = full.feed(ids, logits="all"), half.feed(ids, logits="all")
    assert bits(a) != bits(b) and np.abs(a - b).max() < 0.05 * np.abs(a).max()  # a half has 11 bits, a layer adds 2^-11 each


def test_half_caches_keep_the_contract(model, ids):
    expected = bits(model.session(cache="f16").feed(ids, logits="all"))
    assert bits(model.session(cache="f16", chunk=3).feed(ids, logits="all")) == expected


def test_a_full_context(gemma3):
    session = gemma3.session(context=8)
    session.feed([2] * 8)
    with pytest.raises(ValueError, match="context"):
        session.feed([3])
    assert session.position == 8
    session.rewind(1)
    session.feed([3])


def test_a_session_in_use_is_refused(gemma3):
    session = gemma3.session()
    def reenter(x):
        session.feed([5])
        return x
    with pytest.raises(ValueError, match="in use"):
        session.run([2, 3], edit={"layers.0.mid": reenter})
    assert session.position == 0
    session.feed([2, 3])


def test_sessions_from_many_threads(gemma3, ids):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: bits(gemma3.session().feed(ids)), range(16)))
    assert set(results) == {bits(gemma3.run(ids).logits[-1])}
