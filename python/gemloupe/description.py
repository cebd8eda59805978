"""A model in words, as print(model) shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Model


def size_text(count: float, unit: str = "B") -> str:
    """1234567 as "1.23 MB"."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {letter}{unit}".rstrip()
    return f"{count:.0f} {unit}".rstrip()


def pattern_text(layers: Sequence[Any]) -> str:
    """Kinds of layers as runs, with what repeats written once: "(sliding ×5, full) ×3"."""
    kinds = ["full" if layer.full else "sliding" for layer in layers]

    def runs(part: Sequence[str]) -> str:
        found: list[tuple[str, int]] = []
        for kind in part:
            if found and found[-1][0] == kind:
                found[-1] = (kind, found[-1][1] + 1)
            else:
                found.append((kind, 1))
        return ", ".join(kind if count == 1 else f"{kind} ×{count}" for kind, count in found)

    for period in range(2, len(kinds) // 2 + 1):
        if kinds == (kinds[:period] * len(kinds))[:len(kinds)] and len(set(kinds[:period])) > 1:
            times, rest = divmod(len(kinds), period)
            return f"({runs(kinds[:period])}) ×{times}" + (f", {runs(kinds[-rest:])}" if rest else "")
    return runs(kinds)


def span_text(values: Sequence[int]) -> str:
    return "/".join(str(v) for v in sorted(set(values)))


def described(model: Model) -> str:
    c, layers = model.config, model.config.layers
    windows = [layer.window for layer in layers if not layer.full]
    shared = [i for i, layer in enumerate(layers) if layer.cache_source != i]
    rows = [
        ("layers", f"{len(layers)}: {pattern_text(layers)}" + (f"; window {span_text(windows)}" if windows else "")
         + (f"; {shared[0]}–{shared[-1]} read earlier caches" if shared else "")),
        ("sizes", f"hidden {c.hidden}, ffn {span_text([x.ffn_width for x in layers])}, heads {span_text([x.heads for x in layers])} of "
         f"{span_text([x.head_dim for x in layers])}, key heads {span_text([x.kv_heads for x in layers])}"),
    ]
    if c.experts:
        rows.append(("experts", f"{c.experts_used} of {c.experts}, each {c.expert_width} wide"))
    if c.ple_width:
        rows.append(("per-layer emb.", f"{c.ple_width} wide, {c.ple_vocabulary} tokens"))
    rows += [
        ("vocabulary", f"{c.vocabulary}, {'no tokenizer' if model.tokenizer is None else repr(model.tokenizer)[1:-1]}"),
        ("context", f"{c.context} tokens"),
        ("parameters", f"{model.parameters:,}"),
        ("weights", f"{size_text(model.bytes)}: " + ", ".join(f"{f} {size_text(b)}" for f, b in model.bytes_by_format().items())),
    ]
    lengths = sorted({min(n, c.context) for n in (512, 8192, c.context)})
    rows.append(("caches", ", ".join(f"{size_text(model.memory(n)['caches'])} for {n} tokens" for n in lengths)))
    title = f"{c.architecture}" + (f" “{c.name}”" if c.name else "") + (f"  {model.path}" if model.path else "")
    return "\n".join([title, *(f"  {label:15} {value}" for label, value in rows)])
