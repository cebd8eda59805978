#!/usr/bin/env python3
"""One page of what the benchmarks measured: tables, a roofline, and curves of how cost grows.

    python benchmarks/report.py FILE.json ... [--out build/report]

Takes what bench_*, curves.py, against_peers.py and `gemloupe bench` write as JSON, in any order, and tells them apart by what they hold.
Writes index.html, which needs nothing beside it, and each picture as .png and .svg.
"""
import argparse
import base64
import html
import io
import json
import math
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

INSTALL = "matplotlib is needed for the pictures; mend: pip install \"gemloupe[report]\""
ISAS = ("reference", "avx2", "avx512", "amx")
COLOURS = ("#2f6f9f", "#c8553d", "#588157", "#8f6bb3", "#d59b2d", "#5b8e94", "#9c4a63", "#7a7a7a")
STYLE = """
:root { --ink: #1d232b; --soft: #667; --line: #dde1e6; --ground: #fbfbf9; --bar: #cfe0ea; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem } h2 { margin-top: 2.4rem; border-bottom: 1px solid var(--line); font-size: 1.25rem }
p, .soft { color: var(--soft); max-width: 48rem } img { width: 100%; margin: .6rem 0; background: white; border: 1px solid var(--line); border-radius: 6px }
table { border-collapse: collapse; font-size: .86rem; width: 100%; margin: .6rem 0 } th { text-align: right; color: var(--soft); font-weight: 600 }
th, td { padding: .18rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap } td { text-align: right; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left } .share { background: linear-gradient(to right, var(--bar) var(--to), transparent var(--to)) }
details { margin: .4rem 0 } summary { cursor: pointer } .wrong { color: #b3261e }
"""


@dataclass(frozen=True)
class Case:
    """A line of Google Benchmark's JSON: room/variant/what it worked on. Rates in bytes and operations a second, or 0."""

    room: str
    variant: str
    rest: str
    seconds: float
    bytes: float = 0.0
    operations: float = 0.0
    of_memory: float = 0.0
    of_units: float = 0.0
    error: str = ""

    @property
    def isa(self):
        """The variant's place in the order of instruction sets, -1 for another library."""
        last = self.variant.split(".")[-1]
        return ISAS.index(last) if last in ISAS else -1

    @property
    def rows(self):
        last = self.rest.split("/")[-1]
        return int(last) if last.isdigit() else 0


UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def case_of(entry):
    name = [part for part in entry["name"].split("/") if part != "real_time" and not part.startswith("min_time:")]
    name += [""] * (3 - len(name))
    seconds = entry["best_us"] * 1e-6 if "best_us" in entry else entry.get("real_time", 0.0) * UNITS[entry.get("time_unit", "ns")]
    return Case(name[0], name[1], "/".join(name[2:]), seconds, entry.get("bytes/s", entry.get("bytes_per_second", 0.0)),
                entry.get("op/s", 0.0), entry.get("of_dram", 0.0), entry.get("of_pipe", 0.0),
                entry.get("error_message", "") if entry.get("error_occurred") else "")


def sort(documents):
    """(cases, curves documents, peers documents, bench documents); ValueError for what is none of these."""
    cases, curves, cells, benches = [], [], [], []
    for name, document in documents:
        if not isinstance(document, dict):
            raise ValueError(f"{name}: expected an object, got {type(document).__name__}")
        if "benchmarks" in document:
            cases += [case_of(entry) for entry in document["benchmarks"] if entry.get("run_type", "iteration") == "iteration"]
        elif "curves" in document:
            curves.append(document)
        elif "cells" in document:
            cells.append(document)
        elif "roof" in document and "protocol" in document:
            benches.append(document)
        else:
            raise ValueError(f"{name}: neither of bench_*, curves.py, against_peers.py nor of gemloupe bench")
    return cases, curves, cells, benches


