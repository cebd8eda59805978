"""RMS norm: a row divided by its root mean square, then scaled entry by entry.

    y = x / sqrt(mean(x^2) + eps) * scale

The scale is what multiplies: Gemma 3 files store scale - 1, and names.weights adds the one when it reads them. Two norms of
Gemma 4 have no scale at all: that of the values and that of the router.
"""

import numpy as np


def rms_norm(x, scale=None, eps=1e-6):
    """Norms the last axis of x [..., width]; scale is [width] or None for 1."""
    y = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
    return y if scale is None else y * scale
