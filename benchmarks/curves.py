#!/usr/bin/env python3
"""How the time of a step grows: with rows, context, layers, experts and sessions. Writes JSON that report.py draws.

    python benchmarks/curves.py [--out curves.json] [--curves rows context] [--file FILE] [--rounds 3] [--threads 2] [--quick] [--all]

Models have the released layers' shapes, random weights in Q4_0 and a short vocabulary, so that the head does not hide the layers; --file
takes a whole model for the curves over rows, context and sessions. A time is the shortest of the rounds: other programs only ever add to
it. Beside each stands the least time that this machine's measured memory and multipliers allow (gemloupe.step_work), which is the line
to expect: flat while the weights have to be read anyway, then straight. Where a curve leaves such a line, a note says so (kinks).
"""
import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

import peers

VOCABULARY = 4096
DENSE = 5                                                        # layers of E2B: four sliding ones and a full one
FEW = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 20, 24, 28, 31, 32, 33)
ROWS = (*FEW, 48, 64, 96, 128, 256, 512)
TWO = (("decode", 1, "exact"), ("prompt of 128, bf16", 128, "bf16"))
NOTED = 1.1                                                      # what is more than this factor off is noted


class Bench:
    """Times steps and puts the least time beside each."""

    def __init__(self, gl, roof, rounds, extent="some", file=None):
        self.gl, self.roof, self.rounds, self.extent = gl, roof, rounds, extent
        self.ids = np.random.default_rng(0).integers(0, VOCABULARY, 65536).astype(np.int32)
        self.file = gl.load(file) if file else None

    def choose(self, quick, some, every):
        """Which points are measured."""
        return {"quick": quick, "some": some, "all": every}[self.extent]

    def model(self, config="e2b", layers=DENSE):
        return self.gl.random(config, format="q4_0", layers=layers, vocabulary=VOCABULARY)

    def dense(self):
        return self.file or self.model()

    @staticmethod
    def fitting(model, counts, more=0):
        """Those with which no more than the model's context is used."""
        return [count for count in counts if count + more <= model.config.context]

    def step(self, model, rows=1, depth=0, sessions=1, arithmetic="exact"):
        """(shortest seconds, least seconds) of one step of `rows` tokens in each session."""
        ids = self.ids[:depth + rows] % model.config.vocabulary
        base = model.session(context=depth + rows, chunk=max(rows, min(depth, 512), 1))
        if depth:
            base.prefill(ids[:depth])
        new = ids[depth:]
        together = [(session, new) for session in [base, *(base.fork() for _ in range(sessions - 1))]]
        times = []
        for _ in range(self.rounds + 1):
            begin = time.perf_counter()
            self.gl.feed(together, arithmetic=arithmetic)
            times.append(time.perf_counter() - begin)
            for session, _ in together:
                session.rewind(rows)
        best = min(times[1:])                                    # the first one touches fresh memory
        return best, self.gl.step_work(model, rows, depth, sessions).seconds(self.roof, arithmetic, self.gl.isa())


def curve(name, title, x, y, series, expected):
    return {"name": name, "title": title, "x": x, "y": y, "series": series, "expected": expected,
            "kinks": [f"{label}: {kink}" for label, found in series.items() for kink in kinks(found)]}


def kinks(points):
    """What a cost should not do from one point to a later one: fall, or grow by a larger factor than both x and the least time do. `all` is
    seconds of a whole step."""
    found = []
    for n, (a, b) in enumerate(zip(points, points[1:])):
        less = min(points[n + 1:], key=lambda point: point["all"])
        if a["all"] > NOTED * less["all"]:
            found.append(f"{a['x']} takes {a['all'] / less['all']:.2f} times as long as {less['x']}")
        if b["all"] / a["all"] > NOTED * max(b["x"] / a["x"], b["least"] / a["least"]):
            found.append(f"{b['x']} takes {b['all'] / a['all']:.2f} times as long as {a['x']}")
    return found


def points(label, xs, measure, each=False):
    """One line of a curve; each: seconds are divided by x."""
    found = []
    print(f"  {label}\n  {'':>8} {'step':>11} {'least':>11} {'share':>6}" + (f" {'for each':>11}" if each else ""), file=sys.stderr)
    for x in xs:
        seconds, least = measure(x)
        by = x if each else 1
        found.append({"x": x, "seconds": seconds / by, "least": least / by, "all": seconds})
        print(f"  {x:8} {1e3 * seconds:8.2f} ms {1e3 * least:8.2f} ms {100 * least / seconds:4.0f} %"
              + (f" {1e3 * seconds / x:8.3f} ms" if each else ""), file=sys.stderr, flush=True)
    for kink in kinks(found):
        print(f"  note: {kink}", file=sys.stderr, flush=True)
    return found


