"""Writing texts: options of sampling, streams, and many sequences at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from . import _core, arguments
from .prompts import Ids

if TYPE_CHECKING:
    from .session import Session
    from .tokenizer import Tokenizer


ARITHMETICS = {"prompt_arithmetic": "bf16", "arithmetic": "exact"}  # of what is given and of what is generated


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
    stop: str | Sequence[str] | None
    stop_ids: Sequence[int] | None
    prompt_arithmetic: str
    arithmetic: str


@dataclass(frozen=True)
class Generated:
    """One text with what is known about it. finish: length, stop_text, stop_id or context. protocol: how it was made."""

    text: str
    tokens: list[int]
    finish: str
    protocol: dict[str, object] = field(default_factory=dict, repr=False, compare=False)


class Writer:
    """Prompts being continued in sessions; each step gives every running sequence one token."""

    def __init__(self, sessions: Sequence[Session], prompts: Sequence[Ids], tokenizer: Tokenizer | None, ends: Sequence[int],
                 suppressed: Sequence[int], options: Options, together: int = 16) -> None:
        unknown = set(options) - set(Options.__annotations__)
        if unknown:
            raise TypeError(f"unknown options: {', '.join(sorted(unknown))}; known are {', '.join(Options.__annotations__)}")
        stop = options.get("stop", ())
        bias = options.get("logit_bias") or {}
        if not isinstance(bias, Mapping):
            raise TypeError(f"logit_bias: expected a dict {{id: added}}, got {bias!r:.60}")
        given_ends, given_suppress = options.get("stop_ids"), options.get("suppress")
        sampler: dict[str, Any] = {
            "temperature": arguments.real(options.get("temperature", 0.0), "temperature"),
            "top_k": arguments.whole(options.get("top_k", 0), "top_k"),
            "top_p": arguments.real(options.get("top_p", 1.0), "top_p"),
            "min_p": arguments.real(options.get("min_p", 0.0), "min_p"),
            "repetition_penalty": arguments.real(options.get("repetition_penalty", 1.0), "repetition_penalty"),
            "repetition_window": arguments.whole(options.get("repetition_window", 0), "repetition_window"),
            "logit_bias": {arguments.whole(i, "logit_bias: token id"): arguments.real(added, f"logit_bias of token {i}") for i, added in bias.items()},
            "suppress": arguments.wholes(suppressed if given_suppress is None else given_suppress, "suppress"),
            "seed": arguments.seed(options.get("seed", 0)),
        }
        self._how = {key: arguments.word(options.get(key, usual), key) for key, usual in ARITHMETICS.items()}
        self._pasts = [s._past() for s in sessions]
        self.sessions = list(sessions)  # alive as long as their generation
        self._core = _core.Generation([s._core for s in sessions], list(prompts), tokenizer._core if tokenizer else None,
                                      arguments.whole(options.get("max_tokens", 128), "max_tokens"), sampler,
                                      [] if stop is None else arguments.words(stop, "stop", "a text"),
                                      arguments.wholes(ends if given_ends is None else given_ends, "stop_ids"),
                                      arguments.whole(together, "together"), **self._how)

    @property
    def done(self) -> bool:
        return self._core.done

    def step(self) -> list[tuple[int, int, str, str]]:
        """(sequence, token, new text, finish) of each sequence that moved. An interruption loses nothing: step again."""
        return self._core.step()

    def result(self, sequence: int) -> Generated:
        return Generated(self._core.text(sequence), self._core.tokens(sequence), self._core.finish(sequence), self.protocol(sequence))

    @cached_property
    def _protocol(self) -> dict[str, object]:
        return self.sessions[0].model.protocol(**self._how)

    def protocol(self, sequence: int) -> dict[str, object]:
        return {**self._protocol, **self._pasts[sequence]}


class Stream(Iterator[str]):
    """Pieces of a text as they become certain. After a KeyboardInterrupt it can be continued: nothing is lost.

    text, tokens, finish: what there is so far; finish is "no" while it runs. protocol: how it is made.

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
        return self._writer._core.text(0)

    @property
    def tokens(self) -> list[int]:
        """The tokens so far, without one that ended it."""
        return self._writer._core.tokens(0)

    @property
    def finish(self) -> str:
        """Why it ended: length, stop_text, stop_id or context; "no" while it runs."""
        return self._writer._core.finish(0)

    @property
    def protocol(self) -> dict[str, object]:
        """How it is made: model, arithmetics, machine."""
        return self._writer.protocol(0)
