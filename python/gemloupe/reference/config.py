"""What a config.json says about the text model, in every spelling in use, as plain facts about each layer.

    read(dictionary) -> Config

A missing key means what the class of that model in Transformers takes for it: a Gemma 4 text model without
hidden_size_per_layer_input has per-layer embeddings of 256, a unified one has none. What this reference does not compute
(biases, bidirectional text, other rope scalings) is refused, never ignored.
"""

from dataclasses import dataclass

from .cache import sources

SLIDING, FULL = "sliding_attention", "full_attention"
WRAPPERS = ("gemma3", "gemma4", "gemma4_unified")


@dataclass(frozen=True)
class Rope:
    """How positions turn a layer's queries and keys; the fields are the arguments of rope.frequencies."""

    theta: float
    kind: str = "default"
    factor: float = 1.0
    share: float = 1.0


@dataclass(frozen=True)
class Layer:
    """One decoder layer. `source` is the layer whose cache it reads, its own index if it owns one."""

    kind: str
    source: int
    heads: int
    kv_heads: int
    head_dim: int
    window: int | None
    scale: float
    rope: Rope
    width: int
    keys_are_values: bool = False


@dataclass(frozen=True)
class Config:
    """A Gemma text model. Widths of 0 mean that the model lacks the part."""

    family: str
    vocabulary: int
    hidden: int
    eps: float
    layers: tuple[Layer, ...]
    tied: bool
    cap: float | None
    positions: int
    ple_vocabulary: int = 0
    ple_width: int = 0
    experts: int = 0
    experts_used: int = 0
    expert_width: int = 0


def read(config):
    """The dictionary of a config.json, of a text model or of one wrapped with towers -> Config. ValueError if it is neither."""
    outer = dict(config)
    model = outer.get("model_type")
    if model in WRAPPERS:
        if not isinstance(outer.get("text_config"), dict):
            raise ValueError(f"config: model_type {model} keeps its text model in text_config, which is missing")
        text = dict(outer["text_config"])
        text["tie_word_embeddings"] = outer.get("tie_word_embeddings", True)
        model += "_text"
    else:
        text = outer
    if model == "gemma3_text":
        return _read_gemma3(text)
    if model in ("gemma4_text", "gemma4_unified_text"):
        return _read_gemma4(text, unified=model == "gemma4_unified_text")
    raise ValueError(f"config: expected the model_type of a Gemma 3 or Gemma 4, got {model!r}")


def _get(text, key, default):
    """A null means the same as a missing key."""
    value = text.get(key)
    return default if value is None else value


def _refuse(text, key, *accepted):
    if text.get(key) not in (None, *accepted):
        raise ValueError(f"config: {key}: expected {' or '.join(map(repr, accepted))}, got {text[key]!r}")


def _common(text, positions=131072):
    """The keys that all read alike."""
    _refuse(text, "hidden_activation", "gelu_pytorch_tanh")
    _refuse(text, "attention_bias", False)
    return dict(hidden=_get(text, "hidden_size", 2304), eps=_get(text, "rms_norm_eps", 1e-6),
                tied=_get(text, "tie_word_embeddings", True), cap=text.get("final_logit_softcapping"),
                positions=_get(text, "max_position_embeddings", positions))


def _kinds(text, layers, period):
    kinds = _get(text, "layer_types", [FULL if (l + 1) % period == 0 else SLIDING for l in range(layers)])
    if len(kinds) != layers or set(kinds) - {SLIDING, FULL}:
        raise ValueError(f"config: layer_types: expected {layers} of {SLIDING} or {FULL}, got {kinds}")
    return list(kinds)


def _rope(parameters, theta):
    kind = _get(parameters, "rope_type", _get(parameters, "type", "default"))
    if kind not in ("default", "linear", "proportional"):
        raise ValueError(f"config: rope_type: expected default, linear or proportional, got {kind!r}")
    share = _get(parameters, "partial_rotary_factor", 1.0) if kind == "proportional" else 1.0
    factor = _get(parameters, "factor", 1.0) if kind != "default" else 1.0
    return Rope(float(_get(parameters, "rope_theta", theta)), kind, float(factor), float(share))


