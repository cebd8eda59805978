"""How far float32 rounding may carry a value: what results are judged by.

A value computed in float32 differs from its float64 twin by its own rounding and by what earlier roundings have grown to. The
growth depends on the weights, so it is measured on them: the model runs again with every value jostled by as much as one
float32 computation of it may be off, and the distance of all values from those of the quiet run is the answer.

One jostle is uniform, at most this share of the row's root mean square (u = 2^-24):

    sqrt(n) u       a sum of n terms, n being the widest of the model: roundings add up like a random walk
    position u      for what RoPE made: the fastest pair turns a radian a position, and a float32 angle is off by u of itself
"""

import numpy as np

from .model import run

UNIT = 2.0**-24


def reach(config, weights, tokens, draws=4, seed=0):
    """{name: the largest distance from the quiet run seen in `draws` jostled ones} of every value but whole numbers."""
    widest = max(max(config.hidden, layer.width, layer.heads * layer.head_dim) for layer in config.layers)
    random = np.random.default_rng(seed)

    def jostle(share):
        def edit(x):
            if x.dtype.kind != "f":
                return x
            rows = x.reshape(len(x), -1)
            scale = np.sqrt(np.mean(rows * rows, axis=1, keepdims=True))
            return x + (random.uniform(-share, share, rows.shape) * scale).reshape(x.shape)
        return edit

    edits = {"*": jostle(np.sqrt(widest) * UNIT), "*_rope": jostle(len(tokens) * UNIT)}
    quiet = run(config, weights, tokens)
    most = {}
    for _ in range(draws):
        for name, value in run(config, weights, tokens, edit=edits).items():
            if value.dtype.kind == "f":
                most[name] = max(most.get(name, 0.0), float(np.abs(value - quiet[name]).max()))
    return most
