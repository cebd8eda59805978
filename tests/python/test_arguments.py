"""Arguments of the wrong kind: each is refused in the words of the call, and none reaches the bindings' own messages."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import gemloupe as gl
from conftest import tiny

HUGE = 10**30
KINDS = {  # what is refused, and what the message must name
    "session": [(lambda m: m.session(context="a"), "context"), (lambda m: m.session(context=1.5), "context"),
                 (lambda m: m.session(context=HUGE), "context"),
                (lambda m: m.session(chunk="512"), "chunk"), (lambda m: m.session(512), "context=512"),
                 (lambda m: m.session("x", context=5), "its own context"),
                (lambda m: m.session().rewind(1.5), "rewind"), (lambda m: m.session().feed([2], arithmetic=None), "arithmetic"),
                (lambda m: m.session().feed("\udc80"), "."), (lambda m: m.session().feed({2: 3}), "dict"),
                 (lambda m: m.session().feed(None), "NoneType"),
                (lambda m: gl.feed([m.session()]), "pair"), (lambda m: gl.feed([(None, [2])]), "pair"),
                 (lambda m: m.memory("a"), "context")],
    "generate": [(lambda m: m.generate(None), "generate"), (lambda m: m.generate({"a": 1}), "generate"),
                 (lambda m: m.generate(3), "generate")]
    + [(lambda m, o=o: m.generate([[2, 3]], **{"max_tokens": 1, **o}), next(iter(o))) for o in (
        dict(max_tokens=1.5), dict(max_tokens=HUGE), dict(max_tokens="5"), dict(max_tokens=None), dict(temperature="hot"), dict(temperature=None),
        dict(temperature=HUGE**20), dict(top_k=1.5), dict(top_k=HUGE), dict(top_p="x"), dict(min_p=None), dict(repetition_penalty="x"),
        dict(repetition_window=0.5), dict(logit_bias={"a": 1.0}), dict(logit_bias={2.7: 1.0}), dict(logit_bias={5: "x"}), dict(logit_bias=[1]),
        dict(suppress=["a"]), dict(suppress=[1.9]), dict(suppress=5), dict(seed=1.5), dict(seed="x"), dict(seed=None), dict(seed=2**64),
        dict(stop=3), dict(stop=[None]), dict(stop=b"x"), dict(stop="\udc80"), dict(stop_ids=["a"]), dict(stop_ids=[1.9]), dict(together="x"))],
    "run": [(lambda m: m.run([2], record=3), "record"), (lambda m: m.run([2], record=[3]), "record"),
                 (lambda m: m.run([2], record=None), "record"),
            (lambda m: m.run([2], edit=3), "edit"), (lambda m: m.run([2], edit={3: abs}), "edit"),
                 (lambda m: m.run([2], edit=[("a", abs)]), "edit"),
            (lambda m: m.run([2], inputs=3), "inputs"), (lambda m: m.run([2], arithmetic=None), "arithmetic"),
                 (lambda m: m.run([2], logits=HUGE), "logits")],
    "change": [(lambda m: m.quantize(None), "quantize"), (lambda m: m.quantize("Q8_0"), "quantize"),
                 (lambda m: m.quantize({3: "Q8_0"}), "quantize"),
               (lambda m: m.replace(None, abs), "replace"), (lambda m: gl.grid(bits=3.5), "bits"),
                 (lambda m: gl.grid(3, group=HUGE), "group"),
               (lambda m: gl.grid(3, levels=[1.5] * 8), "levels"), (lambda m: gl.grid(2, levels="abcd"), "levels"),
                 (lambda m: gl.grid(2, scale=None), "scale"),
               (lambda m: gl.format_named(None), "format"), (lambda m: m.graph[3], "pattern")],
    "random": [(lambda m: gl.random("e2b", layers=1.5), "layers"), (lambda m: gl.random("e2b", format=None), "format"),
                 (lambda m: gl.random("e2b", seed="x"), "seed"),
               (lambda m: gl.random("e2b", vocabulary=HUGE), "vocabulary"), (lambda m: gl.random({"x": object()}), "JSON"),
               (lambda m: gl.random({"rms_norm_eps": float("nan")}), "JSON")],
    "measure": [(lambda m: m.perplexity([2, 3, 4], context=2.5), "context"),
                 (lambda m: m.perplexity([2, 3], context=float("nan")), "context"),
                (lambda m: m.perplexity(None), "NoneType"), (lambda m: gl.compare(m, None, [2, 3]), "other"),
                 (lambda m: gl.compare(m, m, None), "texts"),
                (lambda m: gl.compare(m, m, 3), "texts"), (lambda m: gl.top_k([[1.0, 2.0]], k=1.5), "k")],
    "machine": [(lambda m: gl.isa(3), "isa"), (lambda m: gl.threads(1.5), "threads"),
                 (lambda m: gl.threads(HUGE), "threads"), (lambda m: gl.threads("a"), "threads"),
                (lambda m: gl.threads(True), "threads")],
    "files": [(lambda m: gl.load(None), "load"), (lambda m: gl.load(3), "load"), (lambda m: m.save(None), "save"),
                 (lambda m: m.save(""), "empty"),
              (lambda m: m.session().save(None), "save"), (lambda m: gl.Tokenizer(None), "Tokenizer")],
    "ops": [(lambda m: gl.ops.ple_gate(-1), "layer"), (lambda m: gl.ops.kv_cache(-2), "window"),
                 (lambda m: gl.ops.attention(-1, 1.0), "window"),
            (lambda m: gl.ops.rms_norm(eps=-1.0), "eps"), (lambda m: gl.ops.rms_norm(eps=float("nan")), "eps"),
                 (lambda m: gl.ops.linear(shape=[-1, -48]), "shape"),
            (lambda m: gl.ops.embed(shape=[-1]), "shape"), (lambda m: gl.ops.linear(shape=[2**40, 2**40]), "shape"),
                 (lambda m: gl.ops.top_k(0), "k")],
}


@pytest.mark.parametrize("area", KINDS)
def test_wrong_kinds_are_named(gemma3, area):
    before = gl.threads(), gl.isa()
    for call, names in KINDS[area]:
        with pytest.raises((TypeError, ValueError), match=names) as error:
            call(gemma3)
        assert "incompatible" not in str(error.value) and "C++" not in str(error.value)
    assert (gl.threads(), gl.isa()) == before


def test_whole_numbers_of_numpy_and_either_case(gemma3, packed):
    assert gemma3.generate([np.array([2, 3])], max_tokens=np.int64(2), top_k=np.int32(4), seed=np.uint64(1), stop=None, details=True)[0].finish == "length"
    assert gemma3.session(context=np.int16(20)).context == 20
    assert packed.quantize({"*": "q8_0"}).bytes == packed.quantize({"*": "Q8_0"}).bytes
    assert gl.random("gemma3-270m", format=gl.grid(3, group=64), layers=1, vocabulary=64).weights["layers.0.ffn.up"].format == "grid3_g64"


def test_a_prefix_points_to_its_values(gemma3):
    for call in (lambda: gemma3.graph["layers.1"], lambda: gemma3.run([2], record="layers.1"), lambda: gemma3.quantize({"layers.1": "F16"})):
        with pytest.raises((KeyError, ValueError), match=r"layers\.1\.\*"):
            call()


@pytest.mark.parametrize("name", [b"m\xff.gguf", "mü 石.gguf", "M.GGUF"])
def test_paths_of_any_bytes(gemma3, tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
    for given in (path, os.fsdecode(path)):
        gemma3.save(given)
        assert gl.load(given).run([2, 3]).logits.tobytes() == gemma3.run([2, 3]).logits.tobytes()


def test_a_name_that_ends_with_a_slash_is_a_folder(gemma3, tmp_path):
    gemma3.save(f"{tmp_path}/odd.gguf/")
    assert (tmp_path / "odd.gguf" / "config.json").is_file() and gl.load(tmp_path / "odd.gguf").config.hidden == 48


@pytest.mark.parametrize("work", ["quantize", "random"])
def test_ctrl_c_stops_inside_one_big_weight(work):
    model = gl.random("gemma3-270m", layers=1, vocabulary=1 << 17)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            begin = time.monotonic()
            if work == "quantize":
                model.quantize({"embed": gl.grid(bits=3)})
            else:
                gl.random("gemma3-4b", layers=8, vocabulary=4096, format="Q4_K")
        assert time.monotonic() - begin < 3  # of five and more
    finally:
        timer.cancel()
        timer.join()


@pytest.mark.parametrize("name", ["nothing.txt", "."])
def test_texts_that_cannot_be_read(name, tmp_path, monkeypatch, capsys):
    from gemloupe import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["gemloupe", "perplexity", "model", name])
    monkeypatch.setattr(gl, "load", lambda path: tiny("gemma3"))
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 1 and said.startswith(f"gemloupe: {name}: ") and "Errno" not in said


def test_logits_that_fit_no_machine_are_not_begun():
    model = gl.random("gemma3-270m", layers=1, vocabulary=64)
    from gemloupe import session as sessions
    before, sessions.MOST_LOGITS = sessions.MOST_LOGITS, 4 * 64 * 10
    try:
        assert model.run(list(range(10))).logits.shape == (10, 64)
        with pytest.raises(ValueError, match='logits="last"'):
            model.run(list(range(11)))
        assert model.run(list(range(11)), logits="last").logits.shape == (1, 64)
    finally:
        sessions.MOST_LOGITS = before


def test_stop_ids_must_be_tokens():
    model = gl.random("gemma3-270m", layers=1, vocabulary=64)
    with pytest.raises(ValueError, match="stop_ids: token id 64 is outside the vocabulary of 64"):
        model.generate([[1, 2]], max_tokens=1, stop_ids=[64])
