"""Makes the golden files beside it: tiny random Gemma checkpoints and what Transformers computes from them.

    python tests/golden/make_golden.py [NAME ...]

Every folder holds config.json, the weights as an ordinary Hugging Face file (or shards) and expected.npz: the tokens, the
logits of every position, a greedy continuation and some values inside, all computed by Transformers in float32 from the
weights as stored. Norms and scales stay away from 1, windows are shorter than the prompt, sizes are odd on purpose. A seed is
refused if a greedy choice or a choice of experts is so close that rounding could turn it.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
PROMPT, CONTINUATION = 29, 12
S, F = "sliding_attention", "full_attention"

# Spellings of config.json and of tensor names that published files have and save_pretrained does not write.
SIGLIP = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)


def spell_old_gemma3(config):
    """Rope and pattern as in the files of early 2025: no layer_types, no rope_parameters."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope[F]["rope_theta"]
    config["rope_local_base_freq"] = rope[S]["rope_theta"]
    if rope[F]["rope_type"] != "default":
        config["rope_scaling"] = {"rope_type": rope[F]["rope_type"], "factor": rope[F]["factor"]}
    types = config.pop("layer_types")
    config.pop("_sliding_window_pattern", None)
    config["sliding_window_pattern"] = types.index(F) + 1
    config["torch_dtype"] = config.pop("dtype")


def spell_published_gemma4(config):
    """Full layers stated once for all, instead of layer by layer."""
    text = config.get("text_config", config)
    overrides = {int(layer): values for layer, values in text.pop("per_layer_config").items()}
    full = overrides[text["layer_types"].index(F)]
    text["global_head_dim"] = full["head_dim"]
    text["num_global_key_value_heads"] = full.get("num_key_value_heads")


def spell_short_gemma4(config):
    """Nothing stated that the class would choose by itself: no layer types, no rope."""
    spell_published_gemma4(config)
    text = config.get("text_config", config)
    for key in ("layer_types", "rope_parameters"):
        del text[key]


def spell_ties_apart(config):
    """In a wrapped checkpoint only the outer key counts; the inner one says the opposite here."""
    spell_published_gemma4(config)
    config["text_config"]["tie_word_embeddings"] = not config["tie_word_embeddings"]


def name_old_gemma3(name):
    """The prefixes of the multimodal Gemma 3 files as published."""
    if name.startswith("model.language_model."):
        return "language_model.model." + name.removeprefix("model.language_model.")
    if name.startswith("lm_head."):
        return "language_model." + name
    return name.removeprefix("model.")


def gemma3(**sizes):
    return transformers.Gemma3TextConfig(attention_dropout=0.0, **sizes)


def gemma4(**sizes):
    return transformers.Gemma4TextConfig(**sizes)


def small_gemma4_wrapper(text, **outer):
    vision = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
                  head_dim=8, patch_size=2, position_embedding_size=6, use_clipped_linears=True)
    return transformers.Gemma4Config(text_config=text, vision_config=vision, audio_config=None, **outer)


def small_unified_wrapper(text):
    vision = dict(patch_size=2, pooling_kernel_size=1, mm_embed_dim=12, mm_posemb_size=5, output_proj_dims=text.hidden_size)
    return transformers.Gemma4UnifiedConfig(text_config=text, vision_config=vision, audio_config=dict(audio_embed_dim=10))


def linear(theta, factor):
    return {S: {"rope_type": "default", "rope_theta": 10000.0},
            F: {"rope_type": "linear", "rope_theta": theta, "factor": factor}}


