"""Bad input: a clear message of the right kind, nothing lost, nothing crashed."""

import json
import struct
import sys

import numpy as np
import pytest

import gemloupe as gl
from conftest import CONFIGS, bits, tiny

needs_notes = pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes before Python 3.11")


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tiny("gemma3").save(path)
    return path.read_bytes()


def load_bytes(tmp_path, data):
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    return gl.load(path)


# Files

def test_a_missing_file(tmp_path):
    with pytest.raises(gl.Error, match="nothing.gguf"):
        gl.load(tmp_path / "nothing.gguf")


def test_errors_are_runtime_errors():
    assert issubclass(gl.Error, RuntimeError) and gl.Error.__module__ == "gemloupe"


@pytest.mark.parametrize("data", [b"", b"GG", b"not a model at all" * 100, b"\x00" * 4096, b"PK\x03\x04" * 99])
def test_not_a_model(tmp_path, data):
    with pytest.raises(gl.Error, match="x.gguf"):
        load_bytes(tmp_path, data)


def test_every_truncation_is_an_error(tmp_path, gguf):
    for length in [4, 8, 24, 25, 100, 1000, len(gguf) // 2, len(gguf) - 1]:
        with pytest.raises(gl.Error):
            load_bytes(tmp_path, gguf[:length])


def test_flipped_bits_never_crash(tmp_path, gguf):
    random = np.random.default_rng(0)
    header = gguf.find(b"output_norm") + 200
    refused = 0
    for _ in range(150):
        data = bytearray(gguf)
        data[random.integers(0, header)] ^= 1 << random.integers(0, 8)
        try:
            load_bytes(tmp_path, bytes(data)).run([2, 3], logits="last")
        except (gl.Error, ValueError) as error:
            assert str(error)
            refused += 1
    assert refused > 50


def places(gguf, name):
    """Where a tensor's dimensions, its type and its offset stand in the file."""
    at = gguf.index(name) + len(name)
    dims, = struct.unpack_from("<I", gguf, at)
    return at + 4, at + 4 + 8 * dims, at + 4 + 8 * dims + 4


def changed(gguf, form, place, value):
    data = bytearray(gguf)
    struct.pack_into(form, data, place, value)
    return bytes(data)


def test_an_offset_out_of_range(tmp_path, gguf):
    _, _, offset = places(gguf, b"output_norm.weight")
    with pytest.raises(gl.Error, match="output_norm"):
        load_bytes(tmp_path, changed(gguf, "<Q", offset, 1 << 60))


def test_an_unknown_type(tmp_path, gguf):
    _, kind, _ = places(gguf, b"output_norm.weight")
    with pytest.raises(gl.Error, match="output_norm"):
        load_bytes(tmp_path, changed(gguf, "<I", kind, 4242))


def test_absurd_dimensions(tmp_path, gguf):
    dimensions, _, _ = places(gguf, b"output_norm.weight")
    with pytest.raises(gl.Error, match="output_norm"):
        load_bytes(tmp_path, changed(gguf, "<Q", dimensions, 1 << 62))


def test_overlapping_tensors(tmp_path, gguf):
    _, _, place = places(gguf, b"blk.1.attn_norm.weight")
    offset, = struct.unpack_from("<Q", gguf, place)
    with pytest.raises(gl.Error, match="overlap|attn_norm"):
        load_bytes(tmp_path, changed(gguf, "<Q", place, offset - 32))


def test_a_missing_tensor(tmp_path, gguf):
    with pytest.raises(gl.Error, match="blk.1.attn_norm"):
        load_bytes(tmp_path, gguf.replace(b"blk.1.attn_norm.weight", b"blk.1.attn_nrom.weight"))


def test_shapes_that_contradict_the_configuration(tmp_path):
    tiny("gemma3").save(str(tmp_path) + "/")
    config = json.loads((tmp_path / "config.json").read_text())
    config["intermediate_size"] = 64
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(gl.Error, match=r"64.*60|60.*64"):
        gl.load(tmp_path)


@pytest.mark.parametrize("change", [dict(hidden_size=0), dict(hidden_size=-4), dict(num_attention_heads=5), dict(head_dim=23),
                                    dict(vocab_size=10**15), dict(layer_types=["sliding_attention"]), dict(model_type="llama"),
                                    dict(sliding_window="many"), dict(num_hidden_layers=10**9)], ids=str)
def test_absurd_configurations(change):
    with pytest.raises((gl.Error, ValueError)):
        gl.random({**CONFIGS["gemma3"], **change})


def test_config_that_is_no_json(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(gl.Error, match="config.json"):
        gl.random(tmp_path)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(gl.Error):
        gl.load(tmp_path)


def test_nan_weights_give_nan_and_no_crash(gemma3):
    broken = gemma3.quantize({"layers.1.ffn.up": lambda w: w * np.nan})
    logits = broken.run([2, 3]).logits
    assert np.isnan(logits).all()
    for temperature in (0.0, 1.0):
        with pytest.raises(gl.Error, match="NaN"):
            broken.generate([[2, 3]], max_tokens=3, temperature=temperature)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"model": {"type": "BPE"}}', b"\xff\xfe", b'{"model": {"type": "WordPiece"}}'])
def test_no_tokenizer(tmp_path, data):
    (tmp_path / "tokenizer.json").write_bytes(data)
    with pytest.raises(gl.Error):
        gl.Tokenizer(tmp_path)


def test_a_model_without_tokenizer(gemma3, tmp_path):
    for call in (lambda: gemma3.run("text"), lambda: gemma3.generate("text"), lambda: gemma3.perplexity("text")):
        with pytest.raises(ValueError, match="no tokenizer"):
            call()


# Tokens and prompts

@pytest.mark.parametrize("ids", [[260], [-1], [2**31], [-(2**40)], [2, 10**18]], ids=str)
def test_ids_out_of_range(gemma3, ids):
    session = gemma3.session()
    for call in (lambda: gemma3.run(ids), lambda: session.feed(ids), lambda: gemma3.generate([ids])):
        with pytest.raises(ValueError, match="vocabulary"):
            call()
    assert session.position == 0


@pytest.mark.parametrize("ids", [[[2, 3]], [2.5], ["a"], [None]], ids=str)
def test_what_are_no_ids(gemma3, ids):
    with pytest.raises(ValueError):
        gemma3.run(ids)


def test_empty_prompts(gemma3):
    for call in (lambda: gemma3.run([]), lambda: gemma3.session().feed([]), lambda: gemma3.generate([[]]),
                 lambda: gemma3.perplexity([]), lambda: list(gemma3.stream([])), lambda: gl.feed([])):
        with pytest.raises(ValueError):
            call()
    assert gemma3.generate([]) == []


def test_one_list_of_ids_where_many_belong(gemma3):
    with pytest.raises(ValueError, match=r"\[\["):
        gemma3.generate([2, 3, 4])


def test_empty_texts(speaker):
    with pytest.raises(ValueError, match="empty"):
        speaker.perplexity("")
    with pytest.raises(ValueError, match="empty"):
        gl.compare(speaker, speaker, [""])
    assert speaker.run("").tokens.tolist() == [speaker.bos]  # a text of nothing is a sequence that only begins


def test_invalid_utf8(speaker):
    assert speaker.tokenizer.decode(speaker.tokenizer.encode(b"a\xff\xfeb")) == "a��b"
    with pytest.raises(ValueError, match="surrogate"):
        speaker.tokenizer.encode("a\udc80")
    with pytest.raises(ValueError, match="surrogate"):
        speaker.run("a\udc80")


def test_contexts_too_long(gemma3):
    for call in (lambda: gemma3.session(context=513), lambda: gemma3.run([2] * 513), lambda: gemma3.generate([[2] * 513]),
                 lambda: gemma3.perplexity([2] * 2000, context=1000)):
        with pytest.raises(ValueError, match="context"):
            call()


def test_a_prompt_longer_than_the_context_loses_nothing(gemma3, ids):
    session = gemma3.session(context=25)
    session.feed(ids)
    with pytest.raises(ValueError, match="25"):
        session.feed([3, 4, 5])
    assert session.tokens == ids
    assert bits(session.feed([3, 4])) == bits(gemma3.run([*ids, 3, 4]).logits[-1])


# Names, callables, arrays

@pytest.mark.parametrize("arguments", [dict(record="layers.9.mid"), dict(edit={"layers.0.mdi": lambda x: x}),
                                       dict(inputs={"embde": np.zeros((2, 48))})], ids=["record", "edit", "inputs"])
def test_names_that_match_nothing(gemma3, arguments):
    with pytest.raises(ValueError, match="no value"):
        gemma3.run([2, 3], **arguments)


def test_near_misses_are_named(gemma3):
    with pytest.raises(ValueError, match=r"layers\.0\.mid"):
        gemma3.run([2], edit={"layers.0.mdi": lambda x: x})
    with pytest.raises(ValueError, match=r"layers\.0\.mid"):
        gemma3.replace("layers.0.mdi", lambda a, b: a)


@pytest.mark.parametrize("edit", [lambda x: x[:1], lambda x: x[:, :3], lambda x: x[None], lambda x: 0.0, lambda x: None, lambda x: "no",
                                  lambda x: x + 1j, lambda x: [[1], [2, 3]], lambda x: x.astype(str)],
                         ids=["rows", "width", "dimensions", "number", "none", "text", "complex", "ragged", "strings"])
def test_edits_of_another_shape_or_type(gemma3, edit):
    session = gemma3.session()
    with pytest.raises(ValueError, match=r"layers\.1\.mid"):
        session.run([2, 3], edit={"layers.1.mid": edit})
    assert session.position == 0


def test_floats_where_experts_belong(experts):
    with pytest.raises(ValueError, match="route.experts"):
        experts.run([2, 3], edit={"layers.0.moe.route.experts": lambda e: e + 0.5})


@pytest.mark.parametrize("expert", [10, 2**31 - 1])
def test_experts_that_do_not_exist(experts, expert):
    with pytest.raises(ValueError, match="layers.0.moe"):
        experts.run([2, 3], edit={"layers.0.moe.route.experts": lambda e: np.full_like(e, expert)})


class Own(Exception):
    pass


@needs_notes
def test_what_an_edit_raises_comes_through(gemma3, ids):
    error = Own("mine")
    def fail(x):
        raise error
    session = gemma3.session()
    session.feed(ids)
    with pytest.raises(Own) as caught:
        session.run([5], edit={"layers.1.mid": fail})
    assert caught.value is error and any("layers.1.mid" in note for note in error.__notes__)
    assert session.tokens == ids
    assert bits(session.feed([5])) == bits(gemma3.run([*ids, 5]).logits[-1])


@needs_notes
def test_what_an_op_raises_comes_through(gemma3):
    def fail(gate, up):
        raise Own("mine")
    with pytest.raises(Own) as caught:
        gemma3.replace("layers.2.ffn.act", fail).run([2])
    assert any("layers.2.ffn.act" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("op, words", [
    (lambda gate, up: gate[:, :7], r"\[row, 60\].*\[2, 7\]"), (lambda gate, up: (gate, up), "1 arrays, got 2"),
    (lambda gate, up: gate + 1j, "complex"), (lambda gate, up: None, "float32"), (lambda gate, up: gate[:1], "2 rows")],
    ids=["width", "count", "complex", "none", "rows"])
def test_ops_that_return_something_else(gemma3, op, words):
    with pytest.raises(ValueError, match=r"layers\.2\.ffn\.act.*" + words):
        gemma3.replace("layers.2.ffn.act", op).run([2, 3])


def test_one_array_where_two_belong(gemma3):
    with pytest.raises(ValueError, match="tuple of 2"):
        gemma3.replace("layers.0.attn.rope", lambda q, k, positions: q).run([2])


def test_state_cannot_be_kept_by_a_callable(gemma3):
    with pytest.raises(ValueError, match="keeps state"):
        gemma3.replace("layers.0.attn.cache", lambda k, v: (k, v, k))


def test_what_is_not_callable(gemma3):
    for call in (lambda: gemma3.replace("layers.0.mid", 3), lambda: gemma3.run([2], edit={"layers.0.mid": 3}),
                 lambda: gemma3.quantize({"*": 3})):
        with pytest.raises(TypeError):
            call()


@needs_notes
def test_quantizers_that_raise_or_return_something_else(gemma3):
    def fail(w):
        raise Own("mine")
    with pytest.raises(Own) as caught:
        gemma3.quantize({"layers.1.ffn.up": fail})
    assert any("layers.1.ffn.up" in note for note in caught.value.__notes__)
    for wrong in (lambda w: w.T, lambda w: w[0], lambda w: None):
        with pytest.raises(ValueError, match=r"layers\.1\.ffn\.up"):
            gemma3.quantize({"layers.1.ffn.up": wrong})


@pytest.mark.parametrize("values", [np.zeros((1, 48)), np.zeros((2, 47)), np.zeros(2), np.zeros((2, 48), complex)], ids=lambda v: str(v.shape))
def test_given_values_that_do_not_fit(gemma3, values):
    with pytest.raises(ValueError, match="embed"):
        gemma3.run([2, 3], inputs={"embed": values})


# Options

@pytest.mark.parametrize("options", [dict(temperature=-1.0), dict(temperature=float("nan")), dict(top_p=0.0), dict(top_p=1.5), dict(top_k=-1),
                                     dict(min_p=-0.1), dict(min_p=2.0), dict(repetition_penalty=0.0), dict(seed=-1), dict(max_tokens=-1),
                                     dict(logit_bias={260: 1.0}), dict(suppress=[-1]), dict(stop=["x"]), dict(together=0)], ids=str)
def test_options_without_meaning(gemma3, options):
    with pytest.raises(ValueError):
        gemma3.generate([[2, 3]], **{"max_tokens": 2, **options})


def test_unknown_options(gemma3):
    with pytest.raises(TypeError, match="temprature"):
        gemma3.generate([[2]], temprature=1.0)


@pytest.mark.parametrize("call", [
    lambda m: gl.grid(bits=0), lambda m: gl.grid(bits=9), lambda m: gl.grid(bits=3, group=7), lambda m: gl.grid(bits=2, levels=[1]),
    lambda m: gl.grid(bits=2, levels=[0, 1, 2, 999]), lambda m: gl.grid(bits=4, scale="f64"), lambda m: gl.format_named("Q9_Z"),
    lambda m: m.quantize({"*": "Q9_Z"}), lambda m: m.quantize({"layers.77.*": "int8"}), lambda m: gl.isa("sse9"), lambda m: gl.threads(0),
    lambda m: m.session(cache="f8"), lambda m: m.session(chunk=0), lambda m: m.session().rewind(1), lambda m: m.save("x.bin"),
    lambda m: m.run([2], arithmetic="int4"), lambda m: m.run([2], logits="some"), lambda m: m.run([2], logits=2),
    lambda m: gl.random("gemma5"), lambda m: gl.top_k([[1.0, 2.0]], k=3), lambda m: gl.top_k([1.0], k=1),
    lambda m: gl.compare(m, m, []), lambda m: m.perplexity([2, 3], context=1), lambda m: gl.random("e2b", seed=-1)])
def test_arguments_without_meaning(gemma3, call):
    with pytest.raises(ValueError) as error:
        call(gemma3)
    assert len(str(error.value)) > 10


# Sessions in files

def test_damaged_and_foreign_sessions(gemma3, ids, tmp_path):
    session = gemma3.session()
    session.feed(ids)
    path = tmp_path / "s"
    session.save(path)
    data = path.read_bytes()
    with pytest.raises(gl.Error):
        tiny("gemma3", layers=3).session(path)
    for broken in (b"", data[:10], data[:-1], b"x" + data[1:], data[:len(data) // 2]):
        path.write_bytes(broken)
        with pytest.raises(gl.Error):
            gemma3.session(path)
    with pytest.raises(gl.Error):
        gemma3.session(tmp_path / "nothing")


def test_a_folder_that_cannot_be_written(gemma3, tmp_path):
    with pytest.raises(gl.Error):
        gemma3.save(tmp_path / "no" / "such" / "x.gguf")
    with pytest.raises(gl.Error):
        gemma3.session().save(tmp_path / "no" / "such" / "s")


def test_sessions_of_two_models_in_one_step(gemma3, packed):
    with pytest.raises(ValueError, match="one model"):
        gl.feed([(gemma3.session(), [2]), (packed.session(), [2])])
    session = gemma3.session()
    with pytest.raises(ValueError, match="twice"):
        gl.feed([(session, [2]), (session, [3])])
