"""Perplexity and comparison, against the same sums in NumPy."""

import math

import numpy as np
import pytest

import gemloupe as gl
from conftest import tiny

TEXT = [2, *np.random.default_rng(1).integers(3, 240, 60).tolist()]


def log_softmax(logits):
    x = logits.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def scored(model, context):
    """(log-probabilities [row, vocabulary], targets) of the second half of every chunk, BOS first."""
    rows, targets = [], []
    for i in range(0, len(TEXT) - context + 1, context):
        chunk = [2, *TEXT[i + 1:i + context]]
        rows.append(log_softmax(model.run(chunk).logits)[context // 2:-1])
        targets.append(chunk[context // 2 + 1:])
    return np.concatenate(rows), np.concatenate(targets)


@pytest.mark.parametrize("context", [8, 15, 61])
def test_perplexity_is_llama_cpps(model, context):
    rows, targets = scored(model, context)
    nll = -rows[np.arange(len(targets)), targets]
    found = model.perplexity(TEXT, context=context)
    assert found.tokens_scored == len(targets)
    assert found.nll == pytest.approx(nll.mean(), rel=1e-12)  # sums of doubles in another order
    assert float(found) == found.value == pytest.approx(math.exp(nll.mean()), rel=1e-11)
    assert found.standard_error == pytest.approx(found.value * nll.std(ddof=1) / math.sqrt(len(nll)), rel=1e-9)


def test_a_protocol_can_be_repeated(gemma3):
    protocol = gemma3.perplexity(TEXT, context=16).protocol
    assert protocol["chunks"] == 3 and protocol["context"] == 16 and protocol["bos"] == 2
    assert {"model", "fingerprint", "arithmetic", "isa", "threads", "version", "formats"} <= set(protocol)


def test_a_short_text_is_one_chunk(gemma3):
    assert gemma3.perplexity(TEXT[:2], context=512).tokens_scored == 1
    assert gemma3.perplexity(TEXT[:10], context=512).tokens_scored == 4


def test_compare_is_kld_by_its_definition(gemma3):
    other = gemma3.quantize({"*.ffn.*": "int4_g16"})
    (p, _), (q, _) = scored(gemma3, 16), scored(other, 16)
    kld = (np.exp(p) * (p - q)).sum(-1)
    found = gl.compare(gemma3, other, [TEXT], context=16)
    assert found.tokens == len(kld)
    assert found.kld_mean == pytest.approx(kld.mean(), rel=1e-8)
    assert found.kld_p99 == pytest.approx(np.quantile(kld, 0.99), rel=1e-8)
    assert found.kld_max == pytest.approx(kld.max(), rel=1e-8)
    assert found.same_top == (p.argmax(-1) == q.argmax(-1)).mean()
    assert found.perplexity_base == pytest.approx(gemma3.perplexity(TEXT, context=16).value, rel=1e-12)
    assert found.perplexity_other == pytest.approx(other.perplexity(TEXT, context=16).value, rel=1e-12)
    assert (found.bytes_base, found.bytes_other) == (gemma3.bytes, other.bytes)


def test_a_model_is_its_own_twin(model):
    found = gl.compare(model, model, TEXT, context=16)
    assert (found.kld_mean, found.kld_max, found.same_top, found.first) == (0.0, 0.0, 1.0, None)
    assert "none" in str(found)


def test_the_first_difference_is_found_in_the_order_of_the_program(model):
    last = len(model.config.layers) - 1
    other = model.quantize({f"layers.{last}.attn.q": "int8_g16", "layers.1.ffn.up": "int8_g16"})
    found = gl.compare(model, other, [TEXT], context=16).first
    assert found.name == "layers.1.ffn.up"
    x, y = (m.run([2, *TEXT[1:16]], record="layers.1.ffn.up")["layers.1.ffn.up"] for m in (model, other))
    assert found.largest == np.abs(x.astype(float) - y).max() and found.base == x[found.index] and found.other == y[found.index]


def test_another_number_of_layers_compares_what_is_common(gemma3):
    shorter = gl.random(gemma3.config, layers=3, seed=7)
    assert gl.compare(gemma3, shorter, TEXT, context=16).first is not None


def test_many_texts_are_chunked_apart(gemma3):
    other = gemma3.quantize({"*.ffn.*": "int4_g16"})
    assert gl.compare(gemma3, other, [TEXT, TEXT], context=16).tokens == 2 * gl.compare(gemma3, other, [TEXT], context=16).tokens


def test_vocabularies_must_agree(gemma3):
    with pytest.raises(ValueError, match="vocabular"):
        gl.compare(gemma3, tiny("31b"), TEXT)


def test_divergence_of_overflowing_and_broken_logits():
    from gemloupe import _core
    a = np.array([[1e30, -1e30, 0.0], [np.nan, 0.0, 0.0]], np.float32)
    kld, same = _core.divergences(a, a)
    assert kld[0] == 0.0 and same[0] and math.isnan(kld[1])