# name -> configuration, model class, stored type, and what differs from the spelling that save_pretrained writes.
def cases():
    t = transformers
    yield "gemma3", dict(
        config=gemma3(vocab_size=260, hidden_size=48, intermediate_size=60, num_hidden_layers=6, num_attention_heads=6,
                      num_key_value_heads=2, head_dim=24, query_pre_attn_scalar=24, sliding_window=9),
        model=t.Gemma3ForCausalLM, dtype=torch.float32)
    yield "gemma3-linear", dict(
        config=gemma3(vocab_size=231, hidden_size=48, intermediate_size=90, num_hidden_layers=5, num_attention_heads=4,
                      num_key_value_heads=1, head_dim=32, query_pre_attn_scalar=20, sliding_window=7, rms_norm_eps=1e-5,
                      layer_types=[S, S, F, S, S], rope_parameters=linear(50000.0, 8.0)),
        model=t.Gemma3ForCausalLM, dtype=torch.bfloat16, spell=spell_old_gemma3)
    yield "gemma3-wrapped", dict(
        config=t.Gemma3Config(
            text_config=gemma3(vocab_size=240, hidden_size=48, intermediate_size=72, num_hidden_layers=4, num_attention_heads=3,
                               num_key_value_heads=3, head_dim=16, query_pre_attn_scalar=16, sliding_window=8,
                               layer_types=[S, F, S, F], rope_parameters=linear(1e6, 4.0)),
            vision_config=dict(model_type="siglip_vision_model", **SIGLIP), mm_tokens_per_image=4, image_token_index=239),
        model=t.Gemma3ForConditionalGeneration, dtype=torch.bfloat16, rename=name_old_gemma3)
    yield "gemma4-e2b", dict(
        config=gemma4(vocab_size=256, vocab_size_per_layer_input=256, hidden_size=48, intermediate_size=56,
                      use_double_wide_mlp=True, num_hidden_layers=9, num_kv_shared_layers=4, num_attention_heads=4,
                      num_key_value_heads=1, head_dim=16, global_head_dim=32, hidden_size_per_layer_input=12,
                      sliding_window=7, layer_types=[S, S, F, S, F, S, S, S, F], final_logit_softcapping=30.0),
        model=t.Gemma4ForCausalLM, dtype=torch.bfloat16, spell=spell_published_gemma4, dead=[5, 8])
    yield "gemma4-26b-a4b", dict(
        config=gemma4(vocab_size=250, hidden_size=48, intermediate_size=40, num_hidden_layers=6, num_attention_heads=4,
                      num_key_value_heads=2, num_global_key_value_heads=1, attention_k_eq_v=True, head_dim=16,
                      global_head_dim=32, hidden_size_per_layer_input=0, sliding_window=10, enable_moe_block=True,
                      num_experts=10, top_k_experts=3, moe_intermediate_size=18, final_logit_softcapping=30.0,
                      use_bidirectional_attention="vision"),
        model=t.Gemma4ForCausalLM, dtype=torch.bfloat16)
    yield "gemma4-e4b", dict(
        config=gemma4(vocab_size=270, vocab_size_per_layer_input=270, hidden_size=40, intermediate_size=66,
                      num_hidden_layers=12, num_kv_shared_layers=4, num_attention_heads=6, num_key_value_heads=2,
                      head_dim=16, global_head_dim=24, hidden_size_per_layer_input=10, sliding_window=11,
                      final_logit_softcapping=4.0),
        model=t.Gemma4ForCausalLM, dtype=torch.float16)
    unified = transformers.Gemma4UnifiedTextConfig(
        vocab_size=256, hidden_size=72, intermediate_size=64, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=3,
        num_global_key_value_heads=1, attention_k_eq_v=True, head_dim=24, global_head_dim=40, sliding_window=8,
        final_logit_softcapping=30.0)
    yield "gemma4-12b", dict(config=small_unified_wrapper(unified), model=t.Gemma4UnifiedForConditionalGeneration,
                             dtype=torch.bfloat16, spell=spell_short_gemma4)
    yield "gemma4-31b", dict(
        config=gemma4(vocab_size=290, hidden_size=80, intermediate_size=72, num_hidden_layers=6, num_attention_heads=8,
                      num_key_value_heads=4, num_global_key_value_heads=2, attention_k_eq_v=True, head_dim=16,
                      global_head_dim=32, hidden_size_per_layer_input=0, sliding_window=12, final_logit_softcapping=30.0),
        model=t.Gemma4ForCausalLM, dtype=torch.bfloat16, shard="140KB")
    wrapped = gemma4(vocab_size=256, vocab_size_per_layer_input=256, hidden_size=40, intermediate_size=36, num_hidden_layers=5,
                     num_kv_shared_layers=2, num_attention_heads=2, num_key_value_heads=2, head_dim=32, global_head_dim=48,
                     hidden_size_per_layer_input=8, sliding_window=6, layer_types=[S, S, F, S, F],
                     final_logit_softcapping=20.0)
    yield "gemma4-wrapped", dict(config=small_gemma4_wrapper(wrapped, tie_word_embeddings=False),
                                 model=t.Gemma4ForConditionalGeneration, dtype=torch.float32, spell=spell_ties_apart)