def best_variants(cases):
    """Of each piece of work the fastest variant of ours."""
    best = {}
    for case in cases:
        key = (case.room, case.variant.split(".")[0] if "." in case.variant else "", case.rest)
        if not case.error and case.isa >= 0 and (key not in best or case.seconds < best[key].seconds):
            best[key] = case
    return list(best.values())


def roofs(cases):
    """Bytes a second, and {label: useful operations a second} of the units that were in use, as the cases' shares imply them: each
    program measures its own, and other programs only ever take away."""
    memory = [c.bytes / c.of_memory for c in cases if c.of_memory > 0]
    units = {}
    for case in cases:
        if case.of_units > 0 and case.isa >= 0 and case.room in ("strips", "bf16"):
            label = {"strips": "exact", "bf16": "bf16"}[case.room] + f", {case.variant}"
            units.setdefault(label, []).append(case.operations / case.of_units)
    return max(memory, default=0.0), {label: max(found) for label, found in units.items()}


def level(cases):
    """The cases with shares of one roof of the memory: each program measured its own, and the highest is the nearest to the truth."""
    memory = roofs(cases)[0]
    return [replace(case, of_memory=case.bytes / memory) if case.of_memory > 0 else case for case in cases]


# ---- Pictures


def pyplot():
    try:
        import matplotlib
    except ImportError:
        sys.exit(INSTALL)
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e6e8eb",
                         "axes.edgecolor": "#9aa0a8", "figure.dpi": 130, "legend.frameon": False, "svg.fonttype": "none",
                         "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.prop_cycle": matplotlib.cycler(color=COLOURS)})
    return plt


def plain_number(value):
    """1e-05 as 10 µ, 2e9 as 2 G."""
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {letter}".rstrip()
    return f"{value:.3g}"


def with_unit(value, label):
    """A tick of an axis that is labelled "seconds …", or of another."""
    return f"{plain_number(value)}{'s' if label.startswith('seconds') else ''}" if value else "0"


def log_axes(axes, x, y, xs=()):
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log", base=2 if xs else 10)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: with_unit(value, y)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    if xs:
        axes.set_xticks([value for value in xs if value & (value - 1) == 0] if len(xs) > 10 else xs)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    low, high = axes.get_ylim()
    if high < 30 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def roofline(plt, cases):
    """Operations a second over operations a byte, under the roofs."""
    shown = [c for c in best_variants(cases) if c.operations > 0 and c.bytes > 0 and c.room in ("matmul", "strips", "bf16", "experts", "attention")]
    memory, units = roofs(cases)[0], roofs(shown)[1]
    if not shown or not memory:
        return None
    figure, axes = plt.subplots(figsize=(9, 5.2))
    xs = [c.operations / c.bytes for c in shown]
    low, high = min(xs) / 2, max(xs) * 2
    top = max(units.values(), default=max(c.operations for c in shown))
    axes.plot([low, min(high, top / memory)], [low * memory, min(high * memory, top)], color="#333", lw=1.4)
    for n, (label, roof) in enumerate(sorted(units.items(), key=lambda item: -item[1])):
        axes.plot([roof / memory, high], [roof, roof], color="#333", lw=1.0, ls=(0, (4, 2)))
        axes.annotate(f"{label}: {plain_number(roof)}op/s", (high, roof * (0.75 if n % 2 else 1.08)), ha="right", color="#333", fontsize=8)
    for n, room in enumerate(sorted({c.room for c in shown})):
        own = [c for c in shown if c.room == room]
        axes.scatter([c.operations / c.bytes for c in own], [c.operations for c in own], s=18, alpha=0.75, color=COLOURS[n], label=room, lw=0)
    log_axes(axes, "operations a byte that is read", "operations a second")
    axes.set_title("What each kernel reaches under the machine's roof")
    axes.legend(loc="lower right")
    figure.tight_layout()                                        # now the slope on paper is known
    (x0, y0), (x1, y1) = (axes.transData.transform((x, x * memory)) for x in (low, 2 * low))
    axes.annotate(f"memory, {plain_number(memory)}B/s", (low, low * memory), xytext=(12, 16), textcoords="offset points", color="#333",
                  fontsize=9, rotation=math.degrees(math.atan2(y1 - y0, x1 - x0)), rotation_mode="anchor")
    return figure


