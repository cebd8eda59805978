"""A model as a program of named values, and how callables of Python take part in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from . import _core, arguments
from ._core import Op as Op
from .weights import Weight

Edit: TypeAlias = "Callable[..., Any]"


@dataclass(frozen=True)
class Node:
    """One line of the program: which op makes which values of which."""

    name: str
    op: str
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Value:
    """What runs along an edge. shape is of one row; None where only a run knows it."""

    name: str
    type: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Segment:
    """The rows of one session in a step, as a callable op sees them: at consecutive positions, all of one arithmetic."""

    first_row: int
    rows: int
    position: int
    keys: int
    arithmetic: str


class Graph:
    """A model as a program of named values. print() shows it; graph["layers.5.*"] is a part of it.

    >>> print(model.graph["layers.1.mid"])
    layers.1.mid  <- layers.0.out, layers.1.attn.post_norm    add
    """

    def __init__(self, core: _core.Graph, chosen: list[int] | None = None) -> None:
        self._core = core
        self._chosen = list(range(len(core))) if chosen is None else chosen

    @property
    def nodes(self) -> list[Node]:
        """The nodes of this part, in the order they run."""
        found = []
        for index in self._chosen:
            name, op, inputs, weights, outputs = self._core.node(index)
            found.append(Node(name, op, tuple(inputs), tuple(weights), tuple(outputs)))
        return found

    @property
    def values(self) -> dict[str, Value]:
        """The values that the nodes of this part make, by name (of a whole graph: its inputs too)."""
        every = {name: Value(name, kind, dtype, shape) for name, kind, dtype, shape in self._core.values}
        if len(self._chosen) == len(self._core):
            return every
        return {name: every[name] for node in self.nodes for name in node.outputs}

    def __getitem__(self, pattern: str) -> Graph:
        """The nodes whose name, or one of whose values, matches. KeyError with near misses where none does."""
        wanted = set(self._core.select(arguments.word(pattern, "graph", "a pattern of names")))
        chosen = [index for index in self._chosen if index in wanted]
        if not chosen:
            near = _core.did_you_mean(pattern, [node.name for node in self.nodes])
            raise KeyError(f"no node matches {pattern!r}{near}")
        return Graph(self._core, chosen)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self._chosen)

    def __str__(self) -> str:
        return self._core.print(self._chosen).rstrip("\n")

    def __repr__(self) -> str:
        return f"<Graph of {len(self)} nodes>"

    def to_dot(self, pattern: str = "*") -> str:
        """The graph, or the nodes that match, in Graphviz's language.

        >>> model.graph.to_dot("layers.0.mid").splitlines()[0]
        'digraph gemloupe {'
        """
        return self._core.to_dot(self[pattern]._chosen)


def keywords(function: Callable[..., Any]) -> set[str]:
    """The names of a callable's keyword-only parameters; none where it does not tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return set()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


def wants_name(function: Callable[..., Any]) -> bool:
    """Whether an edit is fn(x, name): it has a second parameter without default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters) >= 2


def note(error: BaseException, text: str) -> None:
    """Says where an exception of a user's function happened (from Python 3.11 on)."""
    if hasattr(error, "add_note"):
        error.add_note(text)


def edit_caller(function: Edit) -> Callable[[str, Any], Any]:
    """An edit as the core calls it."""
    if not callable(function):
        raise TypeError(f"edit: expected a callable, got {type(function).__name__}")
    named = wants_name(function)

    def call(name: str, x: Any) -> Any:
        try:
            return function(x, name) if named else function(x)
        except BaseException as error:
            note(error, f"while the edit of {name} ran")
            raise

    return call


def op_caller(function: Callable[..., Any]) -> Callable[[str, list[str]], tuple[Callable[..., Any], str]]:
    """What makes of a callable the op of a node: it gets the node's inputs, and by keyword what it names.

    Keyword-only parameters: `name` (of the node), `step` (a list of Segment), `weights` (a list of Weight).
    """
    known = keywords(function) & {"name", "step", "weights"}
    description = getattr(function, "__name__", type(function).__name__)

    def make(name: str, outputs: list[str]) -> tuple[Callable[..., Any], str]:
        def call(step: list[tuple[int, int, int, int, str]], inputs: tuple[Any, ...], weights: tuple[_core.Weight, ...]) -> Any:
            extra: dict[str, Any] = {}
            if "name" in known:
                extra["name"] = name
            if "step" in known:
                extra["step"] = [Segment(*segment) for segment in step]
            if "weights" in known:
                extra["weights"] = [Weight(f"{name}[{i}]", w) for i, w in enumerate(weights)]
            try:
                return function(*inputs, **extra)
            except BaseException as error:
                note(error, f"while {description}, the op of {name}, ran")
                raise

        return call, description

    return make
