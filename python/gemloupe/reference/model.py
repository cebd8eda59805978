"""The whole model: which value follows from which.

Every line below makes one named value. Read it as the list of what can be recorded and edited; the arithmetic of each line has
a page of its own. Arrays are [row, ...], one row a token.
"""

from fnmatch import fnmatchcase

import numpy as np

from .attention import attention
from .embed import embed
from .head import soft_cap
from .mlp import gelu_gate, linear
from .moe import expert_act, moe_query, per_expert, route, weigh
from .ple import ple_combine, ple_context, ple_gate, ple_table
from .rms_norm import rms_norm
from .rope import frequencies, rope


class Values(dict):
    """Named values; one that an edit names is replaced as it is made, so that everything after it sees the edited one."""

    def __init__(self, edit):
        super().__init__()
        self.edit = edit
        self.met = set()

    def __setitem__(self, name, value):
        for pattern, change in self.edit.items():
            if fnmatchcase(name, pattern):
                self.met.add(pattern)
                edited = np.asarray(change(value.copy()), value.dtype)
                if edited.shape != value.shape:
                    raise ValueError(f"edit of {name}: expected {value.shape}, got {edited.shape}")
                value = edited
        super().__setitem__(name, value)


def run(config, weights, tokens, *, positions=None, rows=None, edit=None, dtype=np.float64):
    """Every value of the model for one sequence: {name: array}.

    tokens [row]; positions [row], ascending, 0, 1, 2 … unless given; rows: those whose logits are wanted, all unless given.
    edit: {name or glob: function of the array that returns one of the same shape}. ValueError if a token is out of range, an
    edit meets no value or returns another shape.
    """
    tokens = np.asarray(tokens, np.int64)
    if tokens.ndim != 1 or len(tokens) == 0 or tokens.min() < 0 or tokens.max() >= config.vocabulary:
        raise ValueError(f"tokens: expected at least one from 0 to {config.vocabulary - 1}, got {tokens}")
    count = len(config.layers)
    v = Values(edit or {})

    def w(name):
        return np.asarray(weights[name], dtype)

    def norm(x, name):
        return rms_norm(x, w(name), config.eps)

    v["tokens"] = tokens
    v["positions"] = np.arange(len(tokens)) if positions is None else np.asarray(positions, np.int64)
    v["embed"] = embed(v["tokens"], w("embed"))
    if config.ple_width:
        v["ple.table"] = ple_table(v["tokens"], w("ple.table"), count)
        v["ple.context"] = ple_context(v["embed"], w("ple.context"), count)
        v["ple.norm"] = norm(v["ple.context"], "ple.norm")
        v["ple"] = ple_combine(v["ple.norm"], v["ple.table"])

    stream = "embed"
    for l, layer in enumerate(config.layers):
        a, f, at = f"layers.{l}.attn.", f"layers.{l}.ffn.", f"layers.{l}."
        frequency = frequencies(layer.head_dim, layer.rope.theta, layer.rope.kind, layer.rope.factor, layer.rope.share)

        v[a + "norm"] = norm(v[stream], a + "norm")
        v[a + "q"] = linear(v[a + "norm"], w(a + "q")).reshape(len(tokens), layer.heads, layer.head_dim)
        v[a + "q_norm"] = norm(v[a + "q"], a + "q_norm")
        v[a + "q_rope"] = rope(v[a + "q_norm"], v["positions"], frequency)
        if layer.source == l:
            v[a + "k"] = linear(v[a + "norm"], w(a + "k")).reshape(len(tokens), layer.kv_heads, layer.head_dim)
            v[a + "k_norm"] = norm(v[a + "k"], a + "k_norm")
            v[a + "k_rope"] = rope(v[a + "k_norm"], v["positions"], frequency)
            value = a + "k"  # K = V means: the keys before their norm
            if not layer.keys_are_values:
                v[a + "v"] = linear(v[a + "norm"], w(a + "v")).reshape(len(tokens), layer.kv_heads, layer.head_dim)
                value = a + "v"
            if config.family == "gemma4":
                v[a + "v_norm"] = rms_norm(v[value], None, config.eps)
                value = a + "v_norm"
            v[a + "cache.keys"] = v[a + "k_rope"]
            v[a + "cache.values"] = v[value]
            v[a + "cache.positions"] = v["positions"]
        cache = f"layers.{layer.source}.attn.cache."
        v[a + "mix"] = attention(v[a + "q_rope"], v[cache + "keys"], v[cache + "values"], v["positions"],
                                 v[cache + "positions"], layer.scale, layer.window)
        v[a + "out"] = linear(v[a + "mix"].reshape(len(tokens), -1), w(a + "out"))
        v[a + "post_norm"] = norm(v[a + "out"], a + "post_norm")
        v[at + "mid"] = v[stream] + v[a + "post_norm"]

        v[f + "norm"] = norm(v[at + "mid"], f + "norm")
        v[f + "gate"] = linear(v[f + "norm"], w(f + "gate"))
        v[f + "up"] = linear(v[f + "norm"], w(f + "up"))
        v[f + "act"] = gelu_gate(v[f + "gate"], v[f + "up"])
        v[f + "down"] = linear(v[f + "act"], w(f + "down"))
        v[f + "post_norm"] = norm(v[f + "down"], f + "post_norm")
        branch = f + "post_norm"
        if config.experts:
            branch = _beside_experts(config, v, w, norm, l)

        stream = at + "out"
        if config.family == "gemma3":
            v[at + "out"] = v[at + "mid"] + v[branch]
            continue
        last = at + "sum"
        v[last] = v[at + "mid"] + v[branch]
        if config.ple_width:
            p = f"layers.{l}.ple."
            v[p + "gate"] = linear(v[last], w(p + "gate"))
            v[p + "act"] = ple_gate(v[p + "gate"], v["ple"][:, l])
            v[p + "proj"] = linear(v[p + "act"], w(p + "proj"))
            v[p + "post_norm"] = norm(v[p + "proj"], p + "post_norm")
            v[p + "sum"] = v[last] + v[p + "post_norm"]
            last = p + "sum"
        v[at + "out"] = v[last] * w(at + "scale")  # scales the residual, too

    v["wanted"] = np.arange(len(tokens)) if rows is None else np.asarray(rows, np.int64)
    v["head.rows"] = v[stream][v["wanted"]]
    v["head.norm"] = norm(v["head.rows"], "head.norm")
    scores = linear(v["head.norm"], w("embed" if config.tied else "head"))
    if config.cap is None:
        v["logits"] = scores
    else:
        v["head.scores"] = scores
        v["logits"] = soft_cap(v["head.scores"], config.cap)
    if unmet := v.edit.keys() - v.met:
        raise ValueError(f"edit: no value is named {', '.join(sorted(unmet))}")
    return dict(v)


