"""Files that gemloupe writes, read by others: Transformers, the gguf package and llama.cpp. Whoever is absent is skipped.

The bound is that of test_golden: what float32 rounding does to the logits of these very weights, once for each side.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gemloupe as gl
from conftest import CONFIGS

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
FOLDERS = sorted(path.parent for path in GOLDEN.glob("*/expected.npz"))
FACTOR = 2         # two float32 programs, each within reach of the exact values
HALF = 2**24 / 2**11  # how much coarser f16 rounds than float32

TEXTS = ["The loupe shows the stone.", "  two  spaces", "ünïcødé 石は光", "<b>bold</b>\n\nagain", "<bos>the", "🎉"]


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda path: path.name)
def folder(request):
    return request.param


def golden(folder):
    """The model, its prompt, and how far rounding reaches in its logits."""
    tokens = np.load(folder / "expected.npz")["tokens"]
    return gl.load(folder), tokens, gl.reference.reach(*gl.reference.load(folder), tokens.tolist())["logits"]


def theirs(place, **where):
    """A model as Transformers loads it, in float32 with plain loops."""
    torch = pytest.importorskip("torch", reason="compares with Transformers: pip install torch transformers")
    transformers = pytest.importorskip("transformers", reason="compares with Transformers: pip install transformers")
    if "gguf_file" not in where:
        where["experts_implementation"] = "eager"  # the grouped one wants widths of whole 16 bytes
    net = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, attn_implementation="eager", **where).eval()

    def logits(tokens):
        with torch.no_grad():
            return net(torch.tensor(np.asarray(tokens, np.int64)[None])).logits[0].numpy()

    return logits


@pytest.mark.parametrize("form", ["F32", "BF16"])
def test_transformers_reads_a_folder(folder, form, tmp_path):
    model, tokens, _ = golden(folder)
    model = model.quantize({"*": form})
    model.save(str(tmp_path) + "/")
    logits = theirs(tmp_path)
    reach = gl.reference.reach(*gl.reference.load(tmp_path), tokens.tolist())["logits"]
    assert np.abs(logits(tokens) - model.run(tokens).logits).max() <= FACTOR * reach


def test_transformers_reads_a_gguf(tmp_path):
    """Its reader knows one attention scale, one pattern of layers and one local theta: those of the released Gemma 3."""
    pytest.importorskip("accelerate", reason="Transformers reads GGUF files with it: pip install accelerate")
    layers = [*["sliding_attention"] * 5, "full_attention", "sliding_attention"]
    rope = {"sliding_attention": {"rope_type": "default", "rope_theta": 1e4}, "full_attention": {"rope_type": "default", "rope_theta": 1e6}}
    config = dict(CONFIGS["gemma3"], head_dim=256, query_pre_attn_scalar=256, num_hidden_layers=7, layer_types=layers, rope_parameters=rope)
    model, tokens = gl.random(config, seed=3), [2, *range(3, 25)]
    model.save(tmp_path / "x.gguf")
    model.save(tmp_path / "same")
    reach = gl.reference.reach(*gl.reference.load(tmp_path / "same"), tokens)["logits"]
    logits = theirs(tmp_path, gguf_file="x.gguf")
    assert np.abs(logits(tokens) - model.run(tokens).logits).max() <= FACTOR * reach


@pytest.mark.parametrize("form", ["F32", "BF16", "F16"])
def test_gguf_reads_what_we_write(folder, form, tmp_path):
    gguf = pytest.importorskip("gguf", reason="reads with the gguf package: pip install gguf")
    model = gl.load(folder).quantize({"*": form})
    model.save(tmp_path / "x.gguf")
    reader = gguf.GGUFReader(tmp_path / "x.gguf")
    assert reader.fields["general.architecture"].contents() == model.config.architecture
    tensors = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    assert (tensors["token_embd.weight"] == model.weights["embed"].numpy()).all()
    assert (tensors["blk.0.ffn_up.weight"] == model.weights["layers.0.ffn.up"].numpy()).all()


@pytest.mark.parametrize("form", ["Q8_0", "Q4_0", "IQ4_NL", "MXFP4"])
def test_gguf_unpacks_what_we_packed(packed, form, tmp_path):
    gguf = pytest.importorskip("gguf", reason="reads with the gguf package: pip install gguf")
    model = packed.quantize({"*": form})
    model.save(tmp_path / "x.gguf")
    tensors = {t.name: t for t in gguf.GGUFReader(tmp_path / "x.gguf").tensors}
    for theirs_, ours in (("token_embd", "embed"), ("blk.1.ffn_gate", "layers.1.ffn.gate"), ("blk.2.attn_q", "layers.2.attn.q")):
        t = tensors[theirs_ + ".weight"]
        assert t.tensor_type.name == form
        assert (gguf.quants.dequantize(t.data, t.tensor_type) == model.weights[ours].numpy().reshape(t.data.shape[0], -1)).all()


# llama.cpp in a process of its own: it ends its process where it dislikes a file, and its threads are not ours.
CHILD = """
import json, sys
import numpy as np
import peers
path, tokens, text, out = sys.argv[1:]
tokens = json.loads(tokens)
net = peers.LlamaCpp(path, max(64, len(tokens)), 1)
found = []
if text:
    words, ids = text.encode(), (net.api.llama_token * 64)()
    count = net.api.llama_tokenize(net.api.llama_model_get_vocab(net.model), words, len(words), ids, 64, False, True)
    found = list(ids[:count])
