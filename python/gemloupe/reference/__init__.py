"""Gemma in NumPy, to be read: one page a mechanism, and the judge of everything faster.

    config, weights = load("tests/golden/gemma3")
    values = run(config, weights, [2, 10, 20])
    values["layers.0.attn.mix"], values["logits"]

`run` returns every value of the model under the name it has in the graph. Nothing here is fast, nothing is approximate:
float64 unless told otherwise, one sequence, no cache between calls.
"""

from .config import Config, Layer, Rope, read
from .folder import load, tensors
from .model import greedy, run
from .names import ours, shapes, weights
from .rounding import reach

__all__ = ["Config", "Layer", "Rope", "greedy", "load", "ours", "reach", "read", "run", "shapes", "tensors", "weights"]