def _read_gemma3(text):
    count = _get(text, "num_hidden_layers", 26)
    _refuse(text, "use_bidirectional_attention", False)
    # layer_types wins; _sliding_window_pattern is written by newer files and read by nobody.
    kinds = _kinds(text, count, _get(text, "sliding_window_pattern", 6))
    nested = _get(text, "rope_parameters", {})
    full = {**_get(nested, FULL, {}), **_get(text, "rope_scaling", {})}
    ropes = {FULL: _rope(full, _get(text, "rope_theta", 1e6)),
             SLIDING: _rope(_get(nested, SLIDING, {}), _get(text, "rope_local_base_freq", 1e4))}
    window = text.get("sliding_window", 4096)
    # attn_logit_softcapping stands in these files and has no effect in Gemma 3.
    layers = tuple(
        Layer(kind=kind, source=l, heads=_get(text, "num_attention_heads", 8), kv_heads=_get(text, "num_key_value_heads", 4),
              head_dim=_get(text, "head_dim", 256), window=window if kind == SLIDING else None,
              scale=_get(text, "query_pre_attn_scalar", 256) ** -0.5, rope=ropes[kind],
              width=_get(text, "intermediate_size", 9216))
        for l, kind in enumerate(kinds))
    return Config(family="gemma3", vocabulary=_get(text, "vocab_size", 262208), layers=layers, **_common(text))


def _read_gemma4(text, unified):
    count = _get(text, "num_hidden_layers", 30)
    _refuse(text, "use_bidirectional_attention", "vision")  # which changes nothing where there are no images
    kinds = _kinds(text, count, 6)
    kinds[-1] = FULL
    shared = _get(text, "num_kv_shared_layers", 0)
    source = sources(kinds, shared)
    nested = _get(text, "rope_parameters", {SLIDING: {"rope_theta": 1e4},
                                            FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25,
                                                   "rope_theta": 1e6}})
    ropes = {kind: _rope(_get(nested, kind, {}), 1e4) for kind in set(kinds)}
    keys_are_values = _get(text, "attention_k_eq_v", False)
    differing = _overrides(text, kinds, keys_are_values)
    width = _get(text, "intermediate_size", 9216)
    doubled = 2 if _get(text, "use_double_wide_mlp", False) else 1
    layers = tuple(
        Layer(kind=kind, source=source[l], heads=_get(text, "num_attention_heads", 8),
              kv_heads=differing[l].get("num_key_value_heads", _get(text, "num_key_value_heads", 4)),
              head_dim=differing[l].get("head_dim", _get(text, "head_dim", 256)),
              window=_get(text, "sliding_window", 1024 if unified else 512) if kind == SLIDING else None,
              scale=1.0, rope=ropes[kind], width=width if source[l] == l else doubled * width,
              keys_are_values=keys_are_values and kind == FULL)
        for l, kind in enumerate(kinds))
    vocabulary = _get(text, "vocab_size", 262144)
    parts = {}
    if not unified:
        parts["ple_width"] = _get(text, "hidden_size_per_layer_input", 256)
        parts["ple_vocabulary"] = _get(text, "vocab_size_per_layer_input", 262144) if parts["ple_width"] else 0
        if _get(text, "enable_moe_block", False):
            parts.update(experts=text["num_experts"], experts_used=text["top_k_experts"],
                         expert_width=text["moe_intermediate_size"])
    return Config(family="gemma4", vocabulary=vocabulary, layers=layers,
                  **_common(text, positions=262144 if unified else 131072), **parts)


def _overrides(text, kinds, keys_are_values):
    """What differs from the top level in each layer: stated layer by layer, or once for all full layers."""
    if text.get("per_layer_config") is not None:
        stated = {int(layer): dict(values) for layer, values in text["per_layer_config"].items()}
        for layer, values in stated.items():
            if not 0 <= layer < len(kinds) or set(values) - {"head_dim", "num_key_value_heads"}:
                raise ValueError(f"config: per_layer_config: expected head_dim and num_key_value_heads of layers 0 to "
                                 f"{len(kinds) - 1}, got {values} of layer {layer}")
        return [stated.get(layer, {}) for layer in range(len(kinds))]
    full = {"head_dim": _get(text, "global_head_dim", 512)}
    # Without K = V the key counts for nothing, whatever the file says.
    if keys_are_values and text.get("num_global_key_value_heads") is not None:
        full["num_key_value_heads"] = text["num_global_key_value_heads"]
    return [full if kind == FULL else {} for kind in kinds]
