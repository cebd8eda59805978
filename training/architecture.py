"""The two models' sizes, as configurations of Transformers' Gemma 4 text classes, and how fresh weights are drawn."""

import torch
from transformers import Gemma4ForCausalLM, Gemma4TextConfig

VOCABULARY = 2048
PAD, EOS, BOS, UNK = range(4)

COMMON = dict(
    vocab_size=VOCABULARY, vocab_size_per_layer_input=VOCABULARY, hidden_size=256, intermediate_size=256, num_hidden_layers=6,
    layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2, sliding_window=128, num_kv_shared_layers=3,
    num_attention_heads=4, head_dim=32, num_key_value_heads=2, global_head_dim=64, num_global_key_value_heads=1,
    attention_k_eq_v=True, hidden_size_per_layer_input=16, final_logit_softcapping=30.0, max_position_embeddings=512,
    pad_token_id=PAD, eos_token_id=EOS, bos_token_id=BOS, tie_word_embeddings=True,
)
MODELS = {
    "gem-mini": COMMON | dict(enable_moe_block=True, num_experts=16, top_k_experts=2, moe_intermediate_size=64),
    # As many multiplications a token as above: the dense MLP is wider by what two experts compute.
    "gem-mini-dense": COMMON | dict(intermediate_size=256 + 2 * 64),
}


def fresh(name: str, seed: int = 0) -> Gemma4ForCausalLM:
    """The model with random weights, float32, drawn so that every branch adds little and attention starts soft.

    Attention divides by nothing in Gemma 4, so q_norm's weight starts at head_dim^-1/2. The branches end in norms, whose weights
    start below one, else depth alone would drown the embedding.
    """
    torch.manual_seed(seed)
    model = Gemma4ForCausalLM(Gemma4TextConfig(**MODELS[name]))
    text = model.model
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5 * parameter.shape[-1] ** -0.5)
        text.embed_tokens.weight.normal_(0, 0.04)
        text.embed_tokens_per_layer.weight.normal_(0, 0.05)
        for layer in text.layers:
            layer.self_attn.q_norm.weight.fill_(layer.self_attn.head_dim ** -0.5)
            layer.post_attention_layernorm.weight.fill_(0.5)
            layer.post_feedforward_layernorm.weight.fill_(0.5)
            layer.post_per_layer_input_norm.weight.fill_(0.25)
            if layer.enable_moe_block:
                layer.router.proj.weight.normal_(0, 0.5)  # the router's input has length one
    return model


def parameter_counts(model: Gemma4ForCausalLM) -> dict[str, int]:
    """Parameters: all of them, in the two embedding tables, and outside of these; active: what one token multiplies with."""
    text, config = model.model, model.config
    total = sum(p.numel() for p in model.parameters())
    embed, per_layer = text.embed_tokens.weight.numel(), text.embed_tokens_per_layer.weight.numel()
    resting = 0
    for layer in text.layers:
        if layer.enable_moe_block:
            of_experts = layer.experts.gate_up_proj.numel() + layer.experts.down_proj.numel()
            resting += of_experts * (config.num_experts - config.top_k_experts) // config.num_experts
    outside = total - embed - per_layer
    return dict(total=total, embedding=embed, per_layer_embedding=per_layer, outside=outside, active_outside=outside - resting)