def row_costs(plt, cases):
    """The time of a row over the rows of a call, on one shape: where batching begins to cost."""
    lines = {}
    for case in best_variants(cases):
        if case.room in ("strips", "bf16") and case.rest.startswith("E2B.ffn_gate/Q4_0/") and case.rows:
            lines.setdefault({"strips": "exact", "bf16": "bf16"}[case.room], []).append((case.rows, case.seconds / case.rows))
    lines = {label: sorted(found) for label, found in lines.items() if len(found) > 1}
    if not lines:
        return None
    figure, axes = plt.subplots(figsize=(9, 4))
    every = sorted({rows for found in lines.values() for rows, _ in found})
    for label, found in sorted(lines.items()):
        axes.plot(*zip(*found), "o-", label=label)
    log_axes(axes, "rows of the call", "seconds a row", every)
    axes.set_title("One matrix, 6144 × 1536 in Q4_0: the time of each row")
    axes.legend()
    return figure


def draw_curve(plt, curve):
    figure, axes = plt.subplots(figsize=(9, 4))
    every = [point["x"] for found in curve["series"].values() for point in found]
    for n, (label, found) in enumerate(curve["series"].items()):
        xs = [point["x"] for point in found]
        axes.plot(xs, [point["seconds"] for point in found], "o-", color=COLOURS[n], label=label)
        axes.plot(xs, [point["least"] for point in found], color=COLOURS[n], lw=1, ls=(0, (4, 2)), label=f"{label}: what the machine allows")
    if max(every) > 40:
        log_axes(axes, curve["x"], curve["y"], sorted(set(every)))
    else:
        from matplotlib.ticker import FuncFormatter

        axes.set(xlabel=curve["x"], ylabel=curve["y"], ylim=(0, None), xticks=sorted(set(every)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: with_unit(value, curve["y"])))
    axes.set_title(curve["title"])
    axes.legend(fontsize=8.5)
    return figure


# ---- The page


def table(head, rows):
    """rows of cells; a cell is text, or a share of 1 that is drawn as a bar."""
    def cell(value):
        if isinstance(value, float):
            return f'<td class="share" style="--to:{min(100.0, 100 * value):.0f}%">{100 * value:.0f} %</td>' if value > 0 else "<td></td>"
        return f"<td>{html.escape(value)}</td>"

    yield "<table><tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in head) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(cell(value) for value in row) + "</tr>"
    yield "</table>"


def room_table(cases):
    def order(case):
        return (case.rest.rsplit("/", 1)[0], case.rows, case.rest, case.isa)

    for case in cases:
        if case.error:
            yield f'<p class="wrong">{html.escape(f"{case.variant}/{case.rest}: {case.error}")}</p>'
    rows = [(f"{case.rest or '–'}", case.variant, f"{plain_number(case.seconds)}s", f"{plain_number(case.bytes)}B/s" if case.bytes else "",
             f"{plain_number(case.operations)}" if case.operations else "", case.of_memory, case.of_units)
            for case in sorted(cases, key=order) if not case.error]
    yield from table(["work", "variant", "time", "read", "operations/s", "of memory", "of the units"], rows)


def peers_table(document):
    names = sorted({name for cell in document["cells"] for name in cell["tokens_per_second"]} - {"gemloupe"})
    rows = []
    for cell in document["cells"]:
        speeds = {name: statistics.median(found) for name, found in cell["tokens_per_second"].items() if found}
        ours, limit = speeds.get("gemloupe"), cell.get("limit")
        shown = [f"{cell['model']}: {cell['work']}", f"{ours:.4g}" if ours else "–"]
        for name in names:
            shown += [f"{speeds[name]:.4g}" if name in speeds else "–", f"{cell['ratio'][name]:.2f}" if name in cell["ratio"] else "–"]
        rows.append([*shown, f"{limit:.4g}" if limit else "–", ours / limit if ours and limit else 0.0])
    yield from table(["", "gemloupe tok/s", *(x for name in names for x in (name, "ratio")), "limit", "share"], rows)
    for note in document.get("notes", []):
        yield f'<p class="soft">{html.escape(note)}</p>'