def random_value(name, shape, gemma3, random):
    """Scales keep the stream near 1, the attention neither flat nor one-hot, and every factor visible."""
    last = name.rsplit(".", 2)
    unit = random.standard_normal(shape)
    around_one = random.uniform(0.5, 1.5, shape)
    if name.endswith(("layer_scalar", "router.scale", "per_expert_scale")):
        return around_one
    if "norm" in last[-2] and len(shape) == 1:
        # A small embedding under a large last norm: else the tied head would only repeat the token it was given.
        scale = 6 if last[-2] == "norm" else 0.6 if last[-2] in ("q_norm", "k_norm") and not gemma3 else 1
        return scale * around_one - (1 if gemma3 else 0)
    if name.endswith(("embed_tokens.weight", "lm_head.weight")):
        return unit * 0.5 / np.sqrt(shape[-1])
    if name.endswith("embed_tokens_per_layer.weight"):
        return unit * 0.3
    if name.endswith("router.proj.weight"):
        return unit * 1.5
    return unit / np.sqrt(shape[-1] if len(shape) > 1 else 1)


def fill(model, seed):
    random = np.random.default_rng(seed)
    family3 = "gemma3" in model.config.model_type
    done = set()
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            if tensor.is_floating_point() and tensor.data_ptr() not in done and tensor.dim() > 0:
                done.add(tensor.data_ptr())
                tensor.copy_(torch.from_numpy(random_value(name, tuple(tensor.shape), family3, random)))


