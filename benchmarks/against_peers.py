#!/usr/bin/env python3
"""Speed of gemloupe as a ratio of llama.cpp's, on the same files, in one run.

    python benchmarks/against_peers.py [FILE.gguf ...] [--rounds 5] [--threads 2] [--prompt 512] [--steps 64] [--depth 1]

Both take random token ids through their Python interfaces, without sampling; each lives in a process of its own, and they
take turns: in every round one decodes and reads its prompt, then the other, the first one changing from round to round.
A ratio is the median over rounds of (gemloupe's speed in this round / llama.cpp's in this round). Tokens a second change
with the machine and with what else runs on it; the ratios are what to compare. Without FILE: Gemma 3 270M, Q4_K_M.
"""
import argparse
import multiprocessing
import statistics
import sys
import time
from pathlib import Path

import numpy as np

import peers

PAUSE = 0.3                                                      # seconds: waiting threads of OpenMP spin for up to 0.2


class Gemloupe:
    def __init__(self, path, context, threads):
        self.gl = peers.need("gemloupe")
        self.gl.threads(threads)
        self.model = self.gl.load(str(path))
        self.clear()

    def feed(self, ids):
        return self.session.feed([int(token) for token in ids])

    def clear(self):
        self.session = self.model.session()


ENGINES = {"gemloupe": Gemloupe, "llama.cpp": peers.LlamaCpp}


def serve(pipe, name, path, context, threads):
    """A process of one engine: says None when it is ready (or what it lacks), then times each piece of work it is sent."""
    try:
        engine = ENGINES[name](path, context, threads)
    except Exception as error:                                   # it crosses a process border: every kind has to become text
        pipe.send(str(error) if isinstance(error, peers.Missing) else f"{type(error).__name__}: {error}")
        return
    pipe.send(None)
    while (work := pipe.recv()) is not None:
        before, pieces = work                                    # ids fed before the clock starts, then those that are timed
        engine.clear()
        if before:
            engine.feed(before)
        start = time.perf_counter()
        for piece in pieces:
            engine.feed(piece)
        pipe.send(time.perf_counter() - start)


def measure(path, names, options):
    """{name: {"decode": [tokens a second, one a round], "prompt": [...]}} and what could not be measured."""
    spawn, pipes, lacking = multiprocessing.get_context("spawn"), {}, []
    context = max(options.prompt, options.depth + options.steps)
    for name in names:
        here, there = spawn.Pipe()
        spawn.Process(target=serve, args=(there, name, path, context, options.threads), daemon=True).start()
        there.close()
        trouble = answer(here)
        if trouble:
            lacking.append(f"{name}: not measured: {trouble}")
        else:
            pipes[name] = here
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, 200_000, context).tolist()          # ordinary tokens of every Gemma vocabulary
    jobs = {"decode": (ids[:options.depth], [[t] for t in ids[options.depth:options.depth + options.steps]]),
            "prompt": ([], [ids[:options.prompt]])}
    tokens = {"decode": options.steps, "prompt": options.prompt}
    speeds = {name: {job: [] for job in jobs} for name in pipes}
    for turn in range(options.rounds + 1):                       # the first round only warms caches
        for name in list(pipes)[::1 if turn % 2 else -1]:
            for job, work in jobs.items():
                time.sleep(PAUSE)
                pipes[name].send(work)
                seconds = answer(pipes[name])
                if isinstance(seconds, str):
                    sys.exit(f"{path.name}: {name} stopped in its {job}: {seconds}")
                if turn:
                    speeds[name][job].append(tokens[job] / seconds)
    for pipe in pipes.values():
        pipe.send(None)
    return speeds, lacking


def answer(pipe):
    try:
        return pipe.recv()
    except EOFError:
        return "its process ended early"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--steps", type=int, default=64, help="decode steps")
    parser.add_argument("--depth", type=int, default=1, help="tokens in the cache before the first timed step")
    options = parser.parse_args()
    if min(options.rounds, options.threads, options.prompt, options.steps, options.depth) < 1:
        parser.error("every number must be at least 1")
    try:
        models = options.models or [peers.default_model()]
    except peers.Missing as missing:
        sys.exit(str(missing))
    for path in models:
        if not path.is_file():
            sys.exit(f"no file {path}")

    print(f"{options.rounds} rounds in turns, {options.threads} threads; decode: {options.steps} steps after {options.depth} "
          f"tokens; prompt: {options.prompt} tokens; medians, ratio = gemloupe / llama.cpp (lowest … highest round)")
    print(f"| {'file':32} | {'':6} | {'gemloupe tok/s':>14} | {'llama.cpp tok/s':>15} | {'ratio':>5} | {'rounds':>13} |")
    print(f"|{'-' * 34}|{'-' * 8}|{'-' * 15}:|{'-' * 16}:|{'-' * 6}:|{'-' * 14}:|")
    said = []
    for path in models:
        speeds, lacking = measure(path, list(ENGINES), options)
        said += [line for line in lacking if line not in said]
        for job in ("decode", "prompt"):
            ours, theirs = (speeds.get(name, {}).get(job) for name in ENGINES)
            ratios = [a / b for a, b in zip(ours, theirs)] if ours and theirs else []
            print(f"| {path.name[:32]:32} | {job:6} | {middle(ours):>14} | {middle(theirs):>15} | {middle(ratios, 2):>5} | "
                  + (f"{f'{min(ratios):.2f} … {max(ratios):.2f}':>13}" if ratios else f"{'–':>13}") + " |", flush=True)
    print(*said, sep="\n")


def middle(values, digits=1):
    return f"{statistics.median(values):.{digits}f}" if values else "–"


if __name__ == "__main__":
    main()
