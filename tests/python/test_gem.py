"""Weights in strips and .gem files: the same model to the bit, whichever way it lies in memory."""

import numpy as np
import pytest

import gemloupe as gl
from conftest import GEMMA3, bits

IDS = [2, 10, 20, 30, 40, 50, 60]
WIDE = dict(GEMMA3, hidden_size=256, intermediate_size=512, head_dim=64, query_pre_attn_scalar=64)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    path = tmp_path_factory.mktemp("gem") / "wide.gguf"
    gl.random(WIDE, format="Q4_0", seed=3).save(path)
    return path


def test_packing_changes_no_bit(gguf):
    packed, plain = gl.load(gguf), gl.load(gguf, pack=False)
    assert bits(packed.run(IDS).logits) == bits(plain.run(IDS).logits)
    assert packed.fingerprint == plain.fingerprint
    for name, weight in plain.weights.items():
        assert packed.weights[name].data() == weight.data()
        assert np.array_equal(packed.weights[name].numpy(), weight.numpy())


def test_a_lower_instruction_set_gives_the_same_bits(gguf):
    packed = gl.load(gguf)
    expected = bits(packed.run(IDS).logits)
    with gl.isa("reference"):
        assert bits(packed.run(IDS).logits) == expected
        assert bits(gl.load(gguf).run(IDS).logits) == expected


@pytest.mark.parametrize("format", ["Q8_0", "Q4_K", "Q6_K", "NVFP4", "nf4", "grid3_g32", "BF16"])
def test_any_format_comes_back(tmp_path, format):
    model = gl.random(WIDE, format=format, seed=4)
    model.save(tmp_path / "x.gem")
    again = gl.load(tmp_path / "x.gem", verify=True)
    assert bits(again.run(IDS).logits) == bits(model.run(IDS).logits)
    assert again.bytes_by_format() == model.bytes_by_format()
    assert [again.weights[n].data() for n in again.weights] == [model.weights[n].data() for n in model.weights]


def test_a_quantized_model_saves_as_itself(gguf, tmp_path):
    model = gl.load(gguf).quantize({"layers.*": gl.grid(bits=3, group=64), "*": "Q8_0"})
    for name in ("x.gem", "y.gem"):
        model.save(tmp_path / name)
        model = gl.load(tmp_path / name)
    model.save(tmp_path / "x.gem")  # over a file that a model is mapped from
    assert (tmp_path / "x.gem").read_bytes() == (tmp_path / "y.gem").read_bytes()
    assert bits(gl.load(tmp_path / "x.gem").run(IDS).logits) == bits(model.run(IDS).logits)


def test_tokenizer_and_template_come_along(tmp_path):
    model = gl.load("gem-mini")
    model.save(tmp_path / "mini.gem")
    again = gl.load(tmp_path / "mini.gem")
    text = "The quick brown fox, 12 times."
    assert list(again.tokenizer.encode(text)) == list(model.tokenizer.encode(text))
    assert again.generate("Once", max_tokens=8, temperature=0) == model.generate("Once", max_tokens=8, temperature=0)


def test_a_damaged_weight_is_found_when_asked(tmp_path):
    path = tmp_path / "x.gem"
    gl.random(WIDE, format="Q4_0", layers=1, seed=5).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    gl.load(path)
    with pytest.raises(gl.Error, match="damaged"):
        gl.load(path, verify=True)


def test_cut_files_and_other_files_are_refused(tmp_path, gguf):
    path = tmp_path / "x.gem"
    gl.random(WIDE, format="Q4_0", layers=1, seed=5).save(path)
    data = path.read_bytes()
    for length in (0, 1, 7, 8, 63, 64, 100, 5000, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(gl.Error, match="x.gem"):
            gl.load(path)
    path.write_bytes(gguf.read_bytes())
    with pytest.raises(gl.Error, match="begins with the letters"):
        gl.load(path)


def test_replaced_ops_are_not_for_files(tmp_path, gguf):
    model = gl.load(gguf).replace("layers.0.ffn.act", gl.ops.add())
    with pytest.raises(ValueError, match="replaced"):
        model.save(tmp_path / "x.gem")
    assert not (tmp_path / "x.gem").exists()
