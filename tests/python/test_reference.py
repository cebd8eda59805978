"""The NumPy reference against Transformers (tests/golden) and against what must hold whatever the numbers.

One file, though a long one, because its parts share the golden runs.
"""

import dataclasses
import importlib
import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
try:
    from gemloupe import reference
except ImportError:
    # The reference needs NumPy only, and is tested where the compiled module is not built, too.
    folder = ROOT / "python" / "gemloupe" / "reference"
    spec = importlib.util.spec_from_file_location("gemloupe_reference", folder / "__init__.py",
                                                  submodule_search_locations=[str(folder)])
    reference = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)


def page(name):
    return importlib.import_module(f"{reference.__name__}.{name}")


GOLDEN = ROOT / "tests" / "golden"
NAMES = sorted(path.parent.name for path in GOLDEN.glob("*/config.json"))
S, F = "sliding_attention", "full_attention"


class Golden:
    """One golden folder: its model, what Transformers made of it, the quiet run and how far rounding reaches."""

    def __init__(self, name):
        self.name = name
        self.config, self.weights = reference.load(GOLDEN / name)
        self.raw = json.loads((GOLDEN / name / "config.json").read_text())
        self.expected = dict(np.load(GOLDEN / name / "expected.npz"))
        self.tokens = self.expected.pop("tokens")
        self.greedy = self.expected.pop("greedy")
        self.values = self.run()
        self.reach = reference.reach(self.config, self.weights, self.tokens)

    def run(self, **arguments):
        return reference.run(self.config, self.weights, self.tokens, **arguments)

    def excess(self, values):
        """The largest distance from Transformers, in units of what rounding explains: at most 1 where all is right."""
        distance = {}
        for name, expected in self.expected.items():
            if expected.dtype.kind == "f":
                ours = values[name].reshape(expected.shape)
                distance[name] = np.abs(ours - expected).max() / self.reach[name]
        return max(distance.values()), max(distance, key=distance.get)


_loaded = {}


def golden(name):
    if name not in _loaded:
        _loaded[name] = Golden(name)
    return _loaded[name]


@pytest.fixture(params=NAMES)
def each(request):
    return golden(request.param)


# Against Transformers


