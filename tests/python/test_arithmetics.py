"""The named arithmetics: within one, a row's bits depend on nothing but the row; each says where it was used."""

import numpy as np
import pytest

import gemloupe as gl
from conftest import CONFIGS, bits

NAMES = ["exact", "bf16", "int8"]
LEVELS = ["reference", "avx2", "avx512", "amx"]


def wide(name, format):
    """A tiny model whose matrices are whole blocks of 32 columns."""
    sizes = dict(hidden_size=64, intermediate_size=96, head_dim=32)
    return gl.random({**CONFIGS[name], **sizes, **({"moe_intermediate_size": 32} if name == "26b" else {})}, format=format, seed=3)


@pytest.fixture(scope="module", params=[("gemma3", "BF16"), ("31b", "Q4_K"), ("e2b", "Q8_0"), ("26b", "Q4_0"), ("26b", "F16"), ("31b", "F8_E4M3"),
                                        ("gemma3", "grid3_g16_min")], ids=lambda p: "-".join(p))
def mixed(request):
    name, format = request.param
    if format == "Q4_K":
        return gl.random({**CONFIGS[name], "hidden_size": 256, "intermediate_size": 256, "head_dim": 64, "global_head_dim": 64}, format=format,
                         seed=3)
    return wide(name, format)


@pytest.mark.parametrize("arithmetic", NAMES)
def test_chunks_tokens_and_threads_change_no_bit(mixed, ids, arithmetic):
    expected = bits(mixed.run(ids, arithmetic=arithmetic).logits)
    for chunk in (1, 3, 16):
        assert bits(mixed.session(chunk=chunk).feed(ids, "all", arithmetic)) == expected
    session = mixed.session()
    assert bits(np.stack([session.feed([token], arithmetic=arithmetic) for token in ids])) == expected
    with gl.threads(5):
        assert bits(mixed.run(ids, arithmetic=arithmetic).logits) == expected


@pytest.mark.parametrize("arithmetic", NAMES)
def test_instruction_sets_change_no_bit(mixed, ids, arithmetic):
    expected = bits(mixed.run(ids, arithmetic=arithmetic).logits)
    for level in LEVELS[:LEVELS.index(gl.system()["detected_isa"]) + 1]:
        with gl.isa(level):
            assert bits(mixed.run(ids, arithmetic=arithmetic).logits) == expected, level


def test_a_step_of_all_arithmetics(mixed, ids):
    sessions = [mixed.session(chunk=4) for _ in range(6)]
    how = [NAMES[i % 3] for i in range(6)]
    feeds = [(session, ids[:3 + 4 * i]) for i, session in enumerate(sessions)]
    for (_, part), name, logits in zip(feeds, how, gl.feed(feeds, arithmetic=how)):
        assert bits(logits) == bits(mixed.session().feed(part, arithmetic=name))
    then = how[1:] + how[:1]
    together = gl.feed([(session, [5]) for session in sessions], arithmetic=then)
    for (_, part), name, after, logits in zip(feeds, how, then, together):
        alone = mixed.session()
        alone.feed(part, None, name)
        assert bits(logits) == bits(alone.feed([5], arithmetic=after))


def test_arithmetics_differ_where_weights_are_packed(ids):
    model = wide("gemma3", "Q4_0")
    assert len({bits(model.run(ids, arithmetic=name).logits) for name in NAMES}) == 3


def test_f32_weights_have_float_sums_in_all(gemma3, ids):
    runs = [gemma3.run(ids, record=["layers.0.attn.*", "layers.0.ffn.*"], arithmetic=name) for name in NAMES]
    for value in ("layers.0.attn.q", "layers.0.attn.k", "layers.0.attn.v"):
        assert bits(runs[0][value]) == bits(runs[1][value]) == bits(runs[2][value])
    assert bits(runs[0]["layers.0.attn.mix"]) != bits(runs[1]["layers.0.attn.mix"])  # attention itself is in bf16
    assert bits(runs[0].logits) == bits(runs[2].logits)


def test_prefill_is_feed_in_bf16(packed, ids):
    one, two = packed.session(), packed.session()
    assert bits(one.prefill(ids)) == bits(two.feed(ids, arithmetic="bf16"))
    assert bits(one.prefill(ids, logits=3, arithmetic="exact")) == bits(two.feed(ids, logits=3))
    assert one.arithmetics == [("bf16", len(ids)), ("exact", len(ids))]


@pytest.mark.parametrize("n", [1, 4, 12, 20])
def test_rewind_reads_again_in_the_same_arithmetics(packed, ids, n):
    def read(session, count):
        for name, first, last in (("bf16", 0, 9), ("int8", 9, 12), ("exact", 12, len(ids))):
            if part := ids[first:min(last, count)]:
                session.feed(part, None, name)
        return session

    session, fresh = read(packed.session(chunk=4), len(ids)), read(packed.session(), len(ids) - n)
    session.rewind(n)
    assert session.arithmetics == fresh.arithmetics
    assert bits(session.feed([7, 8])) == bits(fresh.feed([7, 8]))


