"""The page of the README, and what a model tells about itself."""

import numpy as np
import pytest

import gemloupe as gl
from conftest import CONFIGS, bits


@pytest.mark.real
def test_the_page(real, tmp_path, capsys):
    model, text = real, "The quick brown fox jumps over the lazy dog. " * 6
    assert "(sliding ×5, full) ×3" in str(model)
    assert "layers.5.attn.mix" in str(model.graph["layers.5.*"])
    assert model.tokenizer.encode("Hello", special=True, bos=True) == [2, 9259]
    assert model.tokenizer.decode([2, 9259]) == "Hello"
    assert len("".join(model.stream("The capital of France is", max_tokens=4))) > 4
    texts = model.generate(["a b", "Once upon a", "1, 2, 3,"], max_tokens=4, temperature=0.7, top_k=64, top_p=0.95, min_p=0.0,
                           seed=1, stop=["\n\n"])
    assert len(texts) == 3 and all(isinstance(t, str) for t in texts)
    run = model.run("some text", record=["layers.*.attn.mix", "layers.3.*"], edit={"layers.5.mid": lambda x: 0.5 * x},
                    arithmetic="exact")
    assert run.logits.shape == (3, model.config.vocabulary) and run.logits.dtype == np.float32
    assert run["layers.3.attn.k_rope"].shape == (3, 1, 256)
    found = model.perplexity(text, context=64)
    assert found.protocol["context"] == 64 and found.value < 5
    session = model.session()
    session.feed([2, 9259, 1902])
    other = session.fork()
    session.rewind(1)
    session.save(tmp_path / "f")
    assert model.session(tmp_path / "f").tokens == [2, 9259] and other.position == 3
    odd = model.replace("layers.4.attn.rope*", lambda q, k, positions: (q, k))
    small = model.quantize({"layers.0.ffn.*": gl.grid(bits=3, group=64)})
    result = gl.compare(model, small, [text[:90]], context=32)
    assert result.kld_mean > 0 and result.first.name == "layers.0.ffn.gate" and "KL divergence" in str(result)
    assert gl.compare(model, odd, text[:40]).first.name == "layers.4.attn.q_rope"


def test_settings_as_context_managers():
    before = gl.isa(), gl.threads()
    with gl.isa("reference"), gl.threads(1):
        assert (gl.isa(), gl.threads()) == ("reference", 1)
    assert (gl.isa(), gl.threads()) == before


def test_settings_hold_without_with():
    before = gl.threads()
    try:
        gl.threads(3)
        assert gl.threads() == 3
    finally:
        gl.threads(before)


def test_random_is_a_function_of_the_seed():
    one, same, other = (gl.random(CONFIGS["gemma3"], seed=s) for s in (1, 1, 2))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert bits(one.run([2, 3]).logits) == bits(same.run([2, 3]).logits)


@pytest.mark.parametrize("size", gl.released_sizes())
def test_released_sizes(size):
    model = gl.random(size, format="q4_0", layers=2, vocabulary=64)
    assert len(model.config.layers) >= 2 and model.config.vocabulary == 64
    assert np.isfinite(model.run([2, 3, 4], logits="last").logits).all()


def test_random_from_a_file_a_folder_and_a_config(tmp_path, gemma3):
    path = tmp_path / "config.json"
    path.write_text(gemma3.config.to_json())
    prints = {gl.random(place, seed=7).fingerprint for place in (path, tmp_path, gemma3.config)}
    assert prints == {gemma3.fingerprint}


def test_weights_are_a_mapping(experts):
    stack = experts.weights["layers.0.moe.down"]
    assert stack.shape == (10, 48, 18) and stack.numpy().shape == stack.shape
    assert bits(stack[2:5]) == bits(stack.numpy()[2:5]) and bits(stack[-1]) == bits(stack.numpy()[-1])
    assert bits(stack[::-3]) == bits(stack.numpy()[::-3]) and stack[4:2].shape == (0, 48, 18)
    assert experts.weights["layers.0.attn.norm"].shape == (48,)
    assert sum(w.size for w in experts.weights.values()) == experts.parameters
    with pytest.raises(KeyError, match="layers.0.moe.down"):
        experts.weights["layers.0.moe.dwn"]
    with pytest.raises(IndexError):
        stack[10]


def test_packed_rows_are_those_of_the_whole(packed):
    w = packed.weights["layers.1.ffn.down"]
    assert w.format == "Q4_0" and len(w.data()) == w.bytes == w.shape[0] * w.shape[1] // 32 * 18
    assert bits(w[3:40:5]) == bits(w.numpy()[3:40:5])


def test_graph_tells_its_nodes_and_values(experts):
    part = experts.graph["layers.1.moe.*"]
    assert {"layers.1.moe.scores", "layers.1.moe.route"} <= {node.name for node in part}
    route = experts.graph["layers.1.moe.route"].nodes[0]
    assert route.inputs == ("layers.1.moe.scores",) and route.outputs == ("layers.1.moe.route.experts", "layers.1.moe.route.weights")
    assert experts.graph.values["layers.1.moe.scores"].shape == (10,)
    assert experts.graph.to_dot("layers.1.moe.route").count("->") == 1
    with pytest.raises(KeyError, match="layers.1.moe.route"):
        experts.graph["layers.1.moe.rout"]


def test_the_router_reads_the_residual(experts):
    assert experts.graph["layers.1.moe.query"].nodes[0].inputs == ("layers.1.mid",)


@pytest.mark.parametrize("place", ["x.gguf", "folder/", "x.gem"])
def test_save_and_load_change_no_bit(model, ids, tmp_path, place):
    path = str(tmp_path) + "/" + place
    model.save(path)
    again = gl.load(path)
    assert bits(again.run(ids).logits) == bits(model.run(ids).logits)
    assert len(again.config.layers) == len(model.config.layers) and again.config.softcap == model.config.softcap


def test_memory_counts_the_windows(gemma3):
    short, long = (gemma3.memory(n, chunk=4)["caches"] for n in (64, 512))
    full = 2 * 2 * 24 * 4  # keys and values of 2 heads, float: only the full layer grows
    assert long - short == (512 - 64) * full
    assert gemma3.memory(512, chunk=4, cache="f16")["caches"] * 2 == long
    assert gemma3.session(context=512, chunk=4).bytes == long


def test_memory_has_the_defaults_of_a_session(gemma3, experts):
    for model in (gemma3, experts):
        assert model.memory()["caches"] == model.session().bytes


def test_print_names_what_matters(experts):
    text = str(experts)
    for word in ("gemma4", "3 of 10", "sliding ×2, full", f"{experts.parameters:,}", "window 7", "F32"):
        assert word in text


def test_version_is_the_packages():
    from importlib.metadata import PackageNotFoundError, version
    try:
        assert version("gemloupe") == gl.__version__
    except PackageNotFoundError:
        pytest.skip("gemloupe runs from its sources: no installed version to compare with")


def test_reference_comes_when_asked_for():
    assert callable(gl.reference.run)