def test_every_golden_file_is_here():
    assert NAMES == ["gemma3", "gemma3-linear", "gemma3-wrapped", "gemma4-12b", "gemma4-26b-a4b", "gemma4-31b", "gemma4-e2b",
                     "gemma4-e4b", "gemma4-wrapped"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_agrees_with_transformers_at_every_value_it_shows(each, dtype):
    """Transformers ran in float32, so it may be as far off as rounding reaches; a float32 run of ours may be so once more."""
    excess, name = each.excess(each.run(dtype=dtype))
    assert excess <= (1 if dtype == np.float64 else 2), name
    for name, expected in each.expected.items():
        if expected.dtype.kind == "i":
            np.testing.assert_array_equal(each.values[name], expected)


def test_greedy_continuation_is_the_same(each):
    assert reference.greedy(each.config, each.weights, each.tokens, len(each.greedy)) == each.greedy.tolist()


def test_rounding_reaches_a_thousandth_at_most(each):
    """A bound so wide that it would let mistakes pass would be no bound."""
    assert each.reach["logits"] < 1e-3 * np.abs(each.values["logits"]).max()


def erf_gelu(values, l):
    gate, up = values[f"layers.{l}.ffn.gate"], values[f"layers.{l}.ffn.up"]
    return 0.5 * gate * (1 + np.vectorize(math.erf)(gate / math.sqrt(2))) * up


def without_scale(golden, l):
    changed = dict(golden.weights)
    changed[f"layers.{l}.scale"] = np.ones(1)
    return reference.run(golden.config, changed, golden.tokens)


def with_layers(golden, **fields):
    layers = tuple(dataclasses.replace(layer, **{key: of(layer) for key, of in fields.items()})
                   for layer in golden.config.layers)
    return reference.run(dataclasses.replace(golden.config, layers=layers), golden.weights, golden.tokens)


MISTAKES = {
    "erf GELU": lambda g: g.run(edit={"layers.0.ffn.act": lambda x: erf_gelu(g.values, 0)}),
    "bf16 embedding scale": lambda g: g.run(edit={"embed": lambda x: x * (6.9375 / math.sqrt(48))}),
    "window of one key more": lambda g: with_layers(g, window=lambda layer: layer.window and layer.window + 1),
    "window of one key less": lambda g: with_layers(g, window=lambda layer: layer.window and layer.window - 1),
    "attention scale": lambda g: with_layers(g, scale=lambda layer: layer.scale * 1.0001),
    "eps": lambda g: reference.run(dataclasses.replace(g.config, eps=1e-5), g.weights, g.tokens),
}
MISTAKES_OF_GEMMA4 = {
    "layer_scalar": lambda g: without_scale(g, 1),
    "full layers turn every pair": lambda g: with_layers(g, rope=lambda layer: dataclasses.replace(layer.rope, share=1.0)),
    "no soft cap": lambda g: reference.run(dataclasses.replace(g.config, cap=None), g.weights, g.tokens),
    "values of the normed keys": lambda g: g.run(edit={"layers.5.attn.v_norm": lambda x: g.values["layers.5.attn.k_norm"]}),
    "router on the experts' input": lambda g: g.run(edit={"layers.5.moe.query": lambda x: g.values["layers.5.moe.norm"]}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_bound_notices_mistakes(mistake):
    excess, _ = golden("gemma3").excess(MISTAKES[mistake](golden("gemma3")))
    assert excess > 1


@pytest.mark.parametrize("mistake", MISTAKES_OF_GEMMA4)
def test_the_bound_notices_mistakes_of_gemma4(mistake):
    excess, _ = golden("gemma4-26b-a4b").excess(MISTAKES_OF_GEMMA4[mistake](golden("gemma4-26b-a4b")))
    assert excess > 1


# Names, edits, rows


def test_a_value_is_there_exactly_where_the_architecture_has_it(each):
    config, values = each.config, each.values
    assert ("ple" in values) == ("ple.table" in values) == ("ple.context" in values) == (config.ple_width > 0)
    assert ("head.scores" in values) == (config.cap is not None)
    for l, layer in enumerate(config.layers):
        here = {name.removeprefix(f"layers.{l}.") for name in values if name.startswith(f"layers.{l}.")}
        owned = {f"attn.{part}" for part in ("k", "k_norm", "k_rope", "cache.keys", "cache.values", "cache.positions")}
        assert here & owned == (owned if layer.source == l else set())
        assert ("attn.v" in here) == (layer.source == l and not layer.keys_are_values)
        assert ("attn.v_norm" in here) == (layer.source == l and config.family == "gemma4")
        assert ("sum" in here) == (config.family == "gemma4")
        assert {"both", "both_norm", "moe.out", "moe.route.experts"} & here == \
            ({"both", "both_norm", "moe.out", "moe.route.experts"} if config.experts else set())
        assert ("ple.sum" in here) == (config.ple_width > 0)
        rows = len(each.tokens)
        assert values[f"layers.{l}.attn.mix"].shape == (rows, layer.heads, layer.head_dim)
        assert values[f"layers.{l}.ffn.act"].shape == (rows, layer.width)
        assert values[f"layers.{l}.out"].shape == (rows, config.hidden)


def test_residuals_are_the_sums_they_are_called(each):
    v, before = each.values, "embed"
    for l in range(len(each.config.layers)):
        at = f"layers.{l}."
        np.testing.assert_array_equal(v[at + "mid"], v[before] + v[at + "attn.post_norm"])
        before = at + "out"
        if each.config.family == "gemma3":
            np.testing.assert_array_equal(v[before], v[at + "mid"] + v[at + "ffn.post_norm"])
            continue
        branch = "both_norm" if each.config.experts else "ffn.post_norm"
        np.testing.assert_array_equal(v[at + "sum"], v[at + "mid"] + v[at + branch])
        last = at + ("ple.sum" if each.config.ple_width else "sum")
        np.testing.assert_array_equal(v[before], v[last] * np.float64(each.weights[at + "scale"]))


def test_an_identity_edit_changes_no_bit(each):
    edited = each.run(edit={"*": lambda x: x})
    for name, value in each.values.items():
        np.testing.assert_array_equal(edited[name], value)


def test_an_edit_is_seen_by_what_follows_and_by_nothing_before(each):
    edited = each.run(edit={"layers.1.mid": lambda x: 1.5 * x})
    names = list(each.values)
    at = names.index("layers.1.mid")
    np.testing.assert_array_equal(edited["layers.1.mid"], 1.5 * each.values["layers.1.mid"])
    for name in names[:at]:
        np.testing.assert_array_equal(edited[name], each.values[name])
    assert not np.allclose(edited["logits"], each.values["logits"])


def test_sharing_layers_read_the_edited_cache_of_their_source():
    g = golden("gemma4-e2b")
    kinds = [layer.kind for layer in g.config.layers]
    assert [layer.source for layer in g.config.layers] == [0, 1, 2, 3, 4, 3, 3, 3, 4]
    edited = g.run(edit={"layers.3.attn.cache.values": np.zeros_like})
    for l in (3, 5, 6, 7):
        assert kinds[l] == S and not edited[f"layers.{l}.attn.mix"].any()
    assert edited["layers.4.attn.mix"].any() and edited["layers.8.attn.mix"].any()


@pytest.mark.parametrize("edit, part", [({"layers.99.mid": np.copy}, "layers.99.mid"), ({"embed": lambda x: x[:1]}, "embed")])
def test_an_edit_that_fits_nothing_is_refused(edit, part):
    with pytest.raises(ValueError, match=part):
        golden("gemma3").run(edit=edit)


@pytest.mark.parametrize("tokens", [[], [-1], [260], [[1, 2]]])
def test_tokens_out_of_range_are_refused(tokens):
    g = golden("gemma3")
    with pytest.raises(ValueError, match="0 to 259"):
        reference.run(g.config, g.weights, tokens)


def test_nothing_later_is_seen(each):
    """A prefix gives the values of its rows, but for float64's own rounding of sums that are grouped otherwise."""
    few = reference.run(each.config, each.weights, each.tokens[:17])
    reach = 2.0**-29 * each.reach["logits"]  # from float32's unit to float64's; both runs may be off by it
    np.testing.assert_allclose(few["logits"], each.values["logits"][:17], rtol=0, atol=2 * reach)


def test_only_the_wanted_rows_get_logits():
    g = golden("gemma4-e2b")
    few = g.run(rows=[3, 28])
    assert few["head.norm"].shape == (2, g.config.hidden) and few["wanted"].tolist() == [3, 28]
    np.testing.assert_allclose(few["logits"], g.values["logits"][[3, 28]], rtol=1e-13)


# RMS norm, embedding, head


def test_rms_norm_gives_rows_of_mean_square_one():
    x = np.random.default_rng(0).standard_normal((5, 33))
    y = page("rms_norm").rms_norm(1e3 * x, None, 1e-6)
    np.testing.assert_allclose(np.mean(y * y, axis=-1), 1, rtol=1e-8)
    np.testing.assert_allclose(page("rms_norm").rms_norm(np.zeros((1, 4)), np.ones(4)), 0)
    np.testing.assert_allclose(page("rms_norm").rms_norm(np.array([[2.0, 2.0]]), np.array([1.0, 3.0]), 5.0), [[2 / 3, 2]])


def test_gemma3_norms_are_stored_less_one():
    raw = reference.tensors(GOLDEN / "gemma3" / "model.safetensors")
    np.testing.assert_array_equal(golden("gemma3").weights["head.norm"], raw["model.norm.weight"] + 1)
    less_one = {name: tensor.astype(np.float16) for name, tensor in raw.items()}
    half = reference.weights(less_one, golden("gemma3").config)["head.norm"]
    np.testing.assert_array_equal(half, np.float32(less_one["model.norm.weight"]) + 1)
    raw = reference.tensors(GOLDEN / "gemma4-e2b" / "model.safetensors")
    np.testing.assert_array_equal(golden("gemma4-e2b").weights["head.norm"], raw["model.norm.weight"])


def test_embedding_is_scaled_and_the_tied_head_is_not(each):
    table = np.float64(each.weights["embed"])
    np.testing.assert_allclose(each.values["embed"], table[each.tokens] * each.config.hidden**0.5, rtol=1e-15)
    scores = each.values["head.norm"] @ np.float64(each.weights["embed" if each.config.tied else "head"]).T
    np.testing.assert_allclose(each.values["logits" if each.config.cap is None else "head.scores"], scores, rtol=1e-12)


def test_soft_cap_bounds_and_keeps_the_order():
    cap = page("head").soft_cap
    x = np.linspace(-100, 100, 401)
    assert np.abs(cap(x, 30.0)).max() < 30 and (np.diff(cap(x, 30.0)) > 0).all()
    np.testing.assert_allclose(cap(np.array([1e-3]), 30.0), 1e-3, rtol=1e-9)
    assert cap(x, None) is x


# RoPE


def test_rope_frequencies_of_the_released_models():
    frequencies = page("rope").frequencies
    sliding, full = frequencies(256, 1e4), frequencies(512, 1e6, "proportional", share=0.25)
    np.testing.assert_allclose(sliding[[1, 127]], [0.930572040929699, 1.0746078283213174e-4], rtol=1e-14)
    np.testing.assert_allclose(full[[1, 32, 63]], [0.9474635256553754, 0.1778279410038923, 0.033376246942920386], rtol=1e-14)
    assert not full[64:].any() and full[:64].all()


@pytest.mark.parametrize("kind, share", [("default", 1.0), ("linear", 1.0), ("proportional", 0.25)])
def test_rope_scores_depend_on_distance_only_and_lengths_stay(kind, share):
    rope = page("rope")
    random = np.random.default_rng(1)
    frequency = rope.frequencies(24, 1e4, kind, 4.0, share)
    q, k = random.standard_normal((2, 1, 1, 24))
    def score(at, distance):
        turned = rope.rope(q, [at + distance], frequency), rope.rope(k, [at], frequency)
        return np.sum(turned[0] * turned[1])
    for distance in (0, 1, 17):
        np.testing.assert_allclose([score(at, distance) for at in (3, 100, 5000)], score(0, distance), rtol=0, atol=1e-11)
    np.testing.assert_allclose(np.linalg.norm(rope.rope(q, [977], frequency)), np.linalg.norm(q), rtol=1e-14)


def test_rope_turns_entries_half_a_head_apart():
    rope = page("rope")
    x = np.zeros((1, 1, 8))
    x[0, 0, 1] = 1
    turned = rope.rope(x, [1], rope.frequencies(8, 16.0))[0, 0]
    np.testing.assert_allclose(turned[[1, 5]], [math.cos(0.5), math.sin(0.5)])
    assert not turned[[0, 2, 3, 4, 6, 7]].any()


def test_linear_scaling_is_a_shorter_text():
    rope = page("rope")
    x = np.random.default_rng(2).standard_normal((3, 2, 16))
    stretched = rope.rope(x, [0, 8, 80], rope.frequencies(16, 1e6, "linear", 8.0))
    np.testing.assert_allclose(stretched, rope.rope(x, [0, 1, 10], rope.frequencies(16, 1e6)), rtol=1e-12, atol=1e-14)


def test_proportional_rope_leaves_the_other_pairs_alone():
    rope = page("rope")
    x = np.random.default_rng(3).standard_normal((2, 1, 40))
    turned = rope.rope(x, [7, 9], rope.frequencies(40, 1e6, "proportional", share=0.25))
    still = np.r_[5:20, 25:40]
    np.testing.assert_array_equal(turned[..., still], x[..., still])
    assert not np.isclose(turned[..., :5], x[..., :5]).any()


# Attention and its cache


def random_attention(rows=19, heads=6, kv_heads=2, head_dim=16, seed=4):
    random = np.random.default_rng(seed)
    keys, values = random.standard_normal((2, rows, kv_heads, head_dim))
    return random.standard_normal((rows, heads, head_dim)), keys, values, np.arange(rows)


def test_one_visible_key_returns_its_value():
    q, k, v, at = random_attention()
    mix = page("attention").attention(q, k, v, at, at, window=1)
    np.testing.assert_array_equal(mix, np.repeat(v, 3, axis=1))


def test_a_window_is_the_number_of_keys_seen():
    visible = page("attention").visible(np.arange(30)[:, None], np.arange(30)[None], 7)
    np.testing.assert_array_equal(visible.sum(axis=1), np.minimum(np.arange(30) + 1, 7))
    assert visible[20, 14] and visible[20, 20] and not visible[20, 13] and not visible[20, 21]


def test_keys_outside_the_window_do_not_matter_and_a_long_window_is_none():
    attention = page("attention").attention
    q, k, v, at = random_attention()
    before = attention(q, k, v, at, at, window=5)[12]
    k[:8], v[:8], k[13:], v[13:] = 99, -99, 77, -77
    np.testing.assert_array_equal(attention(q, k, v, at, at, window=5)[12], before)
    np.testing.assert_array_equal(attention(q, k, v, at, at, window=19), attention(q, k, v, at, at))


def test_grouped_heads_read_the_same_keys():
    attention = page("attention").attention
    q, k, v, at = random_attention()
    np.testing.assert_allclose(attention(q, k, v, at, at, 0.25),
                               attention(q, np.repeat(k, 3, axis=1), np.repeat(v, 3, axis=1), at, at, 0.25), rtol=1e-12)


def test_softmax_survives_large_scores():
    softmax = page("attention").softmax
    np.testing.assert_array_equal(softmax(np.array([1e4, 1e4, -np.inf])), [0.5, 0.5, 0])


@pytest.mark.parametrize("window", [None, 1, 5, 18, 19, 40])
@pytest.mark.parametrize("chunk", [1, 2, 4, 7, 18, 19, 40])
def test_chunks_through_a_cache_are_one_pass(window, chunk):
    """A cache may drop what is `window` back, but a chunk's first query still needs the keys before the chunk."""
    q, k, v, at = random_attention()
    mixed, held = page("cache").in_chunks(q, k, v, at, chunk, 0.25, window)
    np.testing.assert_allclose(mixed, page("attention").attention(q, k, v, at, at, 0.25, window), rtol=1e-12, atol=1e-14)
    assert held == (19 if window is None else min(19, window - 1))


def test_sharing_layers_read_the_last_owner_of_their_kind():
    sources = page("cache").sources
    e2b, e4b = ([S] * 4 + [F]) * 7, ([S] * 5 + [F]) * 7
    assert sources(e2b, 20)[:15] == list(range(15)) and set(sources(e2b, 20)[15:]) == {13, 14}
    assert [sources(e2b, 20)[l] for l in (15, 19, 34)] == [13, 14, 14]
    assert [sources(e4b, 18)[l] for l in (24, 29, 40, 41)] == [22, 23, 22, 23]
    assert sources([S, F], 0) == [0, 1]
    for kinds, shared in (([S, F], 2), ([S, F, F], 3), ([S, S, F], 1), ([S, F], -1)):
        with pytest.raises(ValueError, match="sharing layers"):
            sources(kinds, shared)


# Feed-forward, experts, per-layer embeddings


def test_gelu_at_its_landmarks():
    gelu = page("mlp").gelu
    z = np.linspace(-8, 8, 801)
    exact = 0.5 * z * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    assert 1e-4 < np.abs(gelu(z) - exact).max() < 5e-4
    np.testing.assert_allclose(gelu(z) - gelu(-z), z, rtol=1e-12, atol=1e-15)


def test_route_weights_sum_to_one_before_the_experts_scales():
    scores = np.random.default_rng(5).standard_normal((40, 12)) * 3
    experts, weights = page("moe").route(scores, 3, np.ones(12))
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-14)
    assert (np.diff(weights, axis=1) <= 0).all() and all(len(set(row)) == 3 for row in experts)
    chosen = np.take_along_axis(scores, experts, axis=1)
    np.testing.assert_allclose(weights, page("attention").softmax(chosen), rtol=1e-13)
    scale = np.random.default_rng(6).uniform(0.5, 2, 12)
    again, scaled = page("moe").route(scores, 3, scale)
    np.testing.assert_array_equal(again, experts)
    np.testing.assert_allclose(scaled, weights * scale[experts], rtol=1e-15)


def test_route_takes_the_lower_index_among_equals():
    experts, _ = page("moe").route(np.array([[1.0, 2.0, 1.0, 2.0, 1.0]]), 3, np.ones(5))
    assert experts.tolist() == [[1, 3, 0]]


def test_experts_compute_what_each_row_alone_would_and_unused_slots_nothing():
    moe, random = page("moe"), np.random.default_rng(7)
    x, weight = random.standard_normal((6, 10)), random.standard_normal((4, 5, 10))
    experts = np.array([[0, 3], [3, -1], [1, 0], [-1, -1], [2, 3], [0, 1]])
    y = moe.per_expert(x, weight, experts)
    for row, slots in enumerate(experts):
        for slot, expert in enumerate(slots):
            wanted = weight[expert] @ x[row] if expert >= 0 else np.zeros(5)
            np.testing.assert_allclose(y[row, slot], wanted, rtol=1e-12)
    assert not moe.weigh(y, np.ones((6, 2)))[3].any()


def test_the_router_reads_the_stream_itself():
    g = golden("gemma4-26b-a4b")
    mid, scale = g.values["layers.2.mid"], np.float64(g.weights["layers.2.moe.query"])
    wanted = mid / np.sqrt(np.mean(mid**2, axis=1, keepdims=True) + 1e-6) * scale / math.sqrt(48)
    np.testing.assert_allclose(g.values["layers.2.moe.query"], wanted, rtol=1e-13)


@pytest.mark.parametrize("name", ["gemma4-e2b", "gemma4-e4b", "gemma4-wrapped"])
def test_ple_factors_show_in_the_values(name):
    """sqrt(p) on the table, h^(-1/2) on the context, 2^(-1/2) on their sum: norms follow, so the logits would hardly notice."""
    g = golden(name)
    h, p, layers = g.config.hidden, g.config.ple_width, len(g.config.layers)
    table = np.float64(g.weights["ple.table"])[g.tokens].reshape(-1, layers, p)
    np.testing.assert_allclose(g.values["ple.table"], table * p**0.5, rtol=1e-14)
    context = g.values["embed"] @ np.float64(g.weights["ple.context"]).T
    ours = g.values["ple.context"].reshape(len(g.tokens), -1)
    np.testing.assert_allclose(ours, context / math.sqrt(h), rtol=0, atol=2.0**-29 * g.reach["ple.context"])
    np.testing.assert_allclose(g.values["ple"], (g.values["ple.norm"] + g.values["ple.table"]) / math.sqrt(2), rtol=1e-14)
    gate = page("mlp").gelu(g.values["layers.1.ple.gate"])
    np.testing.assert_allclose(g.values["layers.1.ple.act"], gate * g.values["ple"][:, 1], rtol=1e-14)


# Configurations


def released(**changes):
    text = dict(model_type="gemma4_text", hidden_size=1536, intermediate_size=6144, num_hidden_layers=35, num_attention_heads=8,
                num_key_value_heads=1, head_dim=256, global_head_dim=512, use_double_wide_mlp=True, num_kv_shared_layers=20,
                layer_types=([S] * 4 + [F]) * 7, final_logit_softcapping=30.0)
    return {**text, **changes}


def test_config_of_e2b():
    config = reference.read(released())
    assert [layer.width for layer in config.layers] == [6144] * 15 + [12288] * 20
    assert {layer.source for layer in config.layers[15:]} == {13, 14}
    assert config.ple_width == 256 and config.ple_vocabulary == 262144 and config.tied and config.cap == 30
    assert (config.layers[3].head_dim, config.layers[4].head_dim, config.layers[3].window, config.layers[4].window) == \
        (256, 512, 512, None)
    assert config.layers[4].rope == reference.Rope(1e6, "proportional", 1.0, 0.25)
    needed = reference.shapes(config)
    assert needed["layers.4.attn.q"] == (4096, 1536) and "layers.15.attn.k" not in needed
    assert sum(math.prod(shape) for shape in needed.values()) == 4_628_569_379


def test_config_of_26b():
    config = reference.read(dict(
        model_type="gemma4", tie_word_embeddings=True, text_config=dict(
            model_type="gemma4_text", hidden_size=2816, intermediate_size=2112, num_hidden_layers=30, num_attention_heads=16,
            num_key_value_heads=8, num_global_key_value_heads=2, attention_k_eq_v=True, sliding_window=1024,
            hidden_size_per_layer_input=0, enable_moe_block=True, num_experts=128, top_k_experts=8, moe_intermediate_size=704,
            use_bidirectional_attention="vision")))
    assert [l for l, layer in enumerate(config.layers) if layer.keys_are_values] == [5, 11, 17, 23, 29]
    assert sum(math.prod(shape) for shape in reference.shapes(config).values()) == 25_233_141_790


def test_config_of_gemma3_270m():
    config = reference.read(dict(model_type="gemma3_text", hidden_size=640, intermediate_size=2048, num_hidden_layers=18,
                                 num_attention_heads=4, num_key_value_heads=1, head_dim=256, sliding_window=512,
                                 vocab_size=262144, rope_theta=1e6, rope_local_base_freq=1e4))
    assert [l for l, layer in enumerate(config.layers) if layer.kind == F] == [5, 11, 17]
    assert config.layers[0].scale == 1 / 16 and config.cap is None and config.layers[5].rope == reference.Rope(1e6)
    assert sum(math.prod(shape) for shape in reference.shapes(config).values()) == 268_098_176


def test_full_layers_are_spelled_layer_by_layer_or_once():
    once = released(attention_k_eq_v=True, num_global_key_value_heads=4, num_key_value_heads=8)
    each = dict(once, per_layer_config={f"{l:02d}": {"head_dim": 512, "num_key_value_heads": 4} for l in range(4, 35, 5)})
    del each["global_head_dim"], each["num_global_key_value_heads"]
    assert reference.read(each) == reference.read(once)
    # Layer by layer wins, and {} means that all are alike; without either, full layers get 512.
    assert {layer.head_dim for layer in reference.read(released(per_layer_config={})).layers} == {256}
    nothing = released()
    del nothing["global_head_dim"]
    assert reference.read(nothing) == reference.read(released())
    # Heads of full layers differ only where K = V, unless they are stated layer by layer.
    assert reference.read(released(num_global_key_value_heads=4)) == reference.read(released())
    assert reference.read(released(per_layer_config={"4": {"num_key_value_heads": 4}})).layers[4].kv_heads == 4


def test_gemma3_in_both_spellings():
    sizes = dict(model_type="gemma3_text", num_hidden_layers=7, head_dim=32)
    rope = {S: {"rope_type": "default", "rope_theta": 1e4}, F: {"rope_type": "linear", "rope_theta": 5e5, "factor": 8.0}}
    newer = dict(sizes, rope_parameters=rope, layer_types=[S, S, F, S, S, F, S], _sliding_window_pattern=6)
    older = dict(sizes, rope_theta=5e5, rope_local_base_freq=1e4, rope_scaling=dict(rope_type="linear", factor=8.0),
                 sliding_window_pattern=3)
    assert reference.read(newer) == reference.read(older)
    assert reference.read(older).layers[2].rope == reference.Rope(5e5, "linear", 8.0)
    assert reference.read(older).layers[6].kind == S  # only Gemma 4 forces its last layer to be full
    assert reference.read(dict(older, model_type="gemma4_text", rope_scaling=None)).layers[6].kind == F


def test_the_wrapper_decides_on_ties():
    text = released(tie_word_embeddings=True)
    assert not reference.read(dict(model_type="gemma4", tie_word_embeddings=False, text_config=text)).tied
    assert reference.read(dict(model_type="gemma4", text_config=dict(text, tie_word_embeddings=False))).tied
    assert not reference.read(dict(text, tie_word_embeddings=False)).tied


@pytest.mark.parametrize("model", ["gemma3_text", "gemma4_text", "gemma4_unified_text"])
def test_missing_keys_mean_what_the_class_takes(model):
    transformers = pytest.importorskip("transformers", reason="compares the defaults with Transformers' own")
    theirs = transformers.AutoConfig.for_model(model)
    ours = reference.read({"model_type": model})
    assert len(ours.layers) == theirs.num_hidden_layers and ours.vocabulary == theirs.vocab_size
    assert [layer.kind for layer in ours.layers] == theirs.layer_types
    assert (ours.hidden, ours.eps, ours.cap) == (theirs.hidden_size, theirs.rms_norm_eps, theirs.final_logit_softcapping)
    assert ours.ple_width == getattr(theirs, "hidden_size_per_layer_input", 0)
    assert ours.positions == theirs.max_position_embeddings
    for l, layer in enumerate(ours.layers):
        one = theirs.per_layer_config[l] if model != "gemma3_text" else theirs
        assert (layer.heads, layer.kv_heads, layer.head_dim, layer.width) == \
            (one.num_attention_heads, one.num_key_value_heads, one.head_dim, one.intermediate_size)
        assert layer.window == (theirs.sliding_window if layer.kind == S else None)
        assert layer.rope.theta == theirs.rope_parameters[layer.kind]["rope_theta"]


@pytest.mark.parametrize("changes, part", [
    (dict(model_type="llama"), "model_type"), (dict(attention_bias=True), "attention_bias"),
    (dict(hidden_activation="silu"), "hidden_activation"), (dict(use_bidirectional_attention="all"), "bidirectional"),
    (dict(layer_types=[S, F]), "layer_types"), (dict(num_kv_shared_layers=35), "sharing layers"),
    (dict(per_layer_config={"40": {"head_dim": 4}}), "per_layer_config"),
    (dict(per_layer_config={"4": {"sliding_window": 4}}), "per_layer_config"),
    (dict(rope_parameters={S: {"rope_type": "yarn"}, F: {}}), "rope_type"), (dict(model_type="gemma4"), "text_config"),
])
def test_what_the_reference_does_not_compute_is_refused(changes, part):
    with pytest.raises(ValueError, match=part):
        reference.read(released(**changes))


# Names of weights


def test_prefixes_and_what_stands_beside_the_text():
    config = golden("gemma4-e2b").config
    for prefix in ("", "model.", "model.language_model.", "language_model.model."):
        assert reference.ours(prefix + "layers.3.self_attn.o_proj.weight", config) == "layers.3.attn.out"
        assert reference.ours(prefix + "embed_tokens_per_layer.weight", config) == "ple.table"
    for beside in ("model.vision_tower.encoder.layers.0.mlp.up_proj.weight", "vision_tower.x", "model.embed_audio.y",
                   "multi_modal_projector.z", "model.vision_embedder.w", "lm_head.weight"):
        assert reference.ours(beside, config) is None
    for unknown in ("model.layers.9.layer_scalar", "model.layers.0.mlp.bias", "model.layers.x.layer_scalar", "head"):
        with pytest.raises(ValueError, match="no tensor"):
            reference.ours(unknown, config)


def test_a_norm_moves_where_experts_stand_beside_the_dense_path():
    dense, mixed = golden("gemma4-e2b").config, golden("gemma4-26b-a4b").config
    name = "model.layers.0.post_feedforward_layernorm.weight"
    assert (reference.ours(name, dense), reference.ours(name, mixed)) == ("layers.0.ffn.post_norm", "layers.0.both_norm")
    assert reference.ours(name.replace("norm.", "norm_1."), mixed) == "layers.0.ffn.post_norm"


def test_dead_keys_of_sharing_layers_are_skipped():
    g = golden("gemma4-e2b")
    raw = reference.tensors(GOLDEN / "gemma4-e2b" / "model.safetensors")
    assert "model.layers.5.self_attn.k_proj.weight" in raw and "layers.5.attn.k" not in g.weights


def test_missing_and_misshapen_weights_are_refused():
    g = golden("gemma3")
    raw = reference.tensors(GOLDEN / "gemma3" / "model.safetensors")
    with pytest.raises(ValueError, match="head.norm"):
        reference.weights({name: raw[name] for name in raw if name != "model.norm.weight"}, g.config)
    raw["model.norm.weight"] = raw["model.norm.weight"][:-1]
    with pytest.raises(ValueError, match=r"head.norm: expected \(48,\), got \(47,\)"):
        reference.weights(raw, g.config)


def test_golden_weights_are_complete_and_nothing_else(each):
    assert each.weights.keys() == reference.shapes(each.config).keys()
