"""The forward pass that training uses: Transformers' Gemma 4 text model, written so that a processor core has less to do.

Reads the parameters of a Gemma4ForCausalLM where they lie and gives the same logits as that model, within the rounding of
`dtype` (tests/python/test_gem_mini.py). What differs: experts are grouped by one sort and multiplied one after the other by
an op of its own, so that the rest compiles into one graph; a router may add a bias to the choice; and what a router's loss
needs comes out with the logits.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor | None, eps: float = 1e-6) -> Tensor:
    y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return y if weight is None else y * weight


def linear(x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    return F.linear(x.to(dtype), weight.to(dtype))


def gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


WHOLE = 64  # rows: matrices of few different heights, since oneDNN compiles a kernel for each height it meets


def slices(ends: Tensor) -> list[tuple[int, int, int]]:
    ends = ends.tolist()
    return [(e, begin, end) for e, (begin, end) in enumerate(zip([0, *ends], ends)) if end > begin]


def grouped(x: Tensor, place: Tensor, slots: int, experts: int) -> Tensor:
    """Each row of x in its slots' places; zeros between them."""
    rows = x.new_zeros(len(place) + WHOLE * experts, x.shape[1])
    return rows.index_copy_(0, place, x.repeat_interleave(slots, 0))


# y[t] = sum over slots of weight[t, slot] * down[e] (gelu(gate) * up), e = chosen[t, slot]. The (token, slot) pairs of an expert
# lie together, rounded up to whole WHOLEs. Also returns what backward needs: each pair's place, where each expert's rows end,
# and at their places the inputs, their gate and up, and the weights.
@torch.library.custom_op("gem_mini::mixture", mutates_args=())
def experts(x: Tensor, chosen: Tensor, weights: Tensor, gate_up: Tensor, down: Tensor) -> tuple[
        Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    slots = chosen.shape[1]
    order = chosen.flatten().argsort(stable=True)
    counts = torch.bincount(chosen.flatten(), minlength=len(gate_up))
    whole = (counts + WHOLE - 1) // WHOLE * WHOLE
    ends = whole.cumsum(0)
    before = (ends - whole) - (counts.cumsum(0) - counts)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) + before.repeat_interleave(counts)
    rows = grouped(x, place, slots, len(gate_up))
    weight = rows.new_zeros(len(rows), 1).index_copy_(0, place, weights.reshape(-1, 1).to(x.dtype))
    hidden = rows.new_empty(len(rows), gate_up.shape[1])
    out = torch.empty_like(rows)
    parts = slices(ends)
    for e, begin, end in parts:
        torch.mm(rows[begin:end], gate_up[e].T, out=hidden[begin:end])
    gate, up = hidden.chunk(2, 1)
    act = gelu(gate) * up * weight
    for e, begin, end in parts:
        torch.mm(act[begin:end], down[e].T, out=out[begin:end])
    y = out.index_select(0, place).view(len(x), slots, -1).sum(1)
    return y, place, ends, rows, hidden, weight


@experts.register_fake
def _(x, chosen, weights, gate_up, down):
    rows = chosen.numel() + WHOLE * len(gate_up)
    return (torch.empty_like(x), chosen.new_empty(chosen.numel()), chosen.new_empty(len(gate_up)), x.new_empty(rows, x.shape[1]),
            x.new_empty(rows, gate_up.shape[1]), x.new_empty(rows, 1))


