"""Two models on the same texts: how far their predictions lie apart, and where they part first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import _core
from .perplexity import chunks_of, lists_of, scored_logits, summary
from .progress import Progress
from .prompts import Prompt

if TYPE_CHECKING:
    from .model import Model

LOOK = 64  # tokens of the first text on which the first difference is looked for


@dataclass(frozen=True)
class Difference:
    """The first value, in the order of the program, that differs, and where it differs most.

    index: [row, …] of the largest difference; base and other: the values there; relative: largest / root mean square of the base.
    """

    name: str
    index: tuple[int, ...]
    base: float
    other: float
    largest: float
    relative: float


@dataclass(frozen=True)
class Comparison:
    """What gl.compare found. KLD is KL(base || other) of the next-token distributions, in nats.

    same_top: the share of tokens whose most probable next token is the same. first: None if every common value has the same bits.
    """

    kld_mean: float
    kld_p99: float
    kld_max: float
    same_top: float
    perplexity_base: float
    perplexity_other: float
    tokens: int
    first: Difference | None
    bytes_base: int
    bytes_other: int
    protocol: dict[str, object] = field(repr=False)

    def to_dict(self) -> dict[str, object]:
        """Everything as plain values.

        >>> sorted(gl.compare(model, model, [[2, 10, 20, 30]]).to_dict())[:3]
        ['bytes_base', 'bytes_other', 'first']
        """
        return asdict(self)

    def __str__(self) -> str:
        rows = [
            ("KL divergence, nats", f"mean {self.kld_mean:.6f}   p99 {self.kld_p99:.6f}   max {self.kld_max:.6f}"),
            ("same top token", f"{100 * self.same_top:.2f} %"),
            ("perplexity", f"{self.perplexity_base:.4f} -> {self.perplexity_other:.4f}"),
            ("weights", f"{self.bytes_base / 1e6:.1f} MB -> {self.bytes_other / 1e6:.1f} MB"),
            ("tokens scored", f"{self.tokens} ({self.protocol['arithmetic']}, chunks of {self.protocol['context']})"),
        ]
        if self.first is None:
            rows.append(("first difference", "none: all common values have the same bits"))
        else:
            f = self.first
            rows.append(("first difference", f"{f.name} {list(f.index)}: {f.base:.6g} -> {f.other:.6g} "
                                             f"({f.relative:.2g} of its root mean square)"))
        return "\n".join(f"{label:20}  {value}" for label, value in rows)



def first_difference(base: Model, other: Model, tokens: npt.NDArray[np.int32], arithmetic: str) -> Difference | None:
    """The first value, in the base's order, whose bits differ. Only digests are kept of all others."""
    n = len(tokens)
    a = base.session(context=n, chunk=n)._core.digests(tokens, arithmetic)
    b = other.session(context=n, chunk=n)._core.digests(tokens, arithmetic)
    for name, digest in a.items():
        if name not in b or b[name] == digest:
            continue
        x, y = (model.run(tokens, record=[name], logits="last", arithmetic=arithmetic)[name] for model in (base, other))
        if x.shape != y.shape:
            return Difference(name, (), float("nan"), float("nan"), float("inf"), float("inf"))
        apart = np.abs(x.astype(np.float64) - y.astype(np.float64))
        apart = np.where(np.isnan(apart), np.inf, apart)
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(apart)), apart.shape))
        size = float(np.sqrt(np.mean(np.square(x.astype(np.float64)))))
        largest = float(apart[index])
        return Difference(name, index, float(x[index]), float(y[index]), largest, largest / size if size else float("inf"))
    return None


def compare(base: Model, other: Model, texts: Prompt | Sequence[Prompt], context: int = 512, arithmetic: str = "exact") -> Comparison:
    """Measures how far `other` lies from `base` on one text or a list (or lists of ids), chunked and scored as by Model.perplexity.

    Both models must share a vocabulary; texts are encoded by the base's tokenizer. arithmetic: "exact", "bf16" or "int8". ValueError where they do not, for empty texts
    and for a context that a model does not have.

    >>> small = model.quantize({"layers.*.ffn.*": gl.grid(bits=3, group=64)})
    >>> result = gl.compare(model, small, [[2, 10, 20, 30, 40, 50]])
    >>> result.first.name, result.kld_mean > 0
    ('layers.0.ffn.gate', True)
    """
    for name, model in (("base", base), ("other", other)):
        if not hasattr(model, "config"):
            raise TypeError(f"compare: {name}: expected a model, got {model!r:.60}")
    if base.config.vocabulary != other.config.vocabulary:
        raise ValueError(f"compare: the vocabularies differ, {base.config.vocabulary} and {other.config.vocabulary} tokens")
    every = lists_of(texts)
    if not every:
        raise ValueError("compare: there is no text")
    chunks = [chunk for i, text in enumerate(every) for chunk in chunks_of(base, text, context, f"compare: text {i}")]
    longest = max(len(chunk.tokens) for chunk in chunks)
    one, two = (model.session(context=longest, chunk=min(longest, 512)) for model in (base, other))
    nll_base: list[npt.NDArray[np.float64]] = []
    nll_other: list[npt.NDArray[np.float64]] = []
    klds: list[npt.NDArray[np.float64]] = []
    same: list[npt.NDArray[np.bool_]] = []
    with Progress("compare", len(chunks)) as progress:
        for chunk in chunks:
            for (targets, a), (_, b) in zip(scored_logits(one, chunk, arithmetic), scored_logits(two, chunk, arithmetic), strict=True):
                kld, agree = _core.divergences(a, b)
                klds.append(kld)
                same.append(agree)
                nll_base.append(-_core.log_probabilities(a, targets))
                nll_other.append(-_core.log_probabilities(b, targets))
            progress.advance()
    kld = np.concatenate(klds)
    protocol = base.protocol(arithmetic=arithmetic, context=context, chunks=len(chunks), bos=base.bos, other=other.fingerprint,
                             scored="second half of every chunk")
    return Comparison(
        kld_mean=float(kld.mean()),
        kld_p99=float(np.quantile(kld, 0.99)),
        kld_max=float(kld.max()),
        same_top=float(np.concatenate(same).mean()),
        perplexity_base=summary(np.concatenate(nll_base))[0],
        perplexity_other=summary(np.concatenate(nll_other))[0],
        tokens=len(kld),
        first=first_difference(base, other, chunks[0].tokens[:LOOK], arithmetic),
        bytes_base=base.bytes,
        bytes_other=other.bytes,
        protocol=protocol,
    )
