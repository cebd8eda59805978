"""benchmarks/report.py on a small fixture: what the page holds, and what it says of files that it cannot use."""

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import report  # noqa: E402


def kernel(name, best_us, bytes_a_second, operations, of_dram, of_pipe):
    return {"name": f"{name}/min_time:0.050/real_time", "run_type": "iteration", "real_time": 1.5 * best_us, "time_unit": "us",
            "best_us": best_us, "bytes/s": bytes_a_second, "op/s": operations, "of_dram": of_dram, "of_pipe": of_pipe}


KERNELS = {"context": {}, "benchmarks": [
    *(kernel(f"strips/amx/E2B.ffn_gate/Q4_0/{n}", 300.0 * max(1, n / 8), 16e9 / max(1, n / 8), 1e11 * min(n, 8), 0.5 / max(1, n / 8),
             0.1 * min(n, 8) / 8) for n in (1, 2, 8, 32)),
    *(kernel(f"bf16/amx/E2B.ffn_gate/Q4_0/{n}", 320.0 * max(1, n / 32), 15e9, 1e11 * n, 0.47, 0.02 * n) for n in (1, 32)),
    kernel("strips/avx2/E2B.ffn_gate/Q4_0/1", 500.0, 10e9, 6e10, 0.3125, 0.5),
    {"name": "strips/avx512/E2B.ffn_gate/Q4_0/1", "run_type": "iteration", "real_time": 0, "time_unit": "ns", "error_occurred": True,
     "error_message": "disagrees with the reference"},
    {"name": "rope/avx2/270M.sliding/1", "run_type": "iteration", "real_time": 12.5, "time_unit": "ns", "bytes_per_second": 2e9},
    {"name": "rope/avx2/270M.sliding/1_mean", "run_type": "aggregate", "real_time": 99.0, "time_unit": "ns"},
]}
CURVES = {"machine": {"cores": 2, "threads": 2, "detected_isa": "amx"}, "curves": [
    {"name": "rows", "title": "Rows <many>", "x": "rows", "y": "seconds a row", "expected": "flat at the end",
     "series": {"bf16": [{"x": n, "seconds": 2e-3 / n, "least": 1e-3 / n} for n in (1, 2, 64, 2048)]}},
    {"name": "layers", "title": "Layers", "x": "layers", "y": "seconds", "expected": "straight",
     "series": {"decode": [{"x": n, "seconds": 1e-3 * n, "least": 9e-4 * n} for n in (5, 10)]}}]}
CELLS = {"notes": ["26B-A4B: transformers not measured: <50 GB>"], "cells": [
    {"cell": "a", "model": "E2B", "work": "decode", "limit": 30.0, "tokens_per_second": {"gemloupe": [20.0, 24.0, 22.0], "llama.cpp": [11.0]},
     "ratio": {"llama.cpp": 2.0}},
    {"cell": "b", "model": "26B", "work": "prompt of 512", "limit": None, "tokens_per_second": {}, "ratio": {}}]}
BENCH = {"roof": {"read": 3e10}, "protocol": {"model": "e2b", "depth": 7, "arithmetic": "bf16", "isa": "amx"},
         "prompt": {"tokens_per_second": 500.0, "limit": 1000.0, "share": 0.5}, "decode": None}


def write(folder, **documents):
    paths = []
    for name, document in documents.items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(document if isinstance(document, str) else json.dumps(document))
    return paths


def test_the_page(tmp_path, capsys):
    files = write(tmp_path, kernels=KERNELS, curves=CURVES, peers=CELLS, bench=BENCH)
    report.main([*map(str, files), "--out", str(tmp_path / "page")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "page" / "index.html")
    text = (tmp_path / "page" / "index.html").read_text()
    for words in ("disagrees with the reference", "12.5 ns", "2 GB/s", "E2B: decode", "22", "2.00", "73 %", "&lt;50 GB&gt;", "flat at the end",
                  "e2b: prompt, depth 7", "memory reads 32.0 GB/s"):
        assert words in text, words
    assert "99 ns" not in text and "1_mean" not in text and "nan" not in text.lower().replace("finance", "").split("base64")[0]
    assert "src=\"http" not in text and text.count("data:image/png;base64") == 4
    for name in ("roofline", "row-costs", "rows", "layers"):
        assert (tmp_path / "page" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / "page" / f"{name}.svg").read_text()


def test_the_fastest_of_our_variants_is_shown():
    cases = report.sort([("kernels", KERNELS)])[0]
    best = {(case.room, case.rest): case.variant for case in report.best_variants(cases)}
    assert best["strips", "E2B.ffn_gate/Q4_0/1"] == "amx"
    assert all(not case.error for case in report.best_variants(cases))


def test_roofs_follow_from_the_shares():
    memory, units = report.roofs(report.sort([("kernels", KERNELS)])[0])
    assert memory == pytest.approx(32e9, rel=0.05)
    assert units["exact, amx"] == pytest.approx(8e12)


@pytest.mark.parametrize("document, words", [
    ("{", "no JSON"), ([], "expected an object"), ({"x": 1}, "neither"), ({"curves": [{}]}, "not as the benchmarks write it"),
    ({"cells": [{"model": "x"}]}, "not as the benchmarks write it"),
])
def test_what_it_cannot_use(tmp_path, document, words):
    with pytest.raises(SystemExit) as stop:
        report.main([*map(str, write(tmp_path, bad=document)), "--out", str(tmp_path / "page")])
    assert words in str(stop.value) and "bad.json" in str(stop.value)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit, match="pip install"):
        report.pyplot()


def test_no_file(tmp_path):
    with pytest.raises(SystemExit, match="nothing.json"):
        report.main([str(tmp_path / "nothing.json")])


@pytest.mark.parametrize("value, text", [(1.5e9, "1.5 G"), (2e-6, "2 µ"), (0.0, "0"), (3.0, "3"), (2e13, "20 T")])
def test_numbers(value, text):
    assert report.plain_number(value) == text
