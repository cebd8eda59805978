"""Weights as they lie in memory, and the formats they may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import _core, arguments
from ._core import Format as Format
from .prompts import Raw

if TYPE_CHECKING:
    from .graph import Graph


class Weight:
    """A weight, packed as in the file: [width], [rows, cols] or [experts, rows, cols].

    >>> w = model.weights["layers.0.ffn.up"]
    >>> w.format, w.shape, w[2:4].shape
    ('F32', (2048, 640), (2, 640))
    """

    def __init__(self, name: str, core: _core.Weight) -> None:
        self.name = name
        self._core = core

    @property
    def format(self) -> str:
        """The name of its format: "Q4_K", "BF16", "grid3_g64"."""
        return self._core.format

    @property
    def shape(self) -> tuple[int, ...]:
        """Slowest dimension first."""
        core = self._core
        if core.experts > 1:
            return (core.experts, core.rows // core.experts, core.cols)
        return (core.rows, core.cols) if core.rows > 1 else (core.cols,)

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return self._core.bytes

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return self._core.rows * self._core.cols

    def data(self) -> Raw:
        """A copy of the packed bytes.

        >>> len(model.weights["layers.0.ffn.up"].data()) == model.weights["layers.0.ffn.up"].bytes
        True
        """
        return self._core.data()

    def numpy(self) -> npt.NDArray[np.float32]:
        """All of it unpacked, float32 of its shape.

        >>> model.weights["layers.0.attn.norm"].numpy().dtype
        dtype('float32')
        """
        return self._core.unpack(0, self._core.rows).reshape(self.shape)

    def __getitem__(self, index: int | slice) -> npt.NDArray[np.float32]:
        """Rows (of a stack: experts) index or i:j, unpacked; nothing else is. IndexError outside."""
        shape = self.shape
        if len(shape) == 1:
            return np.asarray(self.numpy()[index])
        each = self._core.rows // shape[0]
        if isinstance(index, slice):
            wanted = range(shape[0])[index]
            if not wanted:
                return np.empty((0, *shape[1:]), np.float32)
            first, last = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1]) + 1
            rows = self._core.unpack(first * each, last * each).reshape(last - first, *shape[1:])
            return rows[:: wanted.step] if wanted.step > 0 else rows[::-1][:: -wanted.step]
        try:
            row = range(shape[0])[index]
        except IndexError:
            raise IndexError(f"{self.name}: there is no row {index} in {shape[0]}") from None
        return self._core.unpack(row * each, (row + 1) * each).reshape(shape[1:])

    def __repr__(self) -> str:
        return f"<Weight {self.name} {self.format} {list(self.shape)}, {self.bytes} bytes>"


class Weights(Mapping[str, Weight]):
    """The weights of a model by name. KeyError with near misses for an unknown one.

    >>> "embed" in model.weights
    True
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph._core
        self._names: list[str] = graph._core.weight_names

    def __getitem__(self, name: str) -> Weight:
        try:
            return Weight(name, self._graph.weight(name))
        except ValueError as error:
            raise KeyError(str(error)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return "\n".join(repr(weight) for weight in self.values())


def grid(bits: int, group: int = 64, levels: Sequence[int] | None = None, scale: str = "f16", asymmetric: bool = False) -> Format:
    """A few-bit format of one's own: w = scale * level (+ minimum), the level one of 2^bits whole numbers.

    bits: 1 to 8. group: columns that share a scale, a multiple of 16; 0 for a whole row. levels: 2^bits whole numbers in
    -128 … 127; None for those around zero. scale: f16, bf16 or f32. asymmetric: a minimum beside each scale.
    ValueError where an argument does not fit.

    >>> gl.grid(bits=3, group=64)
    <format grid3_g64>
    """
    given = [] if levels is None else arguments.wholes(levels, "grid: levels")
    return _core.grid(arguments.whole(bits, "grid: bits"), arguments.whole(group, "grid: group"), given,
                      arguments.word(scale, "grid: scale"), bool(asymmetric))


def formats() -> list[str]:
    """The names of all formats but the grids, which spell their options ("grid3_g64").

    >>> "Q4_K" in gl.formats()
    True
    """
    return _core.format_names()


def format_named(name: str) -> Format:
    """The format of that name, in either case: a ggml type, a float type, "gridB_gG", "int8", "int4", "nf4", "ternary".

    ValueError that lists the known ones.

    >>> gl.format_named("int8").row_bytes(64)
    66
    """
    wanted = arguments.word(name, "format", "a name")
    spelled = {known.lower(): known for known in _core.format_names()}
    return _core.format_named(spelled.get(wanted.lower(), wanted))