@torch.library.custom_op("gem_mini::mixture_backward", mutates_args=())
def experts_backward(dy: Tensor, place: Tensor, ends: Tensor, rows: Tensor, hidden: Tensor, weight: Tensor, gate_up: Tensor,
                     down: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    slots = len(place) // len(dy)
    dout = grouped(dy, place, slots, len(gate_up))
    gate, up = hidden.chunk(2, 1)
    opened = gelu(gate)
    act = opened * up
    weighed = act * weight
    dact = torch.empty_like(act)
    drows = torch.empty_like(rows)
    dgate_up, ddown = torch.zeros_like(gate_up), torch.zeros_like(down)
    parts = slices(ends)
    for e, begin, end in parts:
        torch.mm(dout[begin:end], down[e], out=dact[begin:end])
        torch.mm(dout[begin:end].T, weighed[begin:end], out=ddown[e])
    dweights = (dact.float() * act.float()).sum(1)[place].view(len(dy), slots)
    dact = dact * weight
    dgate = torch.ops.aten.gelu_backward(dact * up, gate, approximate="tanh")
    dhidden = torch.cat([dgate, dact * opened], 1)
    for e, begin, end in parts:
        torch.mm(dhidden[begin:end], gate_up[e], out=drows[begin:end])
        torch.mm(dhidden[begin:end].T, rows[begin:end], out=dgate_up[e])
    dx = drows.index_select(0, place).view(len(dy), slots, -1).sum(1)
    return dx, dweights, dgate_up, ddown


@experts_backward.register_fake
def _(dy, place, ends, rows, hidden, weight, gate_up, down):
    dweights = dy.new_empty(len(dy), len(place) // len(dy), dtype=torch.float32)
    return torch.empty_like(dy), dweights, torch.empty_like(gate_up), torch.empty_like(down)


def keep_for_backward(ctx, inputs, output):
    _, _, _, gate_up, down = inputs
    ctx.save_for_backward(*output[1:], gate_up, down)


def backward(ctx, dy, *_):
    dx, dweights, dgate_up, ddown = experts_backward(dy.contiguous(), *ctx.saved_tensors)
    return dx, None, dweights, dgate_up, ddown


experts.register_autograd(backward, setup_context=keep_for_backward)


def route(router, residual: Tensor, slots: int, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts, their weights, all probabilities and scores of each row. bias chooses and never weighs."""
    scores = F.linear(rms_norm(residual, None) * router.scale * router.scalar_root_size, router.proj.weight)
    probabilities = scores.softmax(-1)
    chosen = (probabilities if bias is None else probabilities + bias).topk(slots, -1).indices
    weights = probabilities.gather(1, chosen)
    weights = weights / weights.sum(-1, keepdim=True) * router.per_expert_scale[chosen]
    return chosen, weights, probabilities, scores


def attend(attention, x: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None, cache: dict, dtype: torch.dtype) -> Tensor:
    batch, length, _ = x.shape
    heads = (batch, length, -1, attention.head_dim)
    x = x.to(dtype)
    q = rotate(rms_norm(linear(x, attention.q_proj.weight, dtype).view(heads).float(), attention.q_norm.weight), *angles)
    if attention.is_kv_shared_layer:
        k, v = cache[attention.layer_type]
    else:
        k = linear(x, attention.k_proj.weight, dtype).view(heads).float()
        v = k if attention.v_proj is None else linear(x, attention.v_proj.weight, dtype).view(heads).float()
        k = rotate(rms_norm(k, attention.k_norm.weight), *angles).to(dtype)
        v = rms_norm(v, None).to(dtype)
        group = q.shape[2] // k.shape[2]
        k, v = (t.transpose(1, 2).repeat_interleave(group, 1) for t in (k, v))
        cache[attention.layer_type] = k, v
    mixed = F.scaled_dot_product_attention(q.to(dtype).transpose(1, 2), k, v, attn_mask=mask, is_causal=mask is None, scale=1.0)
    return linear(mixed.transpose(1, 2).reshape(batch, length, -1), attention.o_proj.weight, dtype).float()


def feed_forward(mlp, x: Tensor, dtype: torch.dtype) -> Tensor:
    x = x.to(dtype)
    hidden = gelu(linear(x, mlp.gate_proj.weight, dtype).float()) * linear(x, mlp.up_proj.weight, dtype).float()
    return linear(hidden, mlp.down_proj.weight, dtype).float()


def forward(model, ids: Tensor, dtype: torch.dtype = torch.float32, biases: list[Tensor] | None = None) -> tuple[Tensor, list]:
    """Logits [batch, length, vocabulary] in float32, and of every layer with experts (chosen, probabilities, scores)."""
    text, config = model.model, model.config
    batch, length = ids.shape
    layers = len(text.layers)
    x = F.embedding(ids, text.embed_tokens.weight) * text.embed_tokens.scalar_embed_scale
    per_layer = F.embedding(ids, text.embed_tokens_per_layer.weight) * text.embed_tokens_per_layer.scalar_embed_scale
    context = linear(x, text.per_layer_model_projection.weight, dtype).float() * text.per_layer_model_projection_scale
    context = rms_norm(context.view(batch, length, layers, -1), text.per_layer_projection_norm.weight)
    per_layer = (context + per_layer.view_as(context)) * text.per_layer_input_scale

    place = torch.arange(length, device=ids.device)
    distance = place[:, None] - place
    sliding = (distance >= 0) & (distance < config.sliding_window)
    masks = {"full_attention": None, "sliding_attention": sliding if length > config.sliding_window else None}
    angles = {}
    for kind in masks:
        angle = (place[:, None].float() * getattr(text.rotary_emb, f"{kind}_inv_freq"))[:, None]
        angles[kind] = angle.cos(), angle.sin()

    cache, routes = {}, []
    for i, layer in enumerate(text.layers):
        kind = layer.self_attn.layer_type
        mixed = attend(layer.self_attn, rms_norm(x, layer.input_layernorm.weight), angles[kind], masks[kind], cache, dtype)
        x = x + rms_norm(mixed, layer.post_attention_layernorm.weight)
        out = feed_forward(layer.mlp, rms_norm(x, layer.pre_feedforward_layernorm.weight), dtype)
        if layer.enable_moe_block:
            rows = x.view(batch * length, -1)
            bias = None if biases is None else biases[i]
            chosen, weights, probabilities, scores = route(layer.router, rows, config.top_k_experts, bias)
            routes.append((chosen, probabilities, scores))
            normed = rms_norm(rows, layer.pre_feedforward_layernorm_2.weight).to(dtype)
            mixture = experts(normed, chosen, weights, layer.experts.gate_up_proj.to(dtype), layer.experts.down_proj.to(dtype))[0]
            out = rms_norm(out, layer.post_feedforward_layernorm_1.weight) + rms_norm(
                mixture.float(), layer.post_feedforward_layernorm_2.weight).view_as(out)
        x = x + rms_norm(out, layer.post_feedforward_layernorm.weight)
        gate = gelu(linear(x, layer.per_layer_input_gate.weight, dtype).float()) * per_layer[:, :, i]
        x = x + rms_norm(linear(gate, layer.per_layer_projection.weight, dtype).float(), layer.post_per_layer_input_norm.weight)
        x = x * layer.layer_scalar
    logits = linear(rms_norm(x, text.norm.weight), text.embed_tokens.weight, dtype).float()
    cap = config.final_logit_softcapping
    return cap * torch.tanh(logits / cap), routes


def balance(routes: list, slots: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each layer: Switch Transformer's load-balancing loss (1 when even), the squared log-normaliser (z-loss), experts' shares."""
    losses, squares, shares = [], [], []
    for chosen, probabilities, scores in routes:
        experts_ = probabilities.shape[-1]
        share = F.one_hot(chosen, experts_).float().sum((0, 1)) / chosen.numel()
        losses.append(experts_ * (share * probabilities.mean(0)).sum())
        squares.append(scores.logsumexp(-1).square().mean())
        shares.append(share)
    return torch.stack(losses), torch.stack(squares), torch.stack(shares)
