"""How fast a model runs, beside how fast this machine could run it."""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from . import _core, arguments
from .session import Session, feed

if TYPE_CHECKING:
    from .model import Model

ARITHMETICS = ("exact", "bf16", "int8")
ROOF_SECONDS = 0.5  # for each unit
ROOF_BYTES = 1 << 30
FLOATS = ("F32", "F64")  # weights that are summed in float32 whatever the arithmetic


@dataclass(frozen=True)
class Roof:
    """What this machine does at most, with the threads and instructions in use: bytes and operations a second.

    A multiply-add is two operations. read: from memory. fma: float32. integer: int8 products (16-bit ones on AVX2). bf16: as the
    arithmetic of that name multiplies.
    """

    read: float
    fma: float
    integer: float
    bf16: float

    def operations(self, arithmetic: str, isa: str) -> float:
        """Operations a second that an arithmetic can reach: `exact` takes two int8 products a weight where there are int8 products.

        >>> gl.Roof(read=1e10, fma=1e11, integer=4e12, bf16=2e12).operations("exact", "avx512")
        2000000000000.0
        """
        if arithmetic == "exact":
            return self.integer / 2 if isa in ("avx512", "amx") else self.integer
        return self.integer if arithmetic == "int8" else self.bf16


def measure_roof(seconds: float = ROOF_SECONDS, bytes: int = ROOF_BYTES) -> Roof:
    """Measures the roof, `seconds` for each of its numbers; `bytes` of memory are filled and read.

    >>> gl.bench.__module__
    'gemloupe.bench'
    """
    return Roof(**_core.measure_roof(arguments.real(seconds, "measure_roof: seconds"), arguments.whole(bytes, "measure_roof: bytes")))


@dataclass(frozen=True)
class Work:
    """What one step has to do at least: bytes that come from memory once, and operations, those in float32 apart."""

    bytes: float
    operations: float
    float_operations: float

    def seconds(self, roof: Roof, arithmetic: str, isa: str) -> float:
        """The least time, by what is scarcer: memory or multiplication.

        >>> gl.Work(2e9, 1e9, 0).seconds(gl.Roof(1e9, 1e9, 1e9, 1e9), "bf16", "amx")
        2.0
        """
        multiplying = self.operations / roof.operations(arithmetic, isa) + self.float_operations / roof.fma
        return max(self.bytes / roof.read, multiplying)


def keys_seen(depth: int, rows: int, window: int) -> int:
    """How many keys `rows` tokens see together when `depth` tokens are before them."""
    if window <= 0 or depth + rows <= window:
        return rows * depth + rows * (rows + 1) // 2
    growing = max(0, window - depth)  # the first rows, which still see everything
    return growing * depth + growing * (growing + 1) // 2 + (rows - growing) * window


