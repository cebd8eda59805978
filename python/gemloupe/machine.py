"""Which instruction set and how many threads compute. Neither changes a result's bits."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import overload

from . import _core, arguments


class Setting:
    """A setting that was made; as a context manager it is taken back at the end.

    >>> with gl.threads(1):
    ...     gl.threads()
    1
    """

    def __init__(self, text: str, restore: Callable[[], None]) -> None:
        self._text = text
        self._restore = restore

    def __enter__(self) -> Setting:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def __repr__(self) -> str:
        return self._text


@overload
def isa() -> str: ...
@overload
def isa(name: str) -> Setting: ...
def isa(name: str | None = None) -> str | Setting:
    """The instruction set in use, or sets it for the whole process: reference, avx2, avx512 or amx.

    Results are the same to the bit. ValueError for an unknown name, gl.Error for one that this machine lacks.

    >>> with gl.isa("reference"):
    ...     gl.isa()
    'reference'
    """
    before = _core.isa()
    if name is None:
        return before
    _core.limit_isa(arguments.word(name, "isa", "a name"))
    return Setting(f"isa {name}", lambda: _core.limit_isa(before))


@overload
def threads() -> int: ...
@overload
def threads(count: int) -> Setting: ...
def threads(count: int | None = None) -> int | Setting:
    """How many threads share the work, or sets it for the whole process.

    Results are the same to the bit. ValueError for less than 1.

    >>> gl.threads() >= 1
    True
    """
    before = _core.threads()
    if count is None:
        return before
    count = arguments.whole(count, "threads")
    _core.set_threads(count)
    return Setting(f"threads {count}", lambda: _core.set_threads(before))


def system() -> dict[str, object]:
    """This machine and what of it is used: isa, detected_isa, threads, cores, memory (bytes), version.

    >>> sorted(gl.system())
    ['cores', 'detected_isa', 'isa', 'memory', 'threads', 'version']
    """
    from . import __version__

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "version": __version__,
        "isa": _core.isa(),
        "detected_isa": _core.detected_isa(),
        "threads": _core.threads(),
        "cores": cores,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
