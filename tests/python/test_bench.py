"""gl.bench: what it counts, what it reports, what it refuses. No time is asserted."""

import json

import pytest
from conftest import tiny
from test_cli import run

import gemloupe as gl
from gemloupe import _core
from gemloupe.bench import busy_text, keys_seen

ROOF = gl.Roof(read=1e10, fma=1e11, integer=4e12, bf16=2e12)


def test_every_architecture(model):
    result = gl.bench(model, prompt=9, decode=3, depth=2, sessions=2, rounds=2, roof=ROOF)
    for rate in (result.prompt, result.decode):
        assert len(rate.rounds) == 2 and min(rate.rounds) <= rate.tokens_per_second <= max(rate.rounds)
        assert rate.limit > 0 and rate.share == rate.tokens_per_second / rate.limit
    assert result.load is None and result.peak >= result.rise >= 0
    assert result.protocol["fingerprint"] == model.fingerprint
    assert {"isa", "threads", "version", "numpy", "python", "arithmetic", "seed"} <= set(result.protocol)
    assert json.loads(result.to_json())["decode"]["share"] == result.decode.share
    assert "tokens/s" in str(result) and "limit" in str(result)


def test_one_without_the_other(packed):
    only_prompt, only_decode = gl.bench(packed, decode=0, prompt=4, rounds=1, roof=ROOF), gl.bench(packed, prompt=0, decode=2, rounds=1, roof=ROOF)
    assert only_prompt.decode is None and only_prompt.first_token > 0 and "decode of" not in str(only_prompt)
    assert only_decode.prompt is None and only_decode.first_token is None and "first token" not in str(only_decode)


def test_a_path_tells_how_long_it_took_to_load(packed, tmp_path):
    packed.save(tmp_path / "m.gguf")
    result = gl.bench(tmp_path / "m.gguf", prompt=2, decode=1, rounds=1, roof=ROOF)
    assert result.load > 0 and "load" in str(result)


@pytest.mark.parametrize("window", [0, 1, 3, 7, 100])
def test_keys_are_counted_one_by_one(window):
    for depth in (0, 1, 2, 5, 50):
        for rows in (1, 2, 3, 9):
            each = [depth + t + 1 for t in range(rows)]
            assert keys_seen(depth, rows, window) == sum(min(n, window) if window else n for n in each)


def test_decoding_reads_every_matrix_once(packed):
    # Everything but the embedding's rows, which are looked up; the tied head reads the table as a whole.
    work = gl.step_work(packed, rows=1, depth=0)
    caches = sum(2 * 4 * layer.kv_heads * layer.head_dim for layer in packed.config.layers)
    embed = packed.weights["embed"]
    assert work.bytes == pytest.approx(packed.bytes + embed.bytes / embed.shape[0] + caches)
    assert gl.step_work(packed, rows=1, depth=0, sessions=8).bytes < 2 * work.bytes  # the weights are shared
    assert gl.step_work(packed, rows=1, depth=100, cache="f16").bytes < gl.step_work(packed, rows=1, depth=100).bytes


def test_a_prompt_multiplies_matrices_with_every_row_until_the_last_cache_is_filled(packed):
    one, many = gl.step_work(packed, 1, 0), gl.step_work(packed, 64, 0)
    last = f"layers.{len(packed.config.layers) - 1}."
    matrices = {name: 2 * w.size for name, w in packed.weights.items() if len(w.shape) == 2}
    late = sum(size for name, size in matrices.items()
               if name == "embed" or (name.startswith(last) and not name.endswith((".attn.q", ".attn.k", ".attn.v"))))
    early = sum(matrices.values()) - late
    assert early > 0 and late > matrices["embed"]

    def attention(rows):
        last_row = [keys_seen(rows - 1, 1, 0 if x.full else x.window) for x in packed.config.layers[-1:]]
        seen = [keys_seen(0, rows, 0 if x.full else x.window) for x in packed.config.layers[:-1]] + last_row
        return sum(4 * n * x.heads * x.head_dim for n, x in zip(seen, packed.config.layers))

    assert one.operations == pytest.approx(early + late + attention(1))
    assert many.operations == pytest.approx(64 * early + late + attention(64))


