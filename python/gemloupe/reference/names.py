"""The names of weights: a checkpoint's spelling on the left, ours on the right.

Text models are spelled `model.layers.0...`, wrapped ones `model.language_model.layers.0...` or, in Gemma 3 files of 2025,
`language_model.model.layers.0...`; towers and projectors stand beside them and are left out.
"""

import numpy as np

MODEL = {
    "embed_tokens.weight": "embed",
    "embed_tokens_per_layer.weight": "ple.table",
    "per_layer_model_projection.weight": "ple.context",
    "per_layer_projection_norm.weight": "ple.norm",
    "norm.weight": "head.norm",
}
LAYER = {
    "input_layernorm.weight": "attn.norm",
    "self_attn.q_proj.weight": "attn.q",
    "self_attn.k_proj.weight": "attn.k",
    "self_attn.v_proj.weight": "attn.v",
    "self_attn.q_norm.weight": "attn.q_norm",
    "self_attn.k_norm.weight": "attn.k_norm",
    "self_attn.o_proj.weight": "attn.out",
    "post_attention_layernorm.weight": "attn.post_norm",
    "pre_feedforward_layernorm.weight": "ffn.norm",
    "mlp.gate_proj.weight": "ffn.gate",
    "mlp.up_proj.weight": "ffn.up",
    "mlp.down_proj.weight": "ffn.down",
    "post_feedforward_layernorm.weight": "ffn.post_norm",
    "per_layer_input_gate.weight": "ple.gate",
    "per_layer_projection.weight": "ple.proj",
    "post_per_layer_input_norm.weight": "ple.post_norm",
    "layer_scalar": "scale",
}
# Beside experts the dense path has a norm of its own, and what was its norm follows the sum of both.
BESIDE_EXPERTS = {
    "post_feedforward_layernorm_1.weight": "ffn.post_norm",
    "post_feedforward_layernorm.weight": "both_norm",
    "router.scale": "moe.query",
    "router.proj.weight": "moe.scores",
    "router.per_expert_scale": "moe.route",
    "pre_feedforward_layernorm_2.weight": "moe.norm",
    "experts.gate_up_proj": "moe.gate_up",
    "experts.down_proj": "moe.down",
    "post_feedforward_layernorm_2.weight": "moe.post_norm",
}
TEXT = ("model.language_model.", "language_model.model.", "model.")
BESIDE_TEXT = ("vision_tower.", "vision_embedder.", "multi_modal_projector.", "audio_tower.", "embed_vision.", "embed_audio.")


def ours(name, config):
    """Our name of a tensor of a checkpoint; None for one that a text model leaves out; ValueError for an unknown one."""
    if name.removeprefix("model.").startswith(BESIDE_TEXT):
        return None
    if name in ("lm_head.weight", "language_model.lm_head.weight"):
        return None if config.tied else "head"
    prefix = next((prefix for prefix in TEXT if name.startswith(prefix)), "")
    inner = name.removeprefix(prefix)
    if inner in MODEL:
        return MODEL[inner]
    if inner.endswith("rotary_emb.inv_freq"):
        return None
    if inner.startswith("layers."):
        _, number, part = inner.split(".", 2)
        known = {**LAYER, **BESIDE_EXPERTS} if config.experts else LAYER
        if number.isdigit() and int(number) < len(config.layers) and part in known:
            layer = config.layers[int(number)]
            unread = known[part] in ("attn.k", "attn.v", "attn.k_norm") and layer.source != int(number)
            unread = unread or (known[part] == "attn.v" and layer.keys_are_values)
            return None if unread else f"layers.{int(number)}.{known[part]}"
    raise ValueError(f"weights: {name} is no tensor of this {config.family}")


def shapes(config):
    """Every weight the model needs, by our names, with its shape."""
    h, needed = config.hidden, {}
    needed["embed"] = (config.vocabulary, h)
    if config.ple_width:
        across = len(config.layers) * config.ple_width
        needed["ple.table"] = (config.ple_vocabulary, across)
        needed["ple.context"] = (across, h)
        needed["ple.norm"] = (config.ple_width,)
    for l, layer in enumerate(config.layers):
        queries, keys = layer.heads * layer.head_dim, layer.kv_heads * layer.head_dim
        here = {"attn.norm": (h,), "attn.q": (queries, h), "attn.q_norm": (layer.head_dim,), "attn.out": (h, queries),
                "attn.post_norm": (h,), "ffn.norm": (h,), "ffn.gate": (layer.width, h), "ffn.up": (layer.width, h),
                "ffn.down": (h, layer.width), "ffn.post_norm": (h,)}
        if layer.source == l:
            here |= {"attn.k": (keys, h), "attn.k_norm": (layer.head_dim,)}
            if not layer.keys_are_values:
                here["attn.v"] = (keys, h)
        if config.experts:
            here |= {"moe.query": (h,), "moe.scores": (config.experts, h), "moe.route": (config.experts,), "moe.norm": (h,),
                     "moe.gate_up": (config.experts, 2 * config.expert_width, h),
                     "moe.down": (config.experts, h, config.expert_width), "moe.post_norm": (h,), "both_norm": (h,)}
        if config.ple_width:
            here |= {"ple.gate": (config.ple_width, h), "ple.proj": (h, config.ple_width), "ple.post_norm": (h,)}
        if config.family == "gemma4":
            here["scale"] = (1,)
        needed |= {f"layers.{l}.{part}": shape for part, shape in here.items()}
    needed["head.norm"] = (h,)
    if not config.tied:
        needed["head"] = (config.vocabulary, h)
    return needed


def weights(tensors, config):
    """A checkpoint's tensors (name -> array) -> the weights by our names. ValueError for missing or misshapen ones.

    Norms come out as what multiplies: Gemma 3 stores that less one. The one is added in float32, as Transformers does.
    """
    found = {}
    for name, tensor in tensors.items():
        our_name = ours(name, config)
        if our_name is not None:
            tensor = np.asarray(tensor)
            if config.family == "gemma3" and our_name.endswith("norm"):
                tensor = tensor.astype(np.result_type(tensor, np.float32)) + 1
            found[our_name] = tensor
    needed = shapes(config)
    if missing := sorted(needed.keys() - found.keys()):
        raise ValueError(f"weights: {len(missing)} are missing, among them {missing[0]}")
    for name, shape in needed.items():
        if found[name].shape != shape:
            raise ValueError(f"weights: {name}: expected {shape}, got {found[name].shape}")
    return found
