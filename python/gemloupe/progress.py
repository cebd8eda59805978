"""A line on a terminal that says how far a long call is."""

from __future__ import annotations

import sys
import time
from types import TracebackType


class Progress:
    """Counts to `total` on stderr, where that is a terminal; silent otherwise and in the first half second."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._begin = time.monotonic()
        self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def advance(self, count: int = 1, note: str = "") -> None:
        self._done += count
        elapsed = time.monotonic() - self._begin
        if elapsed < 0.5 or not sys.stderr.isatty():
            return
        left = elapsed / max(self._done, 1) * (self._total - self._done)
        filled = 24 * self._done // max(self._total, 1)
        sys.stderr.write(f"\r\x1b[K{self._what} [{'#' * filled}{'.' * (24 - filled)}] {self._done}/{self._total}, {left:.0f} s left{note}")
        sys.stderr.flush()
        self._drawn = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
