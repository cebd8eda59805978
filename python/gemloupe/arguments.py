"""What users give where the core wants numbers, names and paths: checked here, so that a message speaks of the argument."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from typing import Any

MOST = 2**31 - 1


def whole(value: object, where: str, low: int = -MOST, high: int = MOST) -> int:
    """A whole number (of NumPy, too). TypeError for anything else, ValueError outside low … high."""
    if isinstance(value, bool):
        raise TypeError(f"{where}: expected a whole number, got {value}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{where}: expected a whole number, got {value!r:.60}") from None
    if not low <= number <= high:
        shown = f"{number}" if abs(number) < 10**24 else f"a number of {len(str(abs(number)))} digits"
        raise ValueError(f"{where}: expected a whole number from {low} to {high}, got {shown}")
    return number


def real(value: object, where: str) -> float:
    """A number. TypeError for anything else."""
    if not isinstance(value, (str, bytes)):
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            raise ValueError(f"{where}: {value!r:.60} is too large") from None
        except (TypeError, ValueError):
            pass
    raise TypeError(f"{where}: expected a number, got {value!r:.60}")


def wholes(values: object, where: str) -> list[int]:
    """A list of whole numbers."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{where}: expected a list of whole numbers, got {values!r:.60}")
    return [whole(value, where) for value in values]


def word(value: object, where: str, what: str = "a str") -> str:
    """A str that is text. TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{where}: expected {what}, got {value!r:.60}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{where}: {value!r:.60} holds half of a surrogate pair, which is no text") from None
    return value


def words(values: object, where: str, what: str = "a str") -> list[str]:
    """One str, or a list of them, as a list."""
    if isinstance(values, str):
        return [word(values, where, what)]
    if isinstance(values, (bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{where}: expected {what} or a list of them, got {values!r:.60}")
    return [word(value, where, what) for value in values]


def mapping(value: object, where: str, what: str) -> Mapping[str, Any]:
    """A dictionary from names or patterns."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{where}: expected {what}, got {value!r:.60}")
    for key in value:
        word(key, where, "names or patterns as keys")
    return value


def path(value: object, where: str) -> bytes:
    """A path as the system has it, whatever bytes it is made of."""
    try:
        return os.fsencode(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{where}: expected a path, got {value!r:.60}") from None


def seed(value: object) -> int:
    """A seed: 64 bits."""
    return whole(value, "seed", 0, 2**64 - 1)
