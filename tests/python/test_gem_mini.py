"""The two trained models that come with gemloupe, and the programs of training/ that made them."""

import hashlib
import importlib
import json
import sys
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest

import gemloupe as gl
from test_files_interop import HALF, llama_cpp  # noqa: F401, a fixture

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "python" / "gemloupe" / "models"
NAMES = ("gem-mini", "gem-mini-dense")
FACTOR = 2  # two float32 programs, each within reach of the exact values

# Written for this test, so in no training text.
PASSAGE = """The old captain closed the door behind him and stood for a moment without speaking. "I have seen her," he said at last,
"and she will not come back to this house." My aunt laid down her needle. There was nothing in the room to be heard except the rain
upon the glass, and the slow breathing of the dog before the fire.

"Then we must go to her," said my aunt, "to-morrow, at six o'clock, before the others have risen." He looked at her with great surprise;
for in twenty years she had not left the village, nor had she ever, so far as we knew, spoken of her sister without anger."""


@pytest.fixture(scope="module", params=NAMES)
def folder(request):
    return Path(gl.__file__).parent / "models" / request.param  # the installed package's own


@pytest.fixture(scope="module")
def model(folder):
    return gl.load(folder)


def test_is_found_by_its_name(folder, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = gl.load(folder.name)
    assert named.fingerprint == model.fingerprint
    assert named.generate("The old man", max_tokens=4) == model.generate("The old man", max_tokens=4)


@pytest.fixture(scope="module")
def ids(model):
    return [model.bos, *model.tokenizer.encode(PASSAGE)]


@pytest.fixture(scope="module")
def training():
    """Modules of training/ by name; skips where torch or Transformers is missing."""
    for needed in ("torch", "transformers", "tokenizers"):
        pytest.importorskip(needed)
    sys.path.insert(0, str(ROOT / "training"))
    yield importlib.import_module
    sys.path.remove(str(ROOT / "training"))


def bits_per_byte(model, ids, text):
    logits = np.asarray(model.run(ids).logits, np.float64)[:-1]
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return -logs[np.arange(len(logits)), ids[1:]].sum() / np.log(2) / len(text.encode())


def test_files_are_whole_and_small(folder):
    named = {line.split()[1]: line.split()[0] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    files = {path.name for path in folder.iterdir()} - {"SHA256SUMS"}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
            "README.md", "curve.svg", "LICENSE"} <= files == set(named)
    for name, digest in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert sum((MODELS / name / "model.safetensors").stat().st_size for name in NAMES) <= 32 << 20


def test_has_every_part_of_gemma_4(folder):
    config = json.loads((folder / "config.json").read_text())
    kinds = config["layer_types"]
    assert config["model_type"] == "gemma4_text" and config["dtype"] == "bfloat16"
    shared = config["num_kv_shared_layers"]
    assert set(kinds) == {"sliding_attention", "full_attention"} == set(kinds[-shared:])
    assert kinds[-shared - 1] == "full_attention"  # llama.cpp takes the last layer with a cache of its own for a full one
    assert config["attention_k_eq_v"] and config["hidden_size_per_layer_input"] and config["final_logit_softcapping"] == 30.0
    assert config["enable_moe_block"] is (folder.name == "gem-mini")
    assert config["max_position_embeddings"] >= 512 and 2000 <= config["vocab_size"] <= 5000
    if config["enable_moe_block"]:
        assert 8 <= config["num_experts"] <= 16 and config["top_k_experts"] == 2


def test_layer_scalars_and_router_scales_were_learned(folder):
    values = gl.reference.tensors(folder / "model.safetensors")
    scalars = [x.item() for name, x in values.items() if name.endswith("layer_scalar")]
    assert len(scalars) == 6 and all(x != 1 for x in scalars)
    scales = [x for name, x in values.items() if name.endswith("per_expert_scale")]
    assert len(scales) == (6 if folder.name == "gem-mini" else 0) and all(np.ptp(x) > 0 for x in scales)


def test_agrees_with_transformers(model, folder, ids):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    judge = transformers.Gemma4ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        want = judge(torch.tensor([ids]), use_cache=False).logits[0].numpy()
    reach = gl.reference.reach(*gl.reference.load(folder), ids)["logits"]
    assert np.abs(np.asarray(model.run(ids, arithmetic="exact").logits) - want).max() <= FACTOR * reach


def test_agrees_with_the_oracle(model, folder, ids):
    config, weights = gl.reference.load(folder)
    reach = gl.reference.reach(config, weights, ids)["logits"]
    want = gl.reference.run(config, weights, ids)["logits"]
    assert np.abs(np.asarray(model.run(ids, arithmetic="exact").logits) - want).max() <= reach


def rows_before_a_close_call(model, ids, nearest=1e-3):
    """How many rows come before the first whose choice of experts hangs on less than `nearest`, which f16 keys could turn."""
    if not model.config.experts:
        return len(ids)
    run, last = model.run(ids, arithmetic="exact", record="layers.*.moe.scores"), model.config.experts_used - 1
    scores = [-np.sort(-run[name], axis=1) for name in run.names]
    close = np.min([s[:, last] - s[:, last + 1] for s in scores], axis=0) < nearest
    return int(np.argmax(close)) if close.any() else len(ids)


def test_three_programs_agree(model, folder, ids, llama_cpp, tmp_path):  # noqa: F811
    """Transformers on the folder, llama.cpp on the GGUF that model.save writes, and gemloupe on both: one result.

    llama.cpp keeps keys, values and the table of its GELU in f16, so its logits lie within f16's rounding where the others' lie
    within float32's. The passage is longer than the sliding window.
    """
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    assert len(ids) > model.config.layers[0].window
    model.quantize({"*": "F32"}).save(tmp_path / "x.gguf")
    here = model.run(ids, arithmetic="exact").logits
    assert np.array_equal(gl.load(tmp_path / "x.gguf").run(ids, arithmetic="exact").logits, here)
    with torch.no_grad():
        judge = transformers.Gemma4ForCausalLM.from_pretrained(folder, dtype=torch.float32)
        there = judge(torch.tensor([ids]), use_cache=False).logits[0].numpy()
    native, _ = llama_cpp(tmp_path / "x.gguf", ids)
    reach = gl.reference.reach(*gl.reference.load(folder), ids)["logits"]
    rows = rows_before_a_close_call(model, ids)
    assert rows >= 8
    assert np.abs(here - there).max() <= FACTOR * reach
    for other in (here, there):
        assert np.abs(native - other)[:rows].max() <= HALF * reach
    # And closely: most logits are as near as if they had been written in f16.
    assert np.median(np.abs(native / there - 1)[:rows]) <= 2**-11


@pytest.mark.parametrize("place", ["x.gguf", "folder/"])
def test_saved_again_is_the_same(model, ids, tmp_path, place):
    path = str(tmp_path) + "/" + place
    model.save(path)
    assert np.array_equal(gl.load(path).run(ids).logits, model.run(ids).logits)


def test_tokenizer_is_the_package_s(folder, model):
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in (PASSAGE, "  two\t\tspaces \n\n\n\n", "naïve Ωμέγα 東京 🙂", "it's 1234.56; \"'Tis!\""):
        want = theirs.encode(text, add_special_tokens=False).ids
        assert model.tokenizer.encode(text) == want and theirs.decode(want, skip_special_tokens=False) == text


def test_has_learned_english(model, ids):
    """Below what the order-5 model needs for whole books, on a passage nobody has read; word order is worth a bit a byte."""
    bits = bits_per_byte(model, ids, PASSAGE)
    assert bits < 1.928  # training/compressors.py, validation books
    words = PASSAGE.split()
    np.random.default_rng(0).shuffle(words)
    shuffled = " ".join(words)
    assert bits_per_byte(model, [model.bos, *model.tokenizer.encode(shuffled)], shuffled) > bits + 0.4


def test_coarser_weights_move_the_predictions_further(model):
    """Half the step is half the error, so a quarter of the divergence: sixteen for two bits, of which we ask three."""
    def moved(form):  # a row of ple.proj is shorter than a block
        return gl.compare(model, model.quantize({"layers.*.ple.proj": "BF16", "layers.*": form}), PASSAGE).kld_mean

    eight, four, two = (moved(form) for form in ("Q8_0", "Q4_0", gl.grid(bits=2, group=32)))
    assert 0 < 3 * eight < four and 3 * four < two


def measured(name):
    return json.loads((ROOT / "training" / "runs" / f"{name}.json").read_text(encoding="utf-8"))


def curve(name):
    text = (ROOT / "training" / "runs" / f"{name}.curve.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_cards_and_pictures_show_what_was_measured(training):
    export, pictures, short_runs = training("export"), training("pictures"), training("short_runs")
    read_me = (ROOT / "training" / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        found = measured(name)
        drawn = pictures.training_curve(curve(name), found["training"]["anneal"])
        assert (MODELS / name / "README.md").read_text(encoding="utf-8") == export.card(name, found)
        assert (MODELS / name / "curve.svg").read_text(encoding="utf-8") == drawn
        assert f"{found['bits_per_byte']:.3f}" in read_me and f"{found['training']['epochs']:.2f} of a pass" in read_me
    assert f"{measured('gem-mini')['bits_per_byte']:.3f} bits a byte" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert short_runs.table(measured("router-losses")) in read_me
    assert (MODELS / "gem-mini" / "routing.svg").read_text(encoding="utf-8") == pictures.routing_map(measured("gem-mini")["routing"])
    drawn = (ROOT / "training" / "runs" / "router-losses.svg").read_text(encoding="utf-8")
    assert drawn == pictures.losses_compared(measured("router-losses"))
    assert xml.etree.ElementTree.fromstring(drawn).tag.endswith("svg")


def test_twins_were_trained_alike():
    experts, dense = (measured(name)["training"] for name in NAMES)
    assert experts == dense


def test_curves_end_where_the_models_were_measured(folder):
    lines, found = curve(folder.name), measured(folder.name)
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps) and steps[-1] == found["training"]["steps"] and lines[-1]["annealed"]
    assert lines[-1]["valid"] == found["curve"][-1]["valid"] < lines[3]["loss"] < lines[0]["loss"]


def test_measured_below_the_compressors(folder):
    found = measured(folder.name)
    assert found["bytes"] == 2699110 and found["fraction"] == 1  # all of the validation books
    assert found["bits_per_byte"] < min(1.85, *(0.9 * bits for bits in found["compressors"].values()))
    assert found["tokens"] * found["nats_per_token"] / np.log(2) / found["bytes"] == pytest.approx(found["bits_per_byte"], abs=1e-4)


def test_counted_as_it_is(folder):
    """The card's counts of parameters, from the file."""
    sizes = {name: x.size for name, x in gl.reference.tensors(folder / "model.safetensors").items() if not name.endswith("layer_scalar")}
    counts = measured(folder.name)["parameters"]
    tables = [size for name, size in sizes.items() if "embed_tokens" in name]
    assert sum(sizes.values()) == counts["total"] and sum(tables) == counts["embedding"] + counts["per_layer_embedding"]
    assert counts["outside"] == counts["total"] - sum(tables)
    resting = sum(size * 14 // 16 for name, size in sizes.items() if ".experts." in name)
    assert counts["active_outside"] == counts["outside"] - resting
    if resting:
        assert 3e6 <= counts["outside"] <= 8e6


def test_no_expert_is_dead_over_the_validation_books():
    routing = measured("gem-mini")["routing"]
    experts = len(routing["load"][0])
    assert routing["least_load"] == min(map(min, routing["load"])) > 0.1 / experts
    assert routing["most_load"] == max(map(max, routing["load"])) < 4 / experts
    assert len(routing["bits_about_kind"]) == 6 and min(routing["bits_about_kind"]) > 0.1


def test_a_short_run_of_each_router_loss_is_kept():
    """Same beginning; both remedies leave the load more even than none does, and no expert dead."""
    runs = measured("router-losses")
    assert list(runs) == ["none", "switch", "bias"]
    assert len({run["curve"][0]["loss"] for run in runs.values()}) == 1 == len({run["steps"] for run in runs.values()})
    uneven = {name: np.mean(run["routing"]["switch_loss"]) for name, run in runs.items()}
    assert 1 < uneven["switch"] < uneven["none"] and 1 < uneven["bias"] < uneven["none"]
    assert runs["none"]["dead"] > 0 == runs["switch"]["dead"] == runs["bias"]["dead"]


def test_experts_live_and_differ():
    """No dead expert on two passages, and letters and punctuation go to different experts by more than chance."""
    model = gl.load(MODELS / "gem-mini")
    ids = [model.bos, *model.tokenizer.encode(PASSAGE + (ROOT / "examples" / "text.txt").read_text(encoding="utf-8"))][:512]
    run = model.run(ids, record="layers.*.moe.route.experts")
    experts = model.config.experts
    letter = np.array([model.tokenizer.decode([i]).strip()[:1].isalpha() for i in ids[1:]])
    rng = np.random.default_rng(0)

    def apart(chosen, of_kind):
        counts = [np.bincount(chosen[kind].ravel(), minlength=experts) / chosen[kind].size for kind in (of_kind, ~of_kind)]
        return np.abs(counts[0] - counts[1]).sum()

    for layer in range(len(model.config.layers)):
        chosen = np.asarray(run[f"layers.{layer}.moe.route.experts"])[1:]
        assert len(np.unique(chosen)) == experts, f"layer {layer}: of {experts} experts only {np.unique(chosen)}"
        by_chance = [apart(chosen, rng.permutation(letter)) for _ in range(50)]
        assert apart(chosen, letter) > max(by_chance), f"layer {layer}"


@pytest.mark.parametrize("name", NAMES)
def test_the_training_forward_is_transformers(training, name):
    """Same logits and same gradients, from random weights, past the sliding window."""
    import torch

    architecture, forward = training("architecture"), training("forward")
    model = architecture.fresh(name)
    ids = torch.randint(4, 2048, (2, 150), generator=torch.Generator().manual_seed(1))
    found = []
    for compute in (lambda: model(ids, use_cache=False).logits, lambda: forward.forward(model, ids)[0]):
        logits = compute()
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
        found.append((logits.detach(), {key: p.grad for key, p in model.named_parameters() if p.grad is not None}))
        model.zero_grad(set_to_none=True)
    (want, want_grads), (got, got_grads) = found
    bound = 256**0.5 * 2**-24 * 100  # sums of 256, some hundred operations deep
    assert (got - want).abs().max() <= bound * want.abs().max()
    assert want_grads.keys() == got_grads.keys()
    for key, grad in want_grads.items():
        assert (got_grads[key] - grad).norm() <= bound * grad.norm(), key


def test_the_context_model_is_a_causal_probability(training):
    compressors = training("compressors")
    text = b"the cat sat on the mat, and the rat sat on the cat; the bat sat on " * 3
    last = [compressors.probabilities(text + bytes([byte]))[-1] for byte in range(256)]
    assert abs(sum(last) - 1) < 1e-9 and min(last) > 0
    assert np.array_equal(compressors.probabilities(text)[:40], compressors.probabilities(text[:40]))


def test_batches_go_on_where_they_stopped(training):
    data = training("data")
    stream = np.arange(5000, dtype=np.uint16)
    source = data.batches(stream, rows=4, length=32, seed=3, step=0)
    taken = [next(source) for _ in range(60)]  # more than one epoch of 38
    for step in (0, 5, 37, 38, 59):
        assert np.array_equal(next(data.batches(stream, 4, 32, 3, step)), taken[step])
    first = np.concatenate([batch[:, 1:].ravel() for batch in taken[:38]])
    assert len(np.unique(first)) == len(first), "an epoch reads nothing twice"


def test_the_optimizer_steps_along_orthogonal_matrices(training):
    import torch

    optimizer = training("optimizer")
    torch.manual_seed(0)
    step = optimizer.orthogonal(torch.randn(3, 24, 40))
    values = torch.linalg.svdvals(step)
    assert 0.5 < values.min() and values.max() < 1.5


@pytest.mark.parametrize("loss", ["none", "switch", "bias"])
def test_training_goes_on_where_it_stopped(training, loss, tmp_path, monkeypatch):
    """Stopped, resumed and annealed, a run has the bits of one that never stopped; the constant-rate state stays for later."""
    import torch

    train = training("train")
    stream = np.random.default_rng(0).integers(4, 2048, 5000).astype(np.uint16)
    for name, value in (("WORK", tmp_path), ("tokens", lambda split: stream), ("VALIDATION", dict(rows=2, length=32, seed=1, step=0))):
        monkeypatch.setattr(train, name, value)
    monkeypatch.setattr(train.signal, "signal", lambda number, handler: None)

    def run(tag, *more):
        small = ["--eager", "--device", "cpu", "--rows", "2", "--length", "32", "--threads", str(torch.get_num_threads())]
        monkeypatch.setattr(sys, "argv", ["train.py", "gem-mini", "--router-loss", loss, "--tag", tag, *small, *more])
        train.main()
        return tmp_path / "-".join(part for part in ("gem-mini", "" if loss == "switch" else loss, tag) if part)

    whole, parts = run("whole", "--steps", "4"), run("parts", "--steps", "2")
    run("parts", "--resume", "--steps", "4")
    want, got = (torch.load(folder / "state.pt", weights_only=True) for folder in (whole, parts))
    assert got["step"] == 4 == got["optimizer"]["steps"]
    for of_want, of_got in ((want["model"], got["model"]), *((want["optimizer"][k], got["optimizer"][k]) for k in ("first", "second"))):
        assert of_want.keys() == of_got.keys() and all(torch.equal(of_want[name], of_got[name]) for name in of_want)
    if loss == "bias":
        assert torch.equal(want["biases"], got["biases"]) and want["biases"].any()
    else:
        assert got["biases"] is None
    before = (parts / "state.pt").read_bytes()
    run("parts", "--resume", "--anneal", "2")
    assert (parts / "state.pt").read_bytes() == before
    assert torch.load(parts / "annealed.pt", weights_only=True)["step"] == 6
    lines = [json.loads(line) for line in (parts / "curve.jsonl").read_text().splitlines()]
    assert [line["annealed"] for line in lines if "annealed" in line] == [False, False, True]