def rows(bench):
    model = bench.dense()
    counts = bench.fitting(model, bench.choose(ROWS[::4], ROWS, (*ROWS, 1024, 2048)))
    return curve("rows", "One step of many rows: the time of each row", "rows of the step", "seconds a row", {
        arithmetic: points(arithmetic, counts, lambda n: bench.step(model, n, arithmetic=arithmetic), True) for arithmetic in ("exact", "bf16")},
        "falls as 1 / rows while weights are read, then is flat")


def context(bench):
    model = bench.dense()
    depths = bench.fitting(model, bench.choose((1, 512, 2048), (1, 512, 2048, 8192, 32767), (1, 512, 1024, 2048, 4096, 8192, 16384, 32767)), 1)
    return curve("context", "One decoded token at a depth", "tokens before it", "seconds", {
        "exact": points("exact", depths, lambda d: bench.step(model, 1, d))},
        "flat but for the full layers, whose keys and values are read once a token")


def layers(bench):
    counts = bench.choose((5, 10), (5, 15, 25, 35), (5, 10, 15, 20, 25, 30, 35))
    models = {n: bench.model(layers=n) for n in counts}
    return curve("layers", "One step of a model of so many layers", "layers of E2B", "seconds", {
        label: points(label, counts, lambda n: bench.step(models[n], rows, arithmetic=arithmetic)) for label, rows, arithmetic in TWO},
        "straight; late layers are wider")


def experts(bench):
    config = json.loads(bench.gl.random("26b", format="q4_0", layers=2, vocabulary=16).config.to_json())  # the last one reads one row alone
    counts = bench.choose((8, 16), (8, 16, 32, 64, 128), (8, 16, 32, 64, 128))
    models = {n: bench.model({**config, "num_experts": n, "vocab_size": VOCABULARY}, layers=0) for n in counts}
    return curve("experts", "One step of two 26B-A4B layers with so many experts, 8 of them used", "experts", "seconds", {
        label: points(label, counts, lambda n: bench.step(models[n], rows, arithmetic=arithmetic)) for label, rows, arithmetic in TWO},
        "decoding is flat: what is not chosen is not read; a prompt reads them all")


def sessions(bench):
    model, counts = bench.dense(), bench.choose((1, 2, 8), (1, 2, 3, 4, 6, 8, 16, 32), (1, 2, 3, 4, 6, 8, 12, 16, 24, 32))
    return curve("sessions", "One token in each of many sessions at depth 512", "sessions", "seconds a token", {
        "exact": points("exact", counts, lambda n: bench.step(model, 1, 512, n), True)},
        "falls as 1 / sessions while weights are read, then is flat")


CURVES = {function.__name__: function for function in (rows, context, layers, experts, sessions)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("curves.json"))
    parser.add_argument("--curves", nargs="+", choices=list(CURVES), default=list(CURVES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--file", metavar="FILE", help='a model for rows, context and sessions: a file, or "gemma3-270m"')
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", dest="extent", action="store_const", const="quick", default="some", help="few points, to see that it runs")
    extent.add_argument("--all", dest="extent", action="store_const", const="all", help="more points, and longer prompts")
    options = parser.parse_args()
    if options.rounds < 1 or (options.threads is not None and options.threads < 1):
        parser.error("every number must be at least 1")
    try:
        gl = peers.need("gemloupe")
    except peers.Missing as missing:
        sys.exit(str(missing))
    if options.threads:
        gl.threads(options.threads)
    roof = gl.measure_roof()
    bench, found = Bench(gl, roof, options.rounds, options.extent, options.file), []
    with options.out.open("w", encoding="utf-8") as file:        # a bad path shows before the minutes pass
        for name in options.curves:
            print(name, file=sys.stderr, flush=True)
            found.append(CURVES[name](bench))
        json.dump({"curves": found, "roof": vars(roof), "machine": gl.system(), "rounds": options.rounds,
                   "load_average": os.getloadavg()}, file, indent=1)


if __name__ == "__main__":
    main()