np.savez(out, logits=net.feed(tokens, rows=len(tokens)), found=found)
"""


@pytest.fixture
def llama_cpp(tmp_path):
    """(file, tokens, text) -> (logits of every token, ids of the text), as llama.cpp has them."""
    pytest.importorskip("llama_cpp", reason="runs llama.cpp: pip install llama-cpp-python")

    def run(path, tokens, text=""):
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT / "benchmarks"), *sys.path]))
        command = [sys.executable, "-c", CHILD, str(path), json.dumps([int(t) for t in tokens]), text, str(tmp_path / "out.npz")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"llama.cpp: {done.stderr[-1000:]}"
        with np.load(tmp_path / "out.npz") as out:
            return out["logits"], out["found"].astype(int).tolist()

    return run


def test_llama_cpp_reads_a_gguf(folder, llama_cpp, tmp_path):
    model, tokens, reach = golden(folder)
    layers = model.config.layers
    own = [layer for i, layer in enumerate(layers) if layer.cache_source == i]
    if len(own) < len(layers) and not own[-1].full:
        pytest.skip("llama.cpp takes the last layer with a cache of its own for a full one")
    model = model.quantize({"*": "F32"})
    model.save(tmp_path / "x.gguf")
    logits, _ = llama_cpp(tmp_path / "x.gguf", tokens)
    run = model.run(tokens, record="*")
    rows = len(tokens)
    if model.config.experts:  # rows before the first choice of experts that f16 could turn
        last = model.config.experts_used - 1
        scores = [-np.sort(-run[f"layers.{i}.moe.scores"], axis=1) for i in range(len(layers))]
        margin = np.min([s[:, last] - s[:, last + 1] for s in scores], axis=0)
        rows = int(np.argmax(margin < 0.01))
        assert rows >= 5
    # llama.cpp keeps keys, values and the table of its GELU in f16.
    assert np.abs(logits - run.logits)[:rows].max() <= HALF * reach


@pytest.fixture(params=["gemma", "gem-mini"])
def speaking(request, tmp_path):
    """A small model with a tokenizer, from files: of Gemma's kind, and the one in the package."""
    if request.param == "gem-mini":
        return gl.load("gem-mini")
    fixture = json.loads((GOLDEN / "tokenizer.json").read_text(encoding="utf-8"))["gemma"]
    place = tmp_path / "speaking"
    place.mkdir()
    (place / "tokenizer.json").write_text(json.dumps(fixture["file"]), encoding="utf-8")
    size = gl.Tokenizer(place).size
    gl.random(dict(CONFIGS["gemma3"], vocab_size=size), seed=7).save(str(place) + "/")
    (place / "tokenizer.json").write_text(json.dumps(fixture["file"]), encoding="utf-8")
    return gl.load(place)


def test_transformers_reads_a_saved_tokenizer(speaking, tmp_path):
    transformers = pytest.importorskip("transformers", reason="compares with Transformers: pip install transformers")
    speaking.save(str(tmp_path) + "/saved/")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert ids == speaking.tokenizer.encode(text, special=True), text
        assert tokenizer.decode(ids) == speaking.tokenizer.decode(ids, special=True), text
    assert tokenizer.bos_token_id == speaking.tokenizer.bos and tokenizer.eos_token_id == speaking.tokenizer.eos


def test_llama_cpp_reads_a_saved_tokenizer(speaking, llama_cpp, tmp_path):
    speaking.save(tmp_path / "x.gguf")
    for text in TEXTS:
        assert llama_cpp(tmp_path / "x.gguf", [2], text)[1] == speaking.tokenizer.encode(text, special=True), text
