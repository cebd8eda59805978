#!/usr/bin/env python3
"""Speed of gemloupe as a ratio of llama.cpp's and of Transformers', on the same shapes, in one run.

    python benchmarks/against_peers.py [--cells 'e2b-*' 26b-decode] [--file e2b=FILE.gguf] [--peers llama.cpp transformers]
                                       [--rounds 5] [--threads 2] [--isa avx2] [--json FILE]

A cell is one line of the table: a model and what it does. All engines take random token ids through their Python interfaces, without
sampling; each lives in a process of its own, and they take turns: in every round one does its work, then the next, the first one
changing from round to round. A ratio is the median over rounds of (gemloupe's speed in this round / the peer's in this round).
Where the engines do not fit into memory side by side, each is started anew for every round (said in the table's last lines).
Tokens a second change with the machine and with what else runs on it; the ratios are what to compare. `limit` is what this machine's
measured memory and multipliers allow (gemloupe.step_work), `share` how much of it gemloupe reaches.

llama.cpp: the Python package llama_cpp, whose library decides its instruction set; --llama FOLDER takes it from there. With --isa all
engines but llama.cpp are kept to that instruction set. Transformers computes in bfloat16 with random weights of the file's shapes.
Without --file, E2B and 26B-A4B are files with random weights, made once under .cache/ (2.6 and 14.2 GB), and 270M is the real Gemma 3
270M, Q4_K_M.
"""
import argparse
import json
import os
import statistics
import sys
from fnmatch import fnmatch
from pathlib import Path

import full_size
import peers
from turns import ENGINES, Cell, Engine

SESSIONS = 8

CELLS = [
    Cell("e2b-decode", "e2b", steps=32),
    Cell("e2b-decode-at-8192", "e2b", depth=8192, steps=32),
    Cell("26b-decode", "26b", steps=32),
    Cell("270m-decode", "270m", steps=128),
    Cell("e2b-prompt-512", "e2b", prompt=512),
    Cell("e2b-prompt-512-at-8192", "e2b", depth=8192, prompt=512),
    Cell("e2b-prompt-8192", "e2b", prompt=8192, rounds=2),
    Cell("26b-prompt-512", "26b", prompt=512),
    Cell("26b-prompt-2048", "26b", prompt=2048, rounds=3),
    Cell("270m-prompt-512", "270m", prompt=512),
    Cell("e2b-sessions", "e2b", steps=16, sessions=SESSIONS),
]
SIZES = {"e2b": "E2B, Q4_0", "26b": "26B-A4B, Q4_0", "270m": "270M, Q4_K_M"}


class Table:
    """What has been measured: speeds[cell name][engine] = tokens a second, one a round."""

    def __init__(self):
        self.speeds, self.limits, self.versions, self.said = {}, {}, {}, []

    def add(self, cell, engine, seconds):
        if seconds is not None:
            tokens = (cell.prompt or cell.steps) * cell.sessions
            self.speeds.setdefault(cell.name, {}).setdefault(engine, []).append(tokens / seconds)

    def say(self, text):
        if text not in self.said:
            self.said.append(text)

    def leave(self, engine, model):
        """Before an engine goes: which version it was, or what it lacked."""
        if engine.trouble:
            self.say(f"{SIZES[model]}: {engine.name} not measured: {engine.trouble}")
        elif (found := engine.ask("versions")) is not None:
            self.versions[engine.name] = found

    def take(self, cell, engine):
        if engine.name == "gemloupe" and cell.name not in self.limits:
            self.limits[cell.name] = engine.ask("limit", cell)
        self.add(cell, engine.name, engine.ask("seconds", cell))


def rounds_of(cell, options):
    return min(options.rounds, cell.rounds)


def side_by_side(table, model, path, cells, names, options):
    engines = [Engine(name, path, cells, options) for name in names]
    for cell in cells:
        for engine in engines:
            engine.ask("warm", cell)
        for turn in range(rounds_of(cell, options)):
            for engine in engines[::1 if turn % 2 else -1]:
                table.take(cell, engine)
    for engine in engines:
        table.leave(engine, model)
        engine.stop()


def one_at_a_time(table, model, path, cells, names, options):
    lacking = set()
    for turn in range(max(rounds_of(cell, options) for cell in cells)):
        for name in names[::1 if turn % 2 else -1]:
            if name in lacking:
                continue
            engine = Engine(name, path, cells, options)
            for cell in cells:
                if turn < rounds_of(cell, options):
                    engine.ask("warm", cell)
                    table.take(cell, engine)
            table.leave(engine, model)
            if engine.trouble:
                lacking.add(name)
            engine.stop()


def fits(path, names):
    """Whether the engines find room together: each may keep its own copy of the weights, Transformers one of 16 bits a weight."""
    need = path.stat().st_size * (1 + sum(3.6 if name == "transformers" else 1 for name in names))
    return need < 0.8 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def middle(values, digits=4):
    return f"{statistics.median(values):.{digits}g}" if values else "–"


def ratios(ours, theirs):
    return [a / b for a, b in zip(ours or [], theirs or [])]


