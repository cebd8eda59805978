"""RoPE: each pair (x[i], x[i + d/2]) of a head turns by an angle proportional to the token's position.

    default       frequency[i] = theta^(-2i/d)              every pair turns
    linear        the same, divided by a factor             as if the text were shorter
    proportional  the same for the first share of the pairs, 0 for the others: those carry no position

The exponent's denominator is the whole head width in every case, and a pair is always half a head apart. The score of a
rotated query and a rotated key depends on the distance of their positions only.
"""

import numpy as np


def frequencies(head_dim, theta, kind="default", factor=1.0, share=1.0):
    """Radians per position of each pair, float64 [head_dim / 2]."""
    pair = np.arange(head_dim // 2)
    frequency = theta ** (-2.0 * pair / head_dim)
    if kind in ("linear", "proportional"):
        frequency = frequency / factor
    if kind == "proportional":
        turning = int(share * head_dim // 2)
        frequency = np.where(pair < turning, frequency, 0.0)
    return frequency


def rope(x, positions, frequency):
    """Rotates x [row, heads, head_dim] to positions [row]. Angles in float64, products in x's type."""
    angle = np.asarray(positions, np.float64)[:, None, None] * frequency
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
