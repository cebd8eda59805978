"""What a run leaves to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .prompts import Ids


class Run(Mapping[str, "npt.NDArray[Any]"]):
    """Logits and recorded values of one run; a mapping from name to array [row, …].

    logits: float32 [row, vocabulary], of all rows or the last one. tokens: int32 [row]. protocol: how it was made.

    >>> run = model.run([2, 10, 20], record=["layers.*.mid"])
    >>> run["layers.0.mid"].shape, run.logits.shape
    ((3, 640), (3, 300))
    """

    def __init__(self, tokens: Ids, logits: npt.NDArray[np.float32], values: dict[str, npt.NDArray[Any]],
                 protocol: dict[str, object]) -> None:
        self.tokens = tokens
        self.logits = logits
        self.protocol = protocol
        self._values = values

    @property
    def names(self) -> list[str]:
        """The names of the recorded values, in the order of the program."""
        return list(self._values)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """A recorded value, or "logits". KeyError that names near misses."""
        if name in self._values:
            return self._values[name]
        if name == "logits":
            return self.logits
        near = _core.did_you_mean(name, list(self._values))
        raise KeyError(f"{name!r} was not recorded{near}; give record=[{name!r}]")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        how = ", ".join(f"{key} {value}" for key, value in self.protocol.items() if key in ("model", "arithmetic", "isa", "threads"))
        lines = [f"<Run of {len(self.tokens)} tokens, {len(self)} values recorded; {how}>"]
        width = max((len(name) for name in self._values), default=0)
        for name, value in list(self._values.items())[:40]:
            norm = float(np.linalg.norm(value.astype(np.float64)))
            lines.append(f"  {name:{width}}  {value.dtype} {list(value.shape)}  norm {norm:.6g}")
        if len(self) > 40:
            lines.append(f"  … and {len(self) - 40} more")
        return "\n".join(lines)