def _beside_experts(config, v, w, norm, l):
    """The experts and their meeting with the dense path; returns the name of what is added to the stream."""
    m, at = f"layers.{l}.moe.", f"layers.{l}."
    v[m + "query"] = moe_query(v[at + "mid"], w(m + "query"), config.eps)
    v[m + "scores"] = linear(v[m + "query"], w(m + "scores"))
    v[m + "route.experts"], v[m + "route.weights"] = route(v[m + "scores"], config.experts_used, w(m + "route"))
    v[m + "norm"] = norm(v[at + "mid"], m + "norm")
    v[m + "gate_up"] = per_expert(v[m + "norm"], w(m + "gate_up"), v[m + "route.experts"])
    v[m + "act"] = expert_act(v[m + "gate_up"])
    v[m + "down"] = per_expert(v[m + "act"], w(m + "down"), v[m + "route.experts"])
    v[m + "out"] = weigh(v[m + "down"], v[m + "route.weights"])
    v[m + "post_norm"] = norm(v[m + "out"], m + "post_norm")
    v[at + "both"] = v[at + "ffn.post_norm"] + v[m + "post_norm"]
    v[at + "both_norm"] = norm(v[at + "both"], at + "both_norm")
    return at + "both_norm"


def greedy(config, weights, tokens, count, dtype=np.float64):
    """The `count` tokens that follow, each the one of the largest logit, each computed from the beginning."""
    tokens = list(tokens)
    for _ in range(count):
        logits = run(config, weights, tokens, rows=[len(tokens) - 1], dtype=dtype)["logits"]
        tokens.append(int(logits[0].argmax()))
    return tokens[-count:] if count else []