def test_experts_count_as_far_as_they_are_used(experts):
    config = experts.config
    stacks = sum(w.bytes for name, w in experts.weights.items() if name.endswith((".moe.gate_up", ".moe.down")))
    one, many = gl.step_work(experts, 1, 0).bytes, gl.step_work(experts, 1000, 0).bytes
    assert stacks * (1 - config.experts_used / config.experts) < many - one
    assert gl.step_work(experts, 1, 0).float_operations > 0  # the weights are F32


def test_limits():
    work = gl.Work(bytes=1e10, operations=1e9, float_operations=0)
    assert work.seconds(ROOF, "bf16", "amx") == 1  # memory
    busy = gl.Work(bytes=1, operations=4e12, float_operations=1e11)
    assert busy.seconds(ROOF, "bf16", "amx") == 3 and busy.seconds(ROOF, "exact", "amx") == 3 and busy.seconds(ROOF, "int8", "amx") == 2
    assert busy.seconds(ROOF, "exact", "avx2") == 2  # 16-bit products: one pass


@pytest.mark.parametrize("options, kind, words", [
    (dict(prompt=-1), ValueError, "bench: prompt"), (dict(decode=1.5), TypeError, "bench: decode"), (dict(rounds=0), ValueError, "bench: rounds"),
    (dict(sessions=0), ValueError, "bench: sessions"), (dict(prompt=0, decode=0), ValueError, "both 0"),
    (dict(arithmetic="fp64"), ValueError, "fp64"), (dict(depth=10**6), ValueError, "context of 512"), (dict(cache="f8"), ValueError, "f8"),
    (dict(seed=-1), ValueError, "seed"),
])
def test_bad_input_is_one_message(packed, options, kind, words):
    with pytest.raises(kind, match=words) as caught:
        gl.bench(packed, **{"prompt": 4, "decode": 2, "rounds": 1, "roof": ROOF, **options})
    assert "\n" not in str(caught.value)


def test_the_roof_is_measured():
    roof = gl.measure_roof(seconds=0.01, bytes=1 << 24)
    assert min(roof.read, roof.fma, roof.integer, roof.bf16) > 0
    for arguments in ((0, 1 << 24), (1e9, 1 << 24), (0.01, 10)):
        with pytest.raises(ValueError, match="measure_roof"):
            _core.measure_roof(*arguments)


def test_a_busy_machine_is_named(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    assert busy_text() == ""
    monkeypatch.setattr("os.getloadavg", lambda: (5000.0, 0.0, 0.0))
    assert "5000.0 programs" in busy_text()
    result = gl.bench(tiny("gemma3"), prompt=2, decode=1, rounds=1, roof=ROOF)
    assert "busy" in result.warning and "busy" in str(result)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "tiny.gguf"
    tiny("26b").save(path)
    return path


def test_command_line(file, tmp_path):
    status, out, err = run("bench", file, "--prompt", 4, "--decode", 2, "--depth", 1, "--rounds", 1, "--json", tmp_path / "b.json")
    assert (status, err) == (0, "") and "tokens/s" in out
    found = json.loads((tmp_path / "b.json").read_text())
    assert found["protocol"]["depth"] == 1 and found["load"] > 0 and len(found["decode"]["rounds"]) == 1


@pytest.mark.parametrize("arguments, words", [
    (["nothing.gguf"], "nothing.gguf"), (["FILE", "--prompt", 10**6], "context"), (["FILE", "--arithmetic", "x"], "exact, bf16 or int8"),
    (["FILE", "--json", "no/such/folder/x.json"], "no/such/folder"),
])
def test_command_line_says_what_is_wrong(file, arguments, words):
    status, out, err = run("bench", *[file if a == "FILE" else a for a in arguments])
    assert status == 1 and out == "" and words in err and err.count("\n") == 1
