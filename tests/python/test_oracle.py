"""The graph against the NumPy oracle, at every named value, for every configuration of tests/golden.

The bound is the oracle's own: reach() runs the float64 model with every value moved by what float32 rounding may move it, and takes
the largest distance seen. Nothing is tuned.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import gemloupe as gl
from gemloupe import reference

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
FOLDERS = sorted(p.parent.name for p in GOLDEN.glob("*/expected.npz"))


@pytest.fixture(scope="module", params=FOLDERS)
def golden(request):
    folder = GOLDEN / request.param
    config, weights = reference.load(folder)
    tokens = np.load(folder / "expected.npz")["tokens"]
    return folder, config, weights, tokens


def rows(value: np.ndarray) -> np.ndarray:
    return np.asarray(value).reshape(len(value), -1)


def test_every_value_agrees_with_the_oracle(golden):
    folder, config, weights, tokens = golden
    expected = reference.run(config, weights, tokens)
    reach = reference.reach(config, weights, tokens)
    run = gl.load(folder).run(tokens.tolist(), record=["*"])
    compared = 0
    for name, value in expected.items():
        got = run.logits if name == "logits" else run[name]
        assert rows(got).shape == rows(value).shape, name
        if np.issubdtype(np.asarray(value).dtype, np.integer):
            assert np.array_equal(rows(got), rows(value)), name
        else:
            distance = np.abs(rows(got).astype(np.float64) - rows(value)).max()
            assert distance <= reach[name], f"{name}: {distance} away, float32 rounding explains {reach[name]}"
        compared += 1
    assert compared > 20 * len(config.layers)
    # And the other way: the graph has no value that the oracle does not explain.
    assert set(run.names) <= set(expected)


def test_weights_have_the_same_names(golden):
    folder, config, weights, _ = golden
    assert set(gl.load(folder).weights) == set(weights)
