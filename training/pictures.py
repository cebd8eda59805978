"""Pictures as SVG, written by hand: a model's curve, the map of its routing, and the router losses side by side."""

import math

CELL = 20
COLOURS = {"none": "#b2182b", "switch": "#2166ac", "bias": "#1b7837", "training": "#888", "validation": "#b2182b"}
TITLES = {"none": "no loss", "switch": "Switch loss and z-loss", "bias": "bias and z-loss"}


def svg(width: float, height: float, parts: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *parts, "</svg>", ""])


def text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}"{" " + more if more else ""}>{words}</text>'


def layer_map(x: float, y: float, shares: list[list[float]], kinds: list[str]) -> list[str]:
    """Kinds of token by experts, each cell by its share of the kind's choices. An empty kind's name is left out with its row."""
    out = []
    for row, (kind, of_experts) in enumerate((kind, of) for kind, of in zip(kinds, shares) if kind):
        out.append(text(x - 8, y + row * CELL + 14, kind, 'text-anchor="end"'))
        for expert, share in enumerate(of_experts):
            shade = round(255 * (1 - math.sqrt(min(1, 3 * share))))
            out.append(f'<rect x="{x + expert * CELL}" y="{y + row * CELL}" width="{CELL - 1}" height="{CELL - 1}" '
                       f'fill="rgb({shade},{shade},{shade})" stroke="#ccc" stroke-width="0.5"/>')
    return out


def seen_kinds(routing: dict) -> list[str]:
    return [kind if tokens else "" for kind, tokens in zip(routing["kinds"], routing["tokens_of_kind"])]


def routing_map(routing: dict) -> str:
    """For every layer which kinds of token go to which experts; the darker, the more of the kind's choices."""
    left, top, gap = 170, 44, 26
    kinds, layers = seen_kinds(routing), len(routing["load"])
    height = sum(map(bool, kinds)) * CELL + gap
    out = [text(left, 18, "experts; white: never chosen by this kind of token,"), text(left, 34, "black: a third of its choices and more")]
    for layer in range(layers):
        y = top + layer * height
        out.append(text(6, y + 14, f"layer {layer}", 'font-weight="bold"'))
        out += layer_map(left, y + gap - 8, routing["share_by_kind"][layer], kinds)
    return svg(left + len(routing["load"][0]) * CELL + 16, top + layers * height, out)


def lines(x: float, y: float, width: float, height: float, title: str, under: str, series: dict[str, list[tuple[float, float]]],
          bottom: float, top: float) -> list[str]:
    """One panel of curves over common axes, the values' range given."""
    last = max(points[-1][0] for points in series.values())
    out = [text(x, y - 10, title, 'font-weight="bold"'), text(x + width, y + height + 30, under, 'text-anchor="end"'),
           f'<path d="M{x} {y}V{y + height}H{x + width}" fill="none" stroke="#444"/>']
    for part in range(5):
        value = bottom + (top - bottom) * part / 4
        out.append(text(x - 6, round(y + height * (1 - part / 4) + 4), f"{value:.4g}", 'text-anchor="end" fill="#444"'))
    out += [text(x, y + height + 16, "0", 'fill="#444"'), text(x + width, y + height + 16, f"{last:.0f}", 'text-anchor="end" fill="#444"')]
    for name, points in series.items():
        placed = (f"{x + width * step / last:.1f},{y + height * (top - min(value, top)) / (top - bottom):.1f}" for step, value in points)
        out.append(f'<polyline points="{" ".join(placed)}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
    return out


def training_curve(curve: list[dict], anneal: int) -> str:
    """A run's curve from its twentieth step: the loss of single batches, and of the same validation text every 200 steps."""
    series = {"training": [(line["step"], line["loss"]) for line in curve if "loss" in line and line["step"] >= 20],
              "validation": sorted({line["step"]: line["valid"] for line in curve if "valid" in line}.items())}
    out = []
    for i, name in enumerate(series):
        x = 60 + 110 * i
        out += [f'<rect x="{x}" y="16" width="24" height="4" fill="{COLOURS[name]}"/>', text(x + 32, 23, name)]
    under = f"steps; in the last {anneal} the rate falls to zero"
    return svg(500, 300, out + lines(60, 60, 420, 190, "cross-entropy, nats a token", under, series, 3, 7))


def losses_compared(found: dict, layer: int = 3) -> str:
    """What short_runs.py found: curves of the loss and of the imbalance, loads by rank, and one layer's map for each way."""
    wide, left, top, height = 250, 60, 74, 170
    runs = {name: run["curve"] for name, run in found.items()}
    ranks = {name: [(rank, share) for rank, share in enumerate(sorted(run["routing"]["load"][layer], reverse=True))]
             for name, run in found.items()}
    out = []
    for i, name in enumerate(found):
        x = left + 230 * i
        out += [f'<rect x="{x}" y="16" width="24" height="4" fill="{COLOURS[name]}"/>', text(x + 32, 23, TITLES[name])]
    loss = {name: [(line["step"], line["loss"]) for line in run] for name, run in runs.items()}
    even = {name: [(line["step"], line["balance"]) for line in run] for name, run in runs.items()}
    uneven = math.ceil(4 * max(value for points in even.values() for _, value in points)) / 4
    most = math.ceil(20 * max(points[0][1] for points in ranks.values())) / 20
    panels = [("cross-entropy, nats a token", "steps", loss, 4, 8), ("Switch loss: 1 is even", "steps", even, 1, uneven),
              (f"load of layer {layer}'s experts", "experts by rank", ranks, 0, most)]
    for i, (title, under, series, bottom, upper) in enumerate(panels):
        out += lines(left + i * (wide + 80), top, wide, height, title, under, series, bottom, upper)
    y = top + height + 84
    out.append(text(left, y - 26, f"Which kinds of token layer {layer}'s experts take (black: a third of the kind's choices and more)",
                    'font-weight="bold"'))
    for i, (name, run) in enumerate(found.items()):
        routing = run["routing"]
        kinds = seen_kinds(routing)
        x = 166 + i * (16 * CELL + 16)
        out.append(text(x, y - 6, TITLES[name], f'fill="{COLOURS[name]}"'))
        drawn = layer_map(x, y, routing["share_by_kind"][layer], kinds)
        out += drawn if i == 0 else [part for part in drawn if not part.startswith("<text")]
    return svg(166 + len(found) * (16 * CELL + 16), y + sum(map(bool, kinds)) * CELL + 12, out)
