"""Per-layer embeddings (Gemma 4 E2B, E4B): every layer gets a small vector of its own for each token.

Once for all layers, before the first one, from the token's id and from its embedding (already scaled):

    table   = T[id] * sqrt(p)
    context = (M embed) * h^(-1/2),  then normed over each layer's p entries
    ple     = (norm(context) + table) * 2^(-1/2)

In each layer, after the feed-forward residual, ple[:, layer] multiplies a gate: act = gelu(G x) * ple, and norm(R act) is added
to the stream. The two roots would not show in the logits, for a norm follows both: look at the values themselves.
"""

import math

from .mlp import gelu, linear


def ple_table(tokens, table, layers):
    """tokens [row], table [vocabulary, layers * p] -> [row, layers, p]."""
    width = table.shape[1] // layers
    return table[tokens].reshape(len(tokens), layers, width) * math.sqrt(width)


def ple_context(embedded, weight, layers):
    """embedded [row, h], weight [layers * p, h] -> [row, layers, p], before its norm."""
    context = linear(embedded, weight) * embedded.shape[1] ** -0.5
    return context.reshape(len(embedded), layers, -1)


def ple_combine(context, table):
    """Both [row, layers, p]; the context is normed."""
    return (context + table) * 2.0**-0.5


def ple_gate(gate, ple):
    """gate [row, p], ple [row, p] of this layer -> [row, p]."""
    return gelu(gate) * ple
