"""Mixture of experts (Gemma 4 26B-A4B): beside the dense feed-forward, a few of many small ones for each token.

    query   = norm(mid) * scale * h^(-1/2)        the router reads the stream itself, not the experts' normed input
    scores  = W query                              one for each expert
    route   = the k experts of largest probability; their probabilities divided by their sum; times a scale for each expert
    out     = sum over k of weight * down(act),   act = gelu(gate) * up,   gate and up the halves of one matrix
"""

import numpy as np

from .attention import softmax
from .mlp import gelu, linear
from .rms_norm import rms_norm


def moe_query(mid, scale, eps=1e-6):
    """mid [row, h], scale [h] -> [row, h]."""
    return rms_norm(mid, None, eps) * scale * mid.shape[1] ** -0.5


def route(scores, used, expert_scale):
    """scores [row, experts] -> experts [row, used] by descending score, the lower index first among equals, and weights."""
    experts = np.argsort(-scores, axis=-1, kind="stable")[:, :used]
    chosen = np.take_along_axis(softmax(scores), experts, axis=-1)
    return experts, chosen / chosen.sum(axis=-1, keepdims=True) * expert_scale[experts]


def per_expert(x, weight, experts):
    """Each row through the matrix of each of its experts: x [row, in] or [row, k, in], weight [experts, out, in].

    A slot of -1 is unused and gives zeros.
    """
    x = x if x.ndim == 3 else np.broadcast_to(x[:, None], experts.shape + x.shape[-1:])
    y = np.zeros(experts.shape + weight.shape[1:2], x.dtype)
    for expert in np.unique(experts[experts >= 0]):
        y[experts == expert] = linear(x[experts == expert], weight[expert])
    return y


def expert_act(gate_up):
    """[row, k, 2m], gates first -> [row, k, m]."""
    gate, up = np.split(gate_up, 2, axis=-1)
    return gelu(gate) * up


def weigh(down, weights):
    """down [row, k, h], weights [row, k] -> [row, h]."""
    return np.einsum("tkh,tk->th", down, weights)
