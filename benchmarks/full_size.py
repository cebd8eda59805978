#!/usr/bin/env python3
"""Opening and running full-size files: time to open, peak memory and speed, each in a fresh process.

    python benchmarks/full_size.py [FILE.gguf | SIZE ...] [--format q4_0] [--prompt 64] [--steps 16] [--threads 2] [--peer]

SIZE is a released configuration (e2b, e4b, 12b, 26b, 31b): a file with random weights is made once under .cache/ (the E2B
takes 2.6 GB of disk, the 26B 14.2 GB). Without arguments: e2b. `--peer` measures llama.cpp on the same files as well.
`peak` is VmHWM: pages of the file that were touched count in it, because they are resident, but the kernel can drop them;
`file` and `own` are RssFile and RssAnon at the end, the second being memory that only swap could take back.
"""
import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import peers

ROOT = Path(__file__).resolve().parent.parent
KINDS = {"gemloupe": "gemloupe", "llama.cpp": "llama_cpp"}       # the engine's name in the table: its Python package
GB = 1e9


def memory():
    """VmHWM, RssFile and RssAnon of this process, in bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[name].split()[0]) * 1024 for name in ("VmHWM", "RssFile", "RssAnon")}


def measure(kind, path, prompt, steps, threads):
    """What this process needs to open the file and run it; printed as one line of JSON."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, 200_000, prompt + steps).tolist()
    if kind == "gemloupe":
        gl = peers.need("gemloupe")
        gl.threads(threads)
    else:
        peers.need("llama_cpp")
    start = time.perf_counter()
    if kind == "gemloupe":
        model = gl.load(path)
        opened = time.perf_counter() - start
        session = model.session()
    else:
        session = peers.LlamaCpp(path, prompt + steps, threads)
        opened = time.perf_counter() - start
    start = time.perf_counter()
    logits = session.feed(ids[:prompt])
    read = time.perf_counter() - start
    start = time.perf_counter()
    for token in ids[prompt:]:
        logits = session.feed([token])
    decoded = time.perf_counter() - start
    if not np.isfinite(logits).all():
        raise ValueError("the last logits are not finite")
    peak = max(memory()["VmHWM"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    print(json.dumps({**memory(), "VmHWM": peak, "opened": opened, "prompt": prompt / read, "decode": steps / decoded}))


def make(size, form, path):
    gl = peers.need("gemloupe")
    gl.random(size, format=form).save(str(path))


def fresh(*arguments):
    """This script in a fresh process: its output, or why there is none."""
    done = subprocess.run([sys.executable, __file__, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode == 0:
        return done.stdout, None
    last = (done.stderr.strip().splitlines() or [f"its process ended with code {done.returncode}"])[-1]
    return None, last.removeprefix("peers.Missing: ")


def find(given, form, cache):
    """The file that is meant: an existing path, or a size whose random file is made when it is not there yet."""
    if Path(given).is_file():
        return Path(given), None
    if given not in ("e2b", "e4b", "12b", "26b", "31b"):
        return None, f"{given}: neither a file nor one of e2b, e4b, 12b, 26b, 31b"
    path = cache / f"random-{given}-{form}.gguf"
    if path.exists():
        return path, None
    cache.mkdir(parents=True, exist_ok=True)
    need = {"e2b": 2.7, "e4b": 4.4, "12b": 6.9, "26b": 14.5, "31b": 17.9}[given] * (2 if form == "q8_0" else 1)
    free = shutil.disk_usage(cache).free / GB
    if free < need + 1:
        return None, f"{given}: its file takes about {need:.0f} GB and {cache} has {free:.0f} GB free"
    print(f"making {path.name} …", file=sys.stderr, flush=True)
    part = path.with_name("part-" + path.name)                   # renamed when whole
    trouble = fresh("--make", given, form, part)[1]
    if trouble:
        part.unlink(missing_ok=True)
        return None, f"{given}: no file with random weights: {trouble}"
    part.rename(path)
    return path, None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=["e2b"])
    parser.add_argument("--format", default="q4_0")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", action="store_true", help="measure llama.cpp too")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache/full_size")
    parser.add_argument("--measure", nargs=2, metavar=("ENGINE", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs=3, metavar=("SIZE", "FORMAT", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(options.prompt, options.steps, options.threads) < 1:
        parser.error("every number must be at least 1")
    if options.make:
        return make(*options.make)
    if options.measure:
        return measure(*options.measure, options.prompt, options.steps, options.threads)

    print(f"{options.threads} threads, prompt of {options.prompt} ids, {options.steps} decode steps; memory in GB")
    print(f"| {'file':24} | {'size':>5} | {'':9} | {'open s':>7} | {'peak':>6} | {'file':>6} | {'own':>6} | {'peak/size':>9} | "
          f"{'prompt tok/s':>12} | {'decode tok/s':>12} |")
    print(f"|{'-' * 26}|{'-' * 6}:|{'-' * 11}|{'-' * 8}:|{'-' * 7}:|{'-' * 7}:|{'-' * 7}:|{'-' * 10}:|{'-' * 13}:|{'-' * 13}:|")
    said = []
    for given in options.files:
        path, trouble = find(given, options.format, options.cache)
        if trouble:
            said.append(trouble)
            continue
        size = path.stat().st_size
        for kind in list(KINDS)[:2 if options.peer else 1]:
            out, trouble = fresh("--prompt", options.prompt, "--steps", options.steps, "--threads", options.threads,
                                 "--measure", kind, path)
            if trouble:
                said.append(f"{path.name}, {kind}: not measured: {trouble}")
                continue
            got = json.loads(out.splitlines()[-1])
            print(f"| {path.name[:24]:24} | {size / GB:5.2f} | {kind:9} | {got['opened']:7.3f} | {got['VmHWM'] / GB:6.2f} | "
                  f"{got['RssFile'] / GB:6.2f} | {got['RssAnon'] / GB:6.2f} | {got['VmHWM'] / size:9.3f} | "
                  f"{got['prompt']:12.1f} | {got['decode']:12.2f} |", flush=True)
    print(*said, sep="\n")


if __name__ == "__main__":
    main()
