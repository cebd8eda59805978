"""gemloupe: look inside a Gemma while it runs on packed weights, change one thing, and measure what that did.

    import gemloupe as gl
    model = gl.load("gemma3-270m")
    print(model)
    run = model.run("some text", record=["layers.*.attn.mix"], edit={"layers.5.mid": lambda x: 0.5 * x})
"""

from __future__ import annotations

import os as _os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

import numpy as _np
import numpy.typing as _npt

# GNU OpenMP's idle threads would spin for milliseconds after each step; on a shared machine that is somebody's time.
_os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from . import _core, arguments  # noqa: E402
from ._core import Config, Error, Format, LayerConfig, Op, RopeConfig
from .bench import Bench, Rate, Roof, Work, bench, measure_roof, step_work
from .compare import Comparison, Difference, compare
from .graph import Graph, Node, Segment, Value
from .loading import load, random
from .machine import Setting, isa, system, threads
from .model import Model
from .perplexity import Perplexity
from .run import Run
from .sampling import Generated, Options, Stream
from .session import Session, feed
from .tokenizer import StreamDecoder, Tokenizer
from .weights import Weight, Weights, format_named, formats, grid

if TYPE_CHECKING:
    from . import _ops as ops
    from . import reference as reference
else:
    from ._core import ops

__all__ = [
    "Bench", "Comparison", "Config", "Difference", "Error", "Format", "Generated", "Graph", "LayerConfig", "Model", "Node", "Op", "Options",
    "Perplexity", "Rate", "Roof", "RopeConfig", "Run", "Segment", "Session", "Setting", "Stream", "StreamDecoder", "Tokenizer", "Value", "Weight",
    "Weights", "Work", "bench", "compare", "feed", "format_named", "formats", "grid", "isa", "load", "measure_roof", "ops", "random", "reference",
    "released_sizes", "step_work", "system", "threads", "top_k",
]


def released_sizes() -> list[str]:
    """The names of released models that gl.random knows.

    >>> "e2b" in gl.released_sizes()
    True
    """
    return _core.released_sizes()


def top_k(scores: _npt.ArrayLike, k: int, routing: str = "softmax_renormalised", bias: _npt.ArrayLike | None = None,
          per_expert_scale: _npt.ArrayLike | None = None) -> tuple[_npt.NDArray[_np.int32], _npt.NDArray[_np.float32]]:
    """The k experts of each row and their weights, as the models' own router chooses them.

    scores: float32 [row, expert]. Returns int32 [row, k] and float32 [row, k], best first. routing: softmax, softmax_renormalised (Gemma
    4), top_k_softmax (Mixtral) or sigmoid_renormalised (DeepSeek-V3). bias chooses and never weighs. ValueError for shapes that do not fit.

    >>> experts, weights = gl.top_k([[0.0, 2.0, 1.0]], k=2)
    >>> experts.tolist(), round(float(weights.sum()), 6)
    ([[1, 2]], 1.0)
    """
    def plain(x: _npt.ArrayLike | None) -> _npt.NDArray[_np.float32] | None:
        return None if x is None else _np.asarray(x, _np.float32)

    return _core.top_k(_np.asarray(scores, _np.float32), arguments.whole(k, "top_k: k"), arguments.word(routing, "top_k: routing"),
                       plain(bias), plain(per_expert_scale))


def __getattr__(name: str) -> Any:
    if name == "reference":  # the NumPy oracle: loaded when it is asked for
        from importlib import import_module

        return import_module("gemloupe.reference")
    raise AttributeError(f"module 'gemloupe' has no attribute {name!r}")