def lines(table, cells, names):
    """The table as Markdown."""
    others = [name for name in names if name != "gemloupe"]
    head = ["model", "work", "gemloupe tok/s", *(x for name in others for x in (f"{name} tok/s", "ratio (rounds)")), "limit", "share"]
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * 2 + "---:|" * (len(head) - 2)
    for cell in cells:
        speeds = table.speeds.get(cell.name, {})
        ours, limit = speeds.get("gemloupe"), table.limits.get(cell.name)
        row = [SIZES[cell.model], str(cell), middle(ours)]
        for name in others:
            found = ratios(ours, speeds.get(name))
            row += [middle(speeds.get(name)), f"{middle(found, 3)} ({min(found):.3g} … {max(found):.3g})" if found else "–"]
        row += [f"{limit:.4g}" if limit else "–", f"{100 * statistics.median(ours) / limit:.0f} %" if ours and limit else "–"]
        yield "| " + " | ".join(row) + " |"
    many, one = (table.speeds.get(name, {}) for name in ("e2b-sessions", "e2b-decode"))
    for name in names:
        if many.get(name) and one.get(name):
            yield f"{name}: {SESSIONS} sessions decode {statistics.median(many[name]) / statistics.median(one[name]):.2f} × as many tokens as one"


def as_json(table, cells, options):
    found = []
    for cell in cells:
        speeds = table.speeds.get(cell.name, {})
        found.append({"cell": cell.name, "model": SIZES[cell.model], "work": str(cell), "limit": table.limits.get(cell.name),
                      "tokens_per_second": speeds,
                      "ratio": {name: statistics.median(ratios(speeds["gemloupe"], theirs)) for name, theirs in speeds.items()
                                if name != "gemloupe" and speeds.get("gemloupe")}})
    return {"cells": found, "rounds": options.rounds, "threads": options.threads, "isa": options.isa, "cache": options.cache, "seed": options.seed,
            "versions": table.versions, "notes": table.said, "load_average": os.getloadavg()}


def file_of(model, given, cache):
    """The path, or a Missing that says why there is none."""
    if model in given:
        path = Path(given[model])
        if not path.is_file():
            raise peers.Missing(f"no file {path}")
        return path
    if model == "270m":
        return peers.default_model()
    path, trouble = full_size.find(model, "q4_0", cache)
    if trouble:
        raise peers.Missing(trouble)
    return path


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=["*"], metavar="PATTERN", help="of " + ", ".join(cell.name for cell in CELLS))
    parser.add_argument("--file", action="append", default=[], metavar="MODEL=FILE", help="a GGUF file for e2b, 26b or 270m")
    parser.add_argument("--peers", nargs="*", default=["llama.cpp", "transformers"], choices=[name for name in ENGINES if name != "gemloupe"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", choices=["f32", "f16"], default="f32", help="of gemloupe's sessions (llama.cpp's is f16)")
    parser.add_argument("--isa", choices=["avx2", "avx512", "amx"], help="for gemloupe and Transformers")
    parser.add_argument("--llama", metavar="FOLDER", help="where the package llama_cpp is")
    parser.add_argument("--apart", action="store_true", help="one engine in memory at a time, whatever would fit")
    parser.add_argument("--seed", type=int, default=0, help="of the random ids")
    parser.add_argument("--short", type=int, metavar="N", help="no number of tokens above N: tries the program, measures little")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.threads, options.short or 1) < 1 or options.seed < 0:
        parser.error("every number must be at least 1")
    unknown = [text for text in options.file if text.split("=")[0] not in SIZES or "=" not in text]
    if unknown:
        parser.error(f"--file {unknown[0]}: expected MODEL=FILE with MODEL one of {', '.join(SIZES)}")
    options.file = dict(text.split("=", 1) for text in options.file)
    options.chosen = [cell.cut(options.short) if options.short else cell for cell in CELLS
                      if any(fnmatch(cell.name, pattern) for pattern in options.cells)]
    if not options.chosen:
        parser.error(f"--cells {' '.join(options.cells)}: no such cell; there are {', '.join(cell.name for cell in CELLS)}")
    return options


def main(arguments=None):
    options = options_of(arguments)
    if options.isa:                                              # before the engines' processes begin
        os.environ["GEMLOUPE_ISA"] = options.isa
        os.environ["ATEN_CPU_CAPABILITY"] = "avx2" if options.isa == "avx2" else "avx512"
        os.environ["ONEDNN_MAX_CPU_ISA"] = {"avx2": "AVX2", "avx512": "AVX512_CORE_BF16", "amx": "DEFAULT"}[options.isa]
    names, table, cells = ["gemloupe", *options.peers], Table(), options.chosen
    for model in dict.fromkeys(cell.model for cell in cells):
        try:
            path = file_of(model, options.file, full_size.ROOT / ".cache")
        except peers.Missing as missing:
            table.say(f"{SIZES[model]}: not measured: {missing}")
            continue
        chosen = sorted((cell for cell in cells if cell.model == model), key=lambda cell: cell.sessions)
        apart = options.apart or not fits(path, names)
        if apart:
            table.say(f"{SIZES[model]}: the engines were in memory one at a time, each started anew for every round")
        print(f"{SIZES[model]}: {', '.join(cell.name for cell in chosen)} …", file=sys.stderr, flush=True)
        (one_at_a_time if apart else side_by_side)(table, model, path, chosen, names, options)
        if options.json:                                         # after each model: a run that is cut off has measured something
            options.json.write_text(json.dumps(as_json(table, cells, options), indent=1) + "\n", encoding="utf-8")
    print(f"{options.rounds} rounds in turns, {options.threads} threads, random ids; medians, ratio = gemloupe / peer (lowest … highest round)\n")
    print(*lines(table, cells, names), sep="\n")
    print(*table.said, sep="\n")


if __name__ == "__main__":
    main()