def bench_table(documents):
    rows = []
    for document in documents:
        p = document["protocol"]
        for what in ("prompt", "decode"):
            if rate := document[what]:
                rows.append((f"{p['model']}: {what}, depth {p['depth']}", f"{p['arithmetic'] if what == 'prompt' else 'exact'}", str(p["isa"]),
                             f"{rate['tokens_per_second']:.4g}", f"{rate['limit']:.4g}", float(rate["share"])))
    yield from table(["model", "arithmetic", "instructions", "tokens/s", "limit", "share"], rows)


def picture(figure, name, out):
    """Saves it as PNG and SVG; an <img> that holds it."""
    figure.tight_layout()
    for kind in ("png", "svg"):
        figure.savefig(out / f"{name}.{kind}")
    held = io.BytesIO()
    figure.savefig(held, format="png")
    return f'<img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}">'


def page(documents, out, plt):
    """The lines of index.html; pictures are written beside it."""
    cases, curves, cells, benches = sort(documents)
    cases = level(cases)
    machine = next((d["machine"] for d in curves if "machine" in d), {})
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>gemloupe: what was measured</title><style>{STYLE}</style>"
    yield "<h1>gemloupe: what was measured</h1>"
    told = [f"{machine[key]} {word}" for key, word in (("cores", "cores"), ("threads", "threads"), ("detected_isa", "instructions")) if key in machine]
    memory, _ = roofs(cases)
    told += [f"memory reads {memory / 1e9:.1f} GB/s"] if memory else []
    yield (f"<p>{html.escape(' · '.join(told))}</p><p>Times are the fastest of many calls, shares are of what this machine was measured to do at "
           "most; more than all of the memory means that a cache helped. Every kernel was compared with its reference before it was timed.</p>")
    if cells:
        yield "<h2>Beside other engines</h2>"
        for document in cells:
            yield from peers_table(document)
    if benches:
        yield "<h2>Models</h2>"
        yield from bench_table(benches)
    kernel_pictures = [(name, figure) for name, figure in (("roofline", roofline(plt, cases)), ("row-costs", row_costs(plt, cases))) if figure]
    if kernel_pictures:
        yield "<h2>The roof</h2>"
        for name, figure in kernel_pictures:
            yield picture(figure, name, out)
    if curves:
        yield "<h2>How cost grows</h2>"
        for document in curves:
            for curve in document["curves"]:
                yield picture(draw_curve(plt, curve), curve["name"], out)
                yield f"<p>Expected: {html.escape(curve['expected'])}.</p>"
                for kink in curve.get("kinks", []):
                    yield f"<p>Noted: {html.escape(kink)}.</p>"
    if cases:
        yield "<h2>Kernels</h2>"
        for room in sorted({case.room for case in cases}):
            own = [case for case in cases if case.room == room]
            yield f"<details><summary>{html.escape(room)} <span class=soft>{len(own)} cases</span></summary>"
            yield from room_table(own)
            yield "</details>"


def read(path):
    try:
        return path.name, json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}")
    except ValueError as error:
        sys.exit(f"{path}: no JSON: {error}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/report"))
    options = parser.parse_args(arguments)
    plt, documents = pyplot(), [read(path) for path in options.files]
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        lines = list(page(documents, options.out, plt))
    except ValueError as error:
        sys.exit(str(error))
    except (KeyError, TypeError) as error:
        sys.exit(f"one of {', '.join(name for name, _ in documents)} is not as the benchmarks write it: {error!r}")
    (options.out / "index.html").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(options.out / "index.html")


if __name__ == "__main__":
    main()
