#!/usr/bin/env python3
"""How the time of a step grows: with rows, context, layers, experts and sessions. Writes JSON that report.py draws.

    python benchmarks/curves.py [--out curves.json] [--curves rows context] [--rounds 3] [--threads 2] [--quick]

Models have the released layers' shapes, random weights in Q4_0 and a short vocabulary, so that the head does not hide the layers. A time
is the shortest of the rounds: other programs only ever add to it. Beside each stands the least time that this machine's measured memory
and multipliers allow (gemloupe.step_work), which is the line to expect: flat while the weights have to be read anyway, then straight.
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
ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048)


class Bench:
    """Times steps and puts the least time beside each."""

    def __init__(self, gl, roof, rounds):
        self.gl, self.roof, self.rounds = gl, roof, rounds
        self.ids = np.random.default_rng(0).integers(0, VOCABULARY, 65536).astype(np.int32)

    def model(self, config="e2b", layers=DENSE):
        return self.gl.random(config, format="q4_0", layers=layers, vocabulary=VOCABULARY)

    def step(self, model, rows=1, depth=0, sessions=1, arithmetic="exact"):
        """(shortest seconds, least seconds) of one step of `rows` tokens in each session."""
        base = model.session(context=depth + rows, chunk=max(rows, min(depth, 512), 1))
        if depth:
            base.prefill(self.ids[:depth])
        new = self.ids[depth:depth + rows]
        best = float("inf")
        for _ in range(self.rounds + 1):
            together = [(base.fork(), new) for _ in range(sessions)]
            begin = time.perf_counter()
            self.gl.feed(together, arithmetic=arithmetic)
            best = min(best, time.perf_counter() - begin)
        return best, self.gl.step_work(model, rows, depth, sessions).seconds(self.roof, arithmetic, self.gl.isa())


def curve(name, title, x, y, series, expected):
    return {"name": name, "title": title, "x": x, "y": y, "series": series, "expected": expected}


def points(xs, measure, scale=lambda x: 1):
    found = []
    for x in xs:
        seconds, least = measure(x)
        found.append({"x": x, "seconds": seconds / scale(x), "least": least / scale(x)})
        print(f"  {x}: {1e3 * seconds:.3f} ms, at least {1e3 * least:.3f}", file=sys.stderr, flush=True)
    return found


def rows(bench, quick):
    model = bench.model()
    counts = ROWS[::4] if quick else ROWS
    return curve("rows", "One step of many rows: the time of each row", "rows of the step", "seconds a row", {
        arithmetic: points(counts, lambda n: bench.step(model, n, arithmetic=arithmetic), lambda n: n) for arithmetic in ("exact", "bf16")},
        "falls as 1 / rows while weights are read, then is flat")


def context(bench, quick):
    model, depths = bench.model(), (1, 512, 2048) if quick else (1, 512, 1024, 2048, 4096, 8192, 16384, 32768)
    return curve("context", "One decoded token at a depth", "tokens before it", "seconds", {
        "exact": points(depths, lambda d: bench.step(model, 1, d))},
        "flat but for the full layers, whose keys and values are read once a token")


def layers(bench, quick):
    counts = (5, 10) if quick else (5, 10, 15, 20, 25, 30, 35)
    models = {n: bench.model(layers=n) for n in counts}
    return curve("layers", "One step of a model of so many layers", "layers of E2B", "seconds", {
        "decode": points(counts, lambda n: bench.step(models[n])),
        "prompt of 128, bf16": points(counts, lambda n: bench.step(models[n], 128, arithmetic="bf16"))}, "straight; late layers are wider")


def experts(bench, quick):
    config = json.loads(bench.gl.random("26b", format="q4_0", layers=1, vocabulary=16).config.to_json())
    counts = (8, 16) if quick else (8, 16, 32, 64, 128)
    models = {}
    for n in counts:
        models[n] = bench.model({**config, "num_experts": n, "vocab_size": VOCABULARY}, layers=0)
    return curve("experts", "One step of one 26B-A4B layer with so many experts, 8 of them used", "experts", "seconds", {
        "decode": points(counts, lambda n: bench.step(models[n])),
        "prompt of 128, bf16": points(counts, lambda n: bench.step(models[n], 128, arithmetic="bf16"))},
        "decoding is flat: what is not chosen is not read; a prompt reads them all")


def sessions(bench, quick):
    model, counts = bench.model(), (1, 2, 8) if quick else (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
    return curve("sessions", "One token in each of many sessions at depth 512", "sessions", "seconds a token", {
        "exact": points(counts, lambda n: bench.step(model, 1, 512, n), lambda n: n)},
        "falls as 1 / sessions while weights are read, then is flat")


CURVES = {function.__name__: function for function in (rows, context, layers, experts, sessions)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("curves.json"))
    parser.add_argument("--curves", nargs="+", choices=list(CURVES), default=list(CURVES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quick", action="store_true", help="few points, to see that it runs")
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
    bench, found = Bench(gl, roof, options.rounds), []
    with options.out.open("w", encoding="utf-8") as file:        # a bad path shows before the minutes pass
        for name in options.curves:
            print(name, file=sys.stderr, flush=True)
            found.append(CURVES[name](bench, options.quick))
        json.dump({"curves": found, "roof": vars(roof), "machine": gl.system(), "rounds": options.rounds,
                   "load_average": os.getloadavg()}, file, indent=1)


if __name__ == "__main__":
    main()