def write(folder, case, seed):
    model = case["model"](case["config"])
    fill(model, seed)
    model.to(case["dtype"]).save_pretrained(folder, max_shard_size=case.get("shard", "1GB"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if "spell" in case:
        case["spell"](config)
    # A tiny vocabulary has none of the special ids, and a continuation of fixed length wants no end.
    path.write_text(json.dumps(config, indent=1) + "\n")
    if "rename" in case or "dead" in case:
        tensors = load_file(folder / "model.safetensors")
        rename = case.get("rename", lambda name: name)
        tensors = {rename(name): tensor for name, tensor in tensors.items()}
        for layer in case.get("dead", ()):  # as some published files do, where a layer shares an earlier one's cache
            owner = next(l for l in range(layer) if case["config"].layer_types[l] == case["config"].layer_types[layer])
            for part in ("k_proj", "v_proj", "k_norm"):
                name = f"model.layers.%d.self_attn.{part}.weight"
                tensors[name % layer] = torch.full_like(tensors[name % owner], 7.0)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def watch(model, layers):
    """Values inside, under gemloupe's names, filled by the next forward pass."""
    seen = {}

    def keep(name):
        def hook(module, inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            seen[name] = output.detach().reshape(-1, output.shape[-1]).numpy().copy()
        return hook

    def keep_route(name):
        def hook(module, inputs, output):
            seen[name + ".weights"] = output[1].detach().numpy().copy()
            seen[name + ".experts"] = output[2].numpy().astype(np.int32)
        return hook

    text = model.get_decoder()
    text = getattr(text, "language_model", text)
    text.embed_tokens.register_forward_hook(keep("embed"))
    text.norm.register_forward_hook(keep("head.norm"))
    for l, layer in enumerate(text.layers):
        at = f"layers.{l}."
        if hasattr(layer, "router"):
            layer.router.proj.register_forward_hook(keep(at + "moe.scores"))
        if l not in layers:
            continue
        layer.register_forward_hook(keep(at + "out"))
        layer.self_attn.o_proj.register_forward_hook(keep(at + "attn.out"))
        layer.self_attn.o_proj.register_forward_pre_hook(
            lambda module, inputs, name=at + "attn.mix": keep(name)(module, None, inputs[0]))
        layer.mlp.register_forward_hook(keep(at + "ffn.down"))
        if hasattr(layer, "router"):
            layer.router.register_forward_hook(keep_route(at + "moe.route"))
            layer.experts.register_forward_hook(keep(at + "moe.out"))
        if getattr(layer, "hidden_size_per_layer_input", 0):
            layer.per_layer_projection.register_forward_hook(keep(at + "ple.proj"))
    if getattr(text, "hidden_size_per_layer_input", 0):
        combine = text.project_per_layer_inputs

        def combined(*args, **kwargs):
            output = combine(*args, **kwargs)
            seen["ple"] = output[0].detach().numpy().copy()
            return output
        text.project_per_layer_inputs = combined
    return seen


def closest_choice(values, count=1):
    """The smallest step between the last value chosen and the first one left out."""
    ordered = -np.sort(-np.asarray(values), axis=-1)
    return float((ordered[..., count - 1] - ordered[..., count]).min())


def expect(folder, case, seed):
    model, report = case["model"].from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True,
        **({"experts_implementation": "eager"} if "a4b" in folder.name else {}))
    assert not report["missing_keys"], report["missing_keys"]
    model.eval()
    vocab = model.config.get_text_config().vocab_size
    layers = range(model.config.get_text_config().num_hidden_layers)
    random = np.random.default_rng(seed + 1)
    tokens = np.concatenate([[2], random.integers(5, min(vocab, 230), PROMPT - 1)])
    picked = sorted({0, len(layers) // 2, len(layers) - 1})
    seen = watch(model, picked)
    extra = {}
    if isinstance(model, (transformers.Gemma3ForConditionalGeneration,)):
        extra["token_type_ids"] = torch.zeros(1, PROMPT, dtype=torch.long)
    with torch.no_grad():
        ids = torch.from_numpy(tokens)[None]
        logits = model(ids, use_cache=False, **extra).logits[0].numpy()
        values = {name: value.copy() for name, value in seen.items()}
        longer = ids
        for _ in range(CONTINUATION):  # every step from scratch, so that no cache can be wrong in it
            if extra:
                extra["token_type_ids"] = torch.zeros_like(longer)
            scores = model(longer, use_cache=False, **extra).logits[0, -1]
            assert closest_choice(scores.numpy()) > 2e-3, "a greedy choice is too close: take another seed"
            longer = torch.cat([longer, scores.argmax().reshape(1, 1)], dim=1)
        greedy = longer[0, PROMPT:].numpy()
        model.generation_config.eos_token_id = None
        generated = model.generate(ids, do_sample=False, max_new_tokens=CONTINUATION, pad_token_id=0)[0, PROMPT:].numpy()
    assert (generated == greedy).all(), (generated, greedy)
    assert len(set(greedy)) > 3, f"the continuation repeats itself: {greedy}"
    for name in values:
        if name.endswith("moe.scores"):
            used = model.config.get_text_config().top_k_experts
            assert closest_choice(values[name], used) > 1e-3, f"{name}: a choice of experts is too close: take another seed"
    np.savez_compressed(folder / "expected.npz", tokens=tokens.astype(np.int32), logits=logits.astype(np.float32),
                        greedy=greedy.astype(np.int32), **values)


def make(name, case):
    """Tries seeds in ascending order until no choice is close; the first that serves is always the same one."""
    for seed in range(1, 40):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / name
            folder.mkdir()
            write(folder, case, seed)
            try:
                expect(folder, case, seed)
            except AssertionError as reason:
                if "seed" not in str(reason) and "repeats" not in str(reason):
                    raise
                print(f"{name}: seed {seed}: {reason}")
                continue
            target = HERE / name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target)
        size = sum(path.stat().st_size for path in target.iterdir())
        print(f"{name}: seed {seed}, {size / 1000:.0f} KB: {', '.join(sorted(path.name for path in target.iterdir()))}")
        return
    raise SystemExit(f"{name}: no seed serves")


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    wanted = sys.argv[1:]
    for name, case in cases():
        if not wanted or name in wanted:
            make(name, case)
