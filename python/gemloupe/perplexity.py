"""How well a model foretells a text.

The protocol is llama.cpp's: the text is encoded without control tokens, BOS first, and cut into chunks of `context` tokens; the
first token of every chunk is replaced by BOS; the tokens of the second half are scored, so each has at least half a chunk
before it; a last piece shorter than a chunk is left out, unless it is all there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core, arguments
from .progress import Progress
from .prompts import Ids, Prompt, encode_prompt, is_text

if TYPE_CHECKING:
    from .model import Model
    from .session import Session

LOGIT_BYTES = 256 << 20  # of the logits that are looked at together


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-probability of the scored tokens; float() of it is the value.

    nll: that mean, in nats a token. standard_error: of the value, as if tokens were independent. protocol: how it was measured.

    >>> result = model.perplexity([2, 10, 20, 30, 40], context=4)
    >>> result.tokens_scored, float(result) == result.value
    (1, True)
    """

    value: float
    standard_error: float
    nll: float
    tokens_scored: int
    protocol: dict[str, object] = field(repr=False)

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return (f"perplexity {self.value:.4f} ± {self.standard_error:.4f} over {self.tokens_scored} tokens "
                f"({self.protocol['chunks']} chunks of {self.protocol['context']}, {self.protocol['arithmetic']})")


@dataclass(frozen=True)
class Chunk:
    """Tokens to read, and the first of them whose row is scored: row t foretells token t + 1."""

    tokens: Ids
    first: int

    @property
    def scored(self) -> int:
        return len(self.tokens) - 1 - self.first


def chunks_of(model: Model, text: Prompt, context: int, where: str) -> list[Chunk]:
    """The chunks of a text, by the protocol above."""
    context = arguments.whole(context, "context")
    if context < 2:
        raise ValueError(f"context: at least 2 tokens, got {context}")
    if is_text(text) and len(text) == 0:
        raise ValueError(f"{where}: the text is empty")
    ids = encode_prompt(model.tokenizer, text, special=False, bos=True, where=where)
    if len(ids) < 2:
        raise ValueError(f"{where}: at least 2 tokens are needed to score one, got {len(ids)}")
    pieces = [ids[i:i + context] for i in range(0, len(ids) - context + 1, context)] or [ids]
    bos = model.bos
    chunks = []
    for piece in pieces:
        tokens = piece.copy()
        if bos >= 0:
            tokens[0] = bos
        chunks.append(Chunk(tokens, min(len(tokens) // 2, len(tokens) - 2)))
    return chunks


def scored_logits(session: Session, chunk: Chunk, arithmetic: str) -> Iterator[tuple[Ids, npt.NDArray[np.float32]]]:
    """(targets [n], logits [n, vocabulary]) of all scored rows, in pieces that fit into memory."""
    session.clear()
    if chunk.first:
        session.feed(chunk.tokens[:chunk.first], logits=None, arithmetic=arithmetic)
    step = max(1, LOGIT_BYTES // (4 * session.model.config.vocabulary))
    for begin in range(chunk.first, len(chunk.tokens) - 1, step):
        end = min(begin + step, len(chunk.tokens) - 1)
        yield chunk.tokens[begin + 1:end + 1], session.feed(chunk.tokens[begin:end], logits="all", arithmetic=arithmetic)


def summary(nll: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """(perplexity, its standard error, mean) of negative log-probabilities."""
    mean = float(nll.mean())
    value = math.exp(mean) if mean < 700 else math.inf
    spread = float(nll.std(ddof=1)) / math.sqrt(len(nll)) if len(nll) > 1 else math.nan
    return value, value * spread, mean


def measure(model: Model, text: Prompt, context: int, arithmetic: str, cache: str) -> Perplexity:
    """Model.perplexity."""
    chunks = chunks_of(model, text, context, "perplexity")
    longest = max(len(chunk.tokens) for chunk in chunks)
    session = model.session(context=longest, chunk=min(longest, 512), cache=cache)
    found: list[npt.NDArray[np.float64]] = []
    with Progress("perplexity", len(chunks)) as progress:
        for chunk in chunks:
            for targets, logits in scored_logits(session, chunk, arithmetic):
                found.append(-_core.log_probabilities(logits, targets))
            progress.advance(note=f", {summary(np.concatenate(found))[0]:.4f}")
    nll = np.concatenate(found)
    value, error, mean = summary(nll)
    protocol = model.protocol(arithmetic=arithmetic, context=context, chunks=len(chunks), bos=model.bos,
                              scored="second half of every chunk", cache=cache)
    return Perplexity(value, error, mean, len(nll), protocol)


def lists_of(texts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """One text or many, as many."""
    if isinstance(texts, (str, bytes)):
        return [texts]
    if isinstance(texts, Mapping) or not isinstance(texts, Iterable):
        raise TypeError(f"texts: expected a text, a list of ids or a list of these, got {texts!r:.60}")
    every: list[Any] = list(texts)
    return [every] if every and isinstance(every[0], (int, np.integer)) else every
