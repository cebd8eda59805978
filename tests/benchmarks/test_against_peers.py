"""benchmarks/against_peers.py on a tiny model, alone and beside engines that are made for the test. No time is asserted."""

import json
import sys
from pathlib import Path

import pytest

import gemloupe as gl

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import against_peers  # noqa: E402

TINY = dict(model_type="gemma4_text", vocab_size=262144, hidden_size=32, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1,
            head_dim=16, global_head_dim=16, sliding_window=7, num_hidden_layers=2, num_kv_shared_layers=0, hidden_size_per_layer_input=0,
            layer_types=["sliding_attention", "full_attention"], max_position_embeddings=512, tie_word_embeddings=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("peers") / "tiny.gguf"
    gl.random(TINY, format="Q4_0").save(path)
    return path


@pytest.mark.parametrize("apart", [[], ["--apart"]])
def test_the_table(file, tmp_path, capsys, apart):
    against_peers.main(["--file", f"e2b={file}", "--cells", "e2b-decode", "e2b-prompt-512-at-8192", "e2b-sessions", "--peers", "--rounds", "2",
                        "--short", "5", "--threads", "1", "--json", str(tmp_path / "t.json"), *apart])
    out = capsys.readouterr().out
    assert "| E2B, Q4_0 | prompt of 5 at depth 5 |" in out and "8 sessions decode" in out and "not measured" not in out
    assert ("one at a time" in out) == bool(apart)
    found = json.loads((tmp_path / "t.json").read_text())
    for cell in found["cells"]:
        assert len(cell["tokens_per_second"]["gemloupe"]) == 2 and cell["limit"] > 0
    assert found["versions"]["gemloupe"]["threads"] == 1


def test_what_is_lacking_is_said(file, capsys):
    against_peers.main(["--cells", "26b-decode", "--file", f"26b={file.parent / 'none.gguf'}", "--peers", "--rounds", "1"])
    assert "26B-A4B, Q4_0: not measured: no file" in capsys.readouterr().out


def test_ratios_are_of_the_same_round():
    table, cell = against_peers.Table(), against_peers.CELLS[0]
    for ours, theirs in ((1.0, 2.0), (4.0, 4.0), (1.0, 3.0)):
        table.add(cell, "gemloupe", ours)
        table.add(cell, "llama.cpp", theirs)
    table.limits[cell.name] = 2 * cell.steps
    text = list(against_peers.lines(table, [cell], ["gemloupe", "llama.cpp"]))[2]
    assert "| 2 (1 … 3) |" in text and "50 %" in text
    table.add(cell, "gemloupe", None)
    assert len(table.speeds[cell.name]["gemloupe"]) == 3


@pytest.mark.parametrize("arguments, words", [
    (["--rounds", "0"], "at least 1"), (["--cells", "x*"], "no such cell"), (["--file", "e2b"], "MODEL=FILE"), (["--isa", "neon"], "invalid choice"),
])
def test_bad_options(arguments, words, capsys):
    with pytest.raises(SystemExit):
        against_peers.options_of(arguments)
    assert words in capsys.readouterr().err


def test_cells_count_their_tokens():
    for cell in against_peers.CELLS:
        assert bool(cell.prompt) != bool(cell.steps) and cell.model in against_peers.SIZES
        assert cell.context == cell.before + cell.prompt + cell.steps and (cell.before >= 1 or cell.prompt)
        assert cell.cut(3).context <= 6
