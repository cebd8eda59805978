"""benchmarks/curves.py: what it calls a kink, and that it runs. No time is asserted."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import curves  # noqa: E402


def points(*pairs):
    return [{"x": x, "all": seconds, "least": 0.5} for x, seconds in pairs]


def test_a_curve_that_is_flat_and_then_straight_has_no_kink():
    assert curves.kinks(points((1, 1.0), (2, 1.0), (4, 1.05), (8, 2.1), (16, 4.2))) == []
    assert curves.kinks(points((1, 1.0))) == []


@pytest.mark.parametrize("found, words", [
    (points((1, 1.0), (3, 2.0), (4, 1.5)), ["3 takes 1.33 times as long as 4"]),                  # a hole: more rows, less time
    (points((16, 1.0), (17, 1.5), (32, 1.6)), ["17 takes 1.50 times as long as 16"]),             # a step
])
def test_holes_and_steps_are_noted(found, words):
    assert curves.kinks(found) == words


@pytest.mark.slow
def test_the_curves(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["curves.py", "--curves", "rows", "context", "--file", "gem-mini", "--quick", "--rounds", "1",
                                      "--out", str(tmp_path / "c.json")])
    curves.main()
    found = json.loads((tmp_path / "c.json").read_text())["curves"]
    assert [curve["name"] for curve in found] == ["rows", "context"]
    assert all(point["seconds"] > 0 and point["least"] > 0 for curve in found for line in curve["series"].values() for point in line)
    assert "share" in capsys.readouterr().err
