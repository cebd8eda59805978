"""The feed-forward part: up, gated by the GELU of gate, and down again.

    act = gelu(gate) * up
    gelu(z) = z/2 * (1 + tanh(sqrt(2/pi) * (z + 0.044715 z^3)))
"""

import math

import numpy as np


def gelu(z):
    """The tanh form, which Gemma was trained with; the one with erf differs by up to 5e-4."""
    return 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def linear(x, weight):
    """x [..., in], weight [out, in] -> [..., out]. Gemma has no biases."""
    return x @ weight.T


def gelu_gate(gate, up):
    """[..., width] twice -> [..., width]."""
    return gelu(gate) * up
