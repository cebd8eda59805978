"""Writing texts: options of sampling, streams, and many sequences at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from . import _core
from .prompts import Ids

if TYPE_CHECKING:
    from .session import Session
    from .tokenizer import Tokenizer


class Options(TypedDict, total=False):
    """How the next token is chosen and when a text ends; Model.generate says what each one means."""

    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    repetition_window: int
    logit_bias: Mapping[int, float] | None
    suppress: Sequence[int] | None
    seed: int
    stop: str | Sequence[str]
    stop_ids: Sequence[int] | None


@dataclass(frozen=True)
class Generated:
    """One text with what is known about it. finish: length, stop_text, stop_id or context."""

    text: str
    tokens: list[int]
    finish: str


class Writer:
    """Prompts being continued in sessions; each step gives every running sequence one token."""

    def __init__(self, sessions: Sequence[Session], prompts: Sequence[Ids], tokenizer: Tokenizer | None, ends: Sequence[int],
                 suppressed: Sequence[int], options: Options, together: int = 16) -> None:
        unknown = set(options) - set(Options.__annotations__)
        if unknown:
            raise TypeError(f"unknown options: {', '.join(sorted(unknown))}; known are {', '.join(Options.__annotations__)}")
        stop = options.get("stop", ())
        seed = options.get("seed", 0)
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed: expected a whole number from 0 to 2^64 - 1, got {seed}")
        given_ends, given_suppress = options.get("stop_ids"), options.get("suppress")
        sampler: dict[str, Any] = {
            "temperature": options.get("temperature", 0.0),
            "top_k": options.get("top_k", 0),
            "top_p": options.get("top_p", 1.0),
            "min_p": options.get("min_p", 0.0),
            "repetition_penalty": options.get("repetition_penalty", 1.0),
            "repetition_window": options.get("repetition_window", 0),
            "logit_bias": dict(options.get("logit_bias") or {}),
            "suppress": [int(i) for i in (suppressed if given_suppress is None else given_suppress)],
            "seed": seed,
        }
        self.sessions = list(sessions)  # alive as long as their generation
        self._core = _core.Generation([s._core for s in sessions], list(prompts), tokenizer._core if tokenizer else None,
                                      options.get("max_tokens", 128), sampler, [stop] if isinstance(stop, str) else list(stop),
                                      [int(i) for i in (ends if given_ends is None else given_ends)], together)

    @property
    def done(self) -> bool:
        return self._core.done

    def step(self) -> list[tuple[int, int, str, str]]:
        """(sequence, token, new text, finish) of each sequence that moved. An interruption loses nothing: step again."""
        return self._core.step()

    def result(self, sequence: int) -> Generated:
        return Generated(self._core.text(sequence), self._core.tokens(sequence), self._core.finish(sequence))


class Stream(Iterator[str]):
    """Pieces of a text as they become certain. After a KeyboardInterrupt it can be continued: nothing is lost.

    text, tokens, finish: what there is so far; finish is "no" while it runs.

    >>> stream = model.stream([2, 10], max_tokens=3)
    >>> pieces = list(stream)
    >>> len(stream.tokens), stream.finish
    (3, 'length')
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> str:
        while not self._writer.done:
            for _, _, text, _ in self._writer.step():
                if text:
                    return text
        raise StopIteration

    @property
    def text(self) -> str:
        """All the certain text so far."""
        return self._writer.result(0).text

    @property
    def tokens(self) -> list[int]:
        """The tokens so far, without one that ended it."""
        return self._writer.result(0).tokens

    @property
    def finish(self) -> str:
        """Why it ended: length, stop_text, stop_id or context; "no" while it runs."""
        return self._writer.result(0).finish