def step_work(model: Model, rows: int, depth: int, sessions: int = 1, cache: str = "f32") -> Work:
    """What a step of `rows` tokens in each of `sessions` sequences has to do at least, when `depth` tokens are before them.

    Weights are read once a step; of experts, as many as random rows choose on average; of tables, the rows that are looked up.
    Behind the last cache that is filled only the last row of each sequence is computed.

    >>> gl.step_work(model, rows=1, depth=0).bytes <= model.bytes
    True
    """
    config, tokens = model.config, rows * sessions
    bytes_, operations, floats = 0.0, 0.0, 0.0
    nodes = list(model.graph)
    last_cache = max((i for i, node in enumerate(nodes) if node.op.startswith("kv_cache")), default=len(nodes))
    last_layer = int(nodes[last_cache].name.split(".")[1]) if last_cache < len(nodes) else len(config.layers)
    for i, node in enumerate(nodes):
        kind = node.op.split("(")[0]
        for name in node.weights:
            w = model.weights[name]
            columns = w.shape[-1] if w.shape else 1
            if kind == "embed":
                bytes_ += w.bytes * tokens / max(1, w.size // columns)
                continue
            rows_here = sessions if i > last_cache else tokens
            share, used = 1.0, float(rows_here)
            if kind == "experts_linear":
                used *= config.experts_used / config.experts
                share = 1 - (1 - config.experts_used / config.experts) ** rows_here
            bytes_ += w.bytes * share
            if kind in ("linear", "experts_linear"):
                done = 2.0 * w.size * used
                if w.format in FLOATS:
                    floats += done
                else:
                    operations += done
    element = 2 if cache == "f16" else 4
    for i, layer in enumerate(config.layers):
        window = 0 if layer.full else layer.window
        late = i >= last_layer
        here, before = (1, depth + rows - 1) if late else (rows, depth)
        read = min(before + here, window + here - 1) if window > 0 else before + here
        bytes_ += 2.0 * element * sessions * read * layer.kv_heads * layer.head_dim
        operations += 4.0 * sessions * keys_seen(before, here, window) * layer.heads * layer.head_dim
    return Work(bytes_, operations, floats)


@dataclass(frozen=True)
class Rate:
    """Tokens a second: the median over the rounds, each round, and the most that this machine's roof allows."""

    tokens_per_second: float
    rounds: tuple[float, ...]
    limit: float
    work: Work

    @property
    def share(self) -> float:
        """Of the limit."""
        return self.tokens_per_second / self.limit


@dataclass(frozen=True)
class Bench:
    """What gl.bench found. Seconds and bytes; prompt and decode are None where nothing of the kind was asked for.

    first_token: from giving the prompt to its logits. load: opening the file, None for a model that was open already. peak: the
    most memory the process had resident, the file's own pages among them; rise: how much of it came after loading.
    warning: why the numbers may be too low; "" if nothing speaks for it.
    """

    prompt: Rate | None
    decode: Rate | None
    first_token: float | None
    load: float | None
    peak: int
    rise: int
    roof: Roof
    warning: str
    protocol: dict[str, object] = field(repr=False)

    def to_dict(self) -> dict[str, object]:
        """Everything as plain values.

        >>> sorted(gl.bench(model, prompt=4, decode=2, rounds=1, roof=gl.Roof(1e10, 1e11, 1e12, 1e12)).to_dict())[:3]
        ['decode', 'first_token', 'load']
        """
        plain = asdict(self)
        for name, rate in (("prompt", self.prompt), ("decode", self.decode)):
            if rate is not None:
                plain[name]["share"] = rate.share
        return plain

    def to_json(self) -> str:
        """Everything as JSON.

        >>> '"tokens_per_second"' in gl.bench(model, prompt=4, decode=2, rounds=1, roof=gl.Roof(1e10, 1e11, 1e12, 1e12)).to_json()
        True
        """
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    def __str__(self) -> str:
        p, unit = self.protocol, 1e9
        rows: list[tuple[str, str, str]] = []

        def speed(label: str, rate: Rate | None, bound: str) -> None:
            if rate is not None:
                spread = f" ({min(rate.rounds):.4g} … {max(rate.rounds):.4g})" if len(rate.rounds) > 1 else ""
                rows.append((label, f"{rate.tokens_per_second:.4g} tokens/s{spread}",
                             f"limit {rate.limit:.4g} ({bound}), reached {100 * rate.share:.0f} %"))

        if self.prompt is not None:
            w = self.prompt.work
            speed(f"prompt of {p['prompt']}", self.prompt, f"{(w.operations + w.float_operations) / unit:.3g} G operations")
        if self.decode is not None:
            together = f", {p['sessions']} sessions" if p["sessions"] != 1 else ""
            speed(f"decode{together}", self.decode, f"{self.decode.work.bytes / unit:.3g} GB a step")
        if self.first_token is not None:
            limit = f"limit {1e3 * float(str(p['prompt'])) / self.prompt.limit:.3g} ms" if self.prompt else ""
            rows.append(("first token after", f"{1e3 * self.first_token:.4g} ms", limit))
        if self.load is not None:
            rows.append(("load", f"{1e3 * self.load:.3g} ms", ""))
        rows.append(("peak memory", f"{self.peak / unit:.3g} GB",
                     f"{self.rise / unit:.3g} GB of it after loading; weights {float(str(p['bytes'])) / unit:.3g} GB"))
        rows.append(("roof", f"memory {self.roof.read / unit:.3g} GB/s",
                     f"bf16 {self.roof.bf16 / unit:.4g}, integer {self.roof.integer / unit:.4g}, float32 {self.roof.fma / unit:.4g} G operations/s"))
        width = max(len(value) for _, value, _ in rows)
        head = (f"{p['model']} ({p['formats']}), {p['isa']}, {p['threads']} threads, {p['arithmetic']} prompts, exact decoding, "
                f"depth {p['depth']}, median of {p['rounds']}")
        table = [f"  {label:18} {value:{width}}  {beside}".rstrip() for label, value, beside in rows]
        return "\n".join([head, *table] + ([f"  {self.warning}"] if self.warning else []))


def peak_memory() -> int:
    """The most bytes this process had resident."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def busy_text() -> str:
    """What to say of a machine on which others compute; "" for an idle one."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if load < 0.5 * cores:
        return ""
    return f"the machine is busy: {load:.1f} programs ran on its {cores} cores in the last minute, so these rates are too low"


def bench(given: Model | str | os.PathLike[str], prompt: int = 512, decode: int = 32, depth: int = 0, sessions: int = 1,
          arithmetic: str = "bf16", rounds: int = 3, cache: str = "f32", chunk: int = 0, seed: int = 0,
          roof: Roof | None = None) -> Bench:
    """Measures a model, or the file at a path, on random ids: prompt and decode, each with the most that this machine allows.

    prompt, decode: tokens of each, 0 for none. depth: tokens that are in the cache before either. sessions: sequences that decode
    together. arithmetic: of the prompt; decoding is exact. rounds: the median of so many. cache, chunk: as in Model.session (chunk 0:
    its default). roof: measured if not given, which takes two seconds and 1 GB. ValueError for numbers that make no sense and more
    tokens than the model's context.

    >>> result = gl.bench(model, prompt=8, decode=4, depth=2, rounds=1, roof=gl.Roof(1e10, 1e11, 1e12, 1e12))
    >>> result.decode.tokens_per_second > 0, result.protocol["depth"]
    (True, 2)
    """
    for name, value, low in (("prompt", prompt, 0), ("decode", decode, 0), ("depth", depth, 0), ("sessions", sessions, 1), ("rounds", rounds, 1),
                             ("chunk", chunk, 0)):
        arguments.whole(value, f"bench: {name}", low)
    if prompt == decode == 0:
        raise ValueError("bench: prompt and decode are both 0; there is nothing to measure")
    if arguments.word(arithmetic, "bench: arithmetic") not in ARITHMETICS:
        raise ValueError(f"bench: arithmetic: expected exact, bf16 or int8, got {arithmetic!r}")
    warning = busy_text()
    load = None
    if isinstance(given, (str, os.PathLike)):
        from .loading import load as open_model

        begin = time.perf_counter()
        model = open_model(given)
        load = time.perf_counter() - begin
    else:
        model = given
    before = peak_memory()
    start = max(depth, 1)  # a decode step needs a token before it
    context = start + max(prompt, decode)
    if context > model.config.context:
        raise ValueError(f"bench: {context} tokens (depth, then prompt or decode) are more than the model's context of {model.config.context}")
    ids = np.random.default_rng(arguments.seed(seed)).integers(0, model.config.vocabulary, context).astype(np.int32)

    def empty() -> Session:
        return model.session(context=context, cache=cache, chunk=chunk or None)

    base = empty()
    read(base, ids[:start], arithmetic)
    warm = [base.fork() for _ in range(sessions)]
    steps(warm, ids[start:start + min(decode, 2)])
    if prompt:
        read(base.fork(), ids[start:start + min(prompt, 32)], arithmetic)
    del warm

    reading: list[float] = []
    writing: list[float] = []
    for _ in range(rounds):
        if prompt:
            session = base.fork() if depth else empty()
            reading.append(read(session, ids[depth:depth + prompt], arithmetic))
        if decode:
            writing.append(steps([base.fork() for _ in range(sessions)], ids[start:start + decode]))
    peak = peak_memory()
    roof = measure_roof() if roof is None else roof
    isa = _core.isa()

    def rate(seconds: Sequence[float], tokens: int, work: Work, each: int, arithmetic: str) -> Rate:
        return Rate(tokens / statistics.median(seconds), tuple(tokens / s for s in seconds), each / work.seconds(roof, arithmetic, isa), work)

    middle = start + decode // 2
    protocol = model.protocol(arithmetic=arithmetic, prompt=prompt, decode=decode, depth=depth, sessions=sessions, rounds=rounds,
                              cache=cache, chunk=base.chunk, seed=seed, bytes=model.bytes, python=sys.version.split()[0],
                              numpy=np.__version__)
    return Bench(
        prompt=rate(reading, prompt, step_work(model, prompt, depth, 1, cache), prompt, arithmetic) if prompt else None,
        decode=rate(writing, decode * sessions, step_work(model, 1, middle, sessions, cache), sessions, "exact") if decode else None,
        first_token=statistics.median(reading) if prompt else None,
        load=load, peak=peak, rise=max(0, peak - before), roof=roof, warning=warning or busy_text(), protocol=protocol,
    )


def read(session: Session, ids: np.ndarray, arithmetic: str) -> float:
    """Seconds to read a prompt and have the logits of its last token."""
    begin = time.perf_counter()
    logits = session.prefill(ids, arithmetic=arithmetic)
    seconds = time.perf_counter() - begin
    if not math.isfinite(float(logits[0])):
        raise _core.Error("bench: the model's logits are not finite")
    return seconds


def steps(sessions: Sequence[Session], ids: np.ndarray) -> float:
    """Seconds to feed each id to all sessions, one step each."""
    begin = time.perf_counter()
    for token in ids:
        feed([(session, [int(token)]) for session in sessions])
    return time.perf_counter() - begin