def test_fork_and_file_keep_the_arithmetics(packed, ids, tmp_path):
    session = packed.session(chunk=5)
    session.prefill(ids[:15])
    session.feed(ids[15:])
    session.save(tmp_path / "s")
    for other in (session.fork(), packed.session(tmp_path / "s")):
        assert other.arithmetics == session.arithmetics
        other.rewind(len(ids) - 2)
        assert other.arithmetics == [("bf16", 2)]
        again = packed.session()
        again.prefill(ids[:2])
        assert bits(other.feed([3])) == bits(again.feed([3]))


def test_session_files_of_another_version(packed, tmp_path):
    packed.session().save(tmp_path / "s")
    data = (tmp_path / "s").read_bytes()
    (tmp_path / "s").write_bytes(data[:7] + b"1" + data[8:])
    with pytest.raises(gl.Error, match="version '1', expected '2'"):
        packed.session(tmp_path / "s")


@pytest.mark.parametrize("how", [{}, {"prompt_arithmetic": "exact"}, {"arithmetic": "bf16"}, {"prompt_arithmetic": "int8", "arithmetic": "int8"}])
def test_generate_reads_prompts_and_writes_as_asked(packed, ids, how):
    prompt, decode = how.get("prompt_arithmetic", "bf16"), how.get("arithmetic", "exact")
    session = packed.session()
    logits, written = session.feed(ids, arithmetic=prompt), []
    for _ in range(6):
        written.append(int(np.argmax(logits)))
        logits = session.feed(written[-1:], arithmetic=decode)
    for found in (packed.generate([ids], max_tokens=6, stop_ids=[], details=True, **how)[0],
                  packed.session().generate(ids, max_tokens=6, stop_ids=[], **how)):
        assert found.tokens == written
        assert (found.protocol["prompt_arithmetic"], found.protocol["arithmetic"]) == (prompt, decode)
    stream = packed.stream(ids, max_tokens=6, stop_ids=[], **how)
    assert list(stream) is not None and stream.tokens == written and stream.protocol["arithmetic"] == decode


def test_generate_without_a_prompt_reads_the_last_token_as_before(packed, ids):
    session = packed.session()
    session.prefill(ids)
    other = session.fork()
    session.generate([], max_tokens=2, stop_ids=[], prompt_arithmetic="exact")
    assert session.arithmetics[0] == ("bf16", len(ids))
    assert session.tokens[len(ids)] == int(np.argmax(packed.run(ids, arithmetic="bf16", logits="last").logits)) and other.position == len(ids)


def test_protocols_say_the_arithmetic(packed, ids):
    session = packed.session()
    session.prefill(ids[:4])
    session.feed(ids[4:6])
    run = session.run(ids[6:], arithmetic="int8")
    assert (run.protocol["arithmetic"], run.protocol["past"]) == ("int8", "bf16 x4, exact x2")
    assert "past" not in packed.run(ids).protocol
    assert packed.perplexity(ids, context=8, arithmetic="bf16").protocol["arithmetic"] == "bf16"
    assert gl.compare(packed, packed, [ids], context=8, arithmetic="int8").protocol["arithmetic"] == "int8"
    seen = []
    model = packed.replace("layers.0.ffn.act", lambda gate, up, *, step: seen.extend(step) or gate)
    model.session().prefill(ids)
    assert [(s.rows, s.arithmetic) for s in seen] == [(len(ids), "bf16")]


def test_compare_finds_the_first_difference_in_the_same_arithmetic(packed, ids):
    other = packed.replace("layers.1.ffn.act", lambda gate, up: gate)
    found = gl.compare(packed, other, [ids], context=8, arithmetic="bf16")
    assert found.first.name == "layers.1.ffn.act" and found.kld_mean > 0


@pytest.mark.parametrize("call", [lambda m: m.session().feed([2], arithmetic="bf61"), lambda m: m.run([2], arithmetic="bf61"),
                                  lambda m: m.generate([[2]], arithmetic="bf61"), lambda m: m.generate([[2]], prompt_arithmetic="bf61"),
                                  lambda m: gl.feed([(m.session(), [2])], arithmetic="bf61"), lambda m: m.perplexity([2, 3, 4], arithmetic="bf61")])
def test_unknown_names_list_the_known_ones(gemma3, call):
    with pytest.raises(ValueError, match='"bf61" is not known; known are exact, bf16, int8, did you mean bf16'):
        call(gemma3)


def test_one_arithmetic_for_each_feed(gemma3):
    with pytest.raises(ValueError, match="one for each of 1 feeds, got 2"):
        gl.feed([(gemma3.session(), [2])], arithmetic=["exact", "bf16"])
    with pytest.raises(TypeError, match="arithmetic"):
        gemma3.generate([[2]], arithmetic=3)


@pytest.mark.real
def test_the_real_model_in_bf16_is_near_the_exact_one(real):
    text = ("The loupe is the small lens through which a gem-cutter looks at a stone before the first cut is made. " * 8)
    ids = real.tokenizer.encode(text, bos=True)
    exact, bf16 = (real.run(ids, arithmetic=name).logits.astype(np.float64) for name in ("exact", "bf16"))
    log = [x - x.max(-1, keepdims=True) for x in (exact, bf16)]
    p, q = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in log)
    assert 0 < (np.exp(p) * (p - q)).sum(-1).mean() < 2e-4
