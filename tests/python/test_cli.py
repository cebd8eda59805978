"""The command line: what it prints, and what it says when something is wrong."""

import json
import subprocess
import sys

import pytest

from conftest import tiny


def run(*arguments, given=b""):
    done = subprocess.run([sys.executable, "-m", "gemloupe.cli", *map(str, arguments)], input=given, capture_output=True, timeout=120)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "tiny.gguf"
    tiny("26b").save(path)
    return path


def test_inspect(file):
    status, out, err = run("inspect", file, "--tensors")
    assert status == 0 and err == ""
    assert "3 of 10" in out and "gemma4.block_count" in out and "blk.0.attn_q.weight" in out


def test_inspect_as_json(file):
    status, out, _ = run("inspect", file, "--json")
    found = json.loads(out)
    assert status == 0 and found["kind"] == "gguf" and found["not_a_model"] is None
    assert sum(t["tensors"] for t in found["types"].values()) == len(found["tensors"])


def test_inspect_what_is_no_gemma(tmp_path):
    np_file = pytest.importorskip("safetensors.numpy")
    import numpy as np
    np_file.save_file({"some.thing": np.zeros((3, 5), np.float32)}, tmp_path / "x.safetensors")
    status, out, _ = run("inspect", tmp_path / "x.safetensors", "--tensors")
    assert status == 0 and "some.thing" in out and "no model" in out


@pytest.mark.real
def test_generate_continues_a_count(real):
    status, out, err = run("generate", "gemma3-270m", "1, 2, 3,", "-n", 4)
    assert status == 0 and out.startswith(" 4,") and "4 tokens" in err


def test_generate_perplexity_and_compare(tmp_path):
    text = tmp_path / "text"
    text.write_text("The quick brown fox jumps over the lazy dog. " * 4)
    status, out, err = run("generate", "gem-mini", "The old man", "-n", 4)
    assert status == 0 and out.strip() and "4 tokens" in err
    status, out, _ = run("generate", "gem-mini", "-", "-n", 4, "--json", given=b"The old man")
    assert status == 0 and len(json.loads(out)["tokens"]) == 4
    status, out, _ = run("perplexity", "gem-mini", text, "--context", 32, "--json")
    assert status == 0 and json.loads(out)["protocol"]["context"] == 32
    status, out, _ = run("compare", "gem-mini", "gem-mini", text, "--context", 32)
    assert status == 0 and "none: all common values have the same bits" in out
    status, out, _ = run("compare", "gem-mini", "gem-mini-dense", text, "--context", 32)
    assert status == 0 and "KL divergence" in out


@pytest.mark.parametrize("arguments, status, words", [
    (["inspect", "nothing.gguf"], 1, "nothing.gguf"), (["perplexity", "nothing.gguf", "nothing.txt"], 1, "nothing"),
    (["generate", "FILE", "text"], 1, "no tokenizer"), (["perplexity", "FILE", "nothing.txt"], 1, "nothing.txt"),
    (["--isa", "sse9", "inspect", "FILE"], 1, "sse9"), (["--threads", "0", "inspect", "FILE"], 1, "threads")])
def test_errors_are_one_line(file, arguments, status, words):
    code, out, err = run(*[file if a == "FILE" else a for a in arguments])
    assert code == status and out == "" and words in err and err.count("\n") == 1 and "Traceback" not in err


def test_wrong_usage_has_status_2():
    for arguments in (["inspect"], ["no-such-command"], ["generate", "x", "y", "--top-k", "many"]):
        code, _, err = run(*arguments)
        assert code == 2 and "Traceback" not in err


def test_version():
    import gemloupe
    assert run("--version")[1].strip() == gemloupe.__version__
