"""Against Hugging Face Transformers, through the files of tests/golden and the script that made them.

The bound is gl.reference's: what float32 rounding does to each value of these very weights, measured by jostling every value of
the float64 oracle by what one computation may be off. Both Transformers and we compute in float32, so each may be that far off.
"""

from pathlib import Path

import numpy as np
import pytest

import gemloupe as gl
from conftest import bits

FOLDERS = sorted(path.parent for path in (Path(__file__).resolve().parents[1] / "golden").glob("*/expected.npz"))
FACTOR = 2  # two float32 programs, each within reach of the exact values


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda path: path.name)
def case(request):
    expected = dict(np.load(request.param / "expected.npz"))
    return gl.load(request.param), expected, request.param


def test_there_are_golden_files():
    assert len(FOLDERS) >= 9


def test_a_gem_file_gives_the_same_bits(case, tmp_path):
    model, _, _ = case
    model.save(tmp_path / "x.gem")
    again = gl.load(tmp_path / "x.gem", verify=True)
    ids = [2, 5, 9, 17, 3]
    assert bits(again.run(ids).logits) == bits(model.run(ids).logits)
    assert again.fingerprint == model.fingerprint


def test_logits_and_values(case):
    model, expected, folder = case
    tokens = expected["tokens"]
    reach = gl.reference.reach(*gl.reference.load(folder), tokens.tolist())
    run = model.run(tokens, record="*")
    for name, want in expected.items():
        if name in ("tokens", "greedy"):
            continue
        got = run.logits if name == "logits" else run[name]
        if want.dtype.kind == "i":
            assert (np.sort(got) == np.sort(want)).all(), name
            continue
        far = np.abs(got.reshape(want.shape).astype(np.float64) - want).max()
        assert far <= FACTOR * reach[name], f"{name}: {far} from Transformers, rounding reaches {reach[name]}"


def test_greedy_continuation(case):
    model, expected, _ = case
    found = model.generate([expected["tokens"]], max_tokens=len(expected["greedy"]), stop_ids=[], suppress=[], details=True,
                           prompt_arithmetic="exact")[0]
    assert found.tokens == expected["greedy"].tolist()


@pytest.mark.parametrize("arithmetic", ["bf16", "int8"])
def test_other_arithmetics_keep_the_contract_on_bits(case, arithmetic):
    model, expected, _ = case
    tokens = expected["tokens"]
    whole = bits(model.run(tokens, arithmetic=arithmetic).logits)
    assert bits(model.session(chunk=3).feed(tokens, "all", arithmetic)) == whole
    with gl.isa("reference"):
        assert bits(model.run(tokens, arithmetic=arithmetic).logits) == whole


@pytest.mark.parametrize("place", ["x.gguf", "folder/"])
def test_saved_again(case, tmp_path, place):
    model, expected, folder = case
    path = str(tmp_path) + "/" + place
    model.save(path)
    again = gl.load(path)
    before, after = model.run(expected["tokens"]).logits, again.run(expected["tokens"]).logits
    if again.config.attention_scale == model.config.attention_scale:
        assert bits(after) == bits(before)
    else:  # GGUF has no key for it: an unusual scale went into a norm, which moves roundings
        reach = gl.reference.reach(*gl.reference.load(folder), expected["tokens"].tolist())
        assert np.abs(after - before).max() <= FACTOR * reach["logits"]
