#!/usr/bin/env python3
"""How far from the truth is the next-token distribution: gemloupe and llama.cpp on one GGUF file, on real text.

    python benchmarks/fidelity.py [FILE.gguf] [--text wiki.test.raw] [--chunks 3] [--threads 2]

The truth is Transformers in float32 on the same file, dequantized. Protocol (that of llama.cpp's perplexity tool): the text
is encoded once, cut into chunks of 512 tokens, the first token of each is replaced by BOS, and rows 256 … 510 are scored
against tokens 257 … 511: 255 positions a chunk. KLD is KL(truth || other) in nats. Without FILE: Gemma 3 270M, Q4_K_M.
The truth is kept under .cache/ beside this folder (267 MB a chunk); delete it freely.
"""
import argparse
import gzip
import hashlib
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import peers

CONTEXT = 512
FIRST = CONTEXT // 2                                             # the first row that is scored
SCORED = CONTEXT - 1 - FIRST
ROOT = Path(__file__).resolve().parent.parent


def find_text(given):
    """The text to score: the argument, else wikitext-2 in the shared data."""
    shared = Path(os.environ.get("GEMLOUPE_SHARED", ROOT.parent / "shared"))
    path = Path(given) if given else shared / "data/wikitext2/wiki.test.raw.gz"
    if not path.is_file():
        sys.exit(f"no text at {path}; mend: pass --text wiki.test.raw (WikiText-2, plain or .gz) or set GEMLOUPE_SHARED")
    return path


def fingerprint(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


# Each side writes its logits, [chunk, row, vocab], from a process of its own, so that no two runtimes share threads.

def encode(model, text, count, target):
    """chunks [chunk, 512] of token ids, by the tokenizer that Transformers makes of the file."""
    tokenizer = peers.need("transformers").AutoTokenizer.from_pretrained(str(model.parent), gguf_file=model.name)
    with (gzip.open if text.suffix == ".gz" else open)(text, "rb") as file:
        words = file.read().decode("utf-8")
    ids = [tokenizer.bos_token_id] + tokenizer(words, add_special_tokens=False).input_ids
    if len(ids) < count * CONTEXT:
        raise peers.Missing(f"{text} has {len(ids) // CONTEXT} chunks of {CONTEXT}, {count} asked for; mend: --chunks")
    chunks = np.array(ids[:count * CONTEXT], np.int32).reshape(count, CONTEXT)
    chunks[:, 0] = tokenizer.bos_token_id
    np.save(target, chunks)


def truth(model, chunks, threads, target):
    torch, transformers = peers.need("torch"), peers.need("transformers")
    torch.set_num_threads(threads)
    net = transformers.AutoModelForCausalLM.from_pretrained(
        str(model.parent), gguf_file=model.name, dtype=torch.float32, attn_implementation="eager").eval()
    rows = torch.arange(FIRST, FIRST + SCORED)
    out = np.lib.format.open_memmap(target, "w+", np.float32, (len(chunks), SCORED, net.config.vocab_size))
    with torch.inference_mode():
        for c, ids in enumerate(chunks):
            out[c] = net(torch.tensor(ids[None].astype(np.int64)), logits_to_keep=rows, use_cache=False).logits[0].numpy()
    out.flush()


def gemloupe(model, chunks, threads, target, arithmetic="exact"):
    gl = peers.need("gemloupe")
    gl.threads(threads)
    net, out = gl.load(str(model)), None
    for c, ids in enumerate(chunks):
        logits = net.run(ids.tolist(), arithmetic=arithmetic).logits[FIRST:FIRST + SCORED]
        if out is None:
            out = np.lib.format.open_memmap(target, "w+", np.float32, (len(chunks), *logits.shape))
        out[c] = logits
    out.flush()


def llama_cpp(model, chunks, threads, target):
    net = peers.LlamaCpp(model, CONTEXT, threads)
    out = np.lib.format.open_memmap(target, "w+", np.float32, (len(chunks), SCORED, net.vocab))
    for c, ids in enumerate(chunks):
        net.clear()
        out[c] = net.feed(ids, rows=CONTEXT - FIRST)[:SCORED]
    out.flush()


def apart(function, *arguments):
    """Run function(*arguments) in a fresh process of its own; what goes wrong there, in one line, or None."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    child = spawn.Process(target=report, args=(there, function, arguments))
    child.start()
    there.close()
    try:
        trouble = here.recv()
    except EOFError:
        child.join()
        trouble = f"the child ended with code {child.exitcode}"
    child.join()
    return trouble


def report(pipe, function, arguments):
    try:
        function(*arguments)
        pipe.send(None)
    except Exception as error:                                   # it goes to the parent: every kind has to become text
        pipe.send(str(error) if isinstance(error, peers.Missing) else f"{type(error).__name__}: {error}")


def log_softmax(logits):
    x = logits.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def distances(truth_path, other_path, chunks):
    """For each scored position: KL(truth || other), whether the top tokens agree, and -log p(next) of the other."""
    real, other = np.load(truth_path, mmap_mode="r"), np.load(other_path, mmap_mode="r")
    if real.shape != other.shape:
        raise ValueError(f"{other_path}: logits must be {real.shape} [chunk, row, vocab], got {other.shape}")
    kld, same, nll = [], [], []
    for c, ids in enumerate(chunks):
        for first in range(0, SCORED, 16):                       # 16 rows at a time: float64 rows of a big vocabulary
            p, q = log_softmax(real[c, first:first + 16]), log_softmax(other[c, first:first + 16])
            kld.append((np.exp(p) * (p - q)).sum(-1))
            same.append(p.argmax(-1) == q.argmax(-1))
            next_ids = ids[FIRST + first + 1:FIRST + first + 1 + len(q)]
            nll.append(-q[np.arange(len(q)), next_ids])
    return np.concatenate(kld), np.concatenate(same), np.concatenate(nll)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--text")
    parser.add_argument("--chunks", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--arithmetic", nargs="+", default=["exact"], help="gemloupe's arithmetics to measure")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache/fidelity")
    options = parser.parse_args()
    if options.chunks < 1 or options.threads < 1:
        parser.error("--chunks and --threads must be at least 1")
    try:
        model = options.model or peers.default_model()
    except peers.Missing as missing:
        sys.exit(str(missing))
    if not model.is_file():
        sys.exit(f"no file {model}")
    model, text = model.resolve(), find_text(options.text)

    key = f"{fingerprint(model)}-{fingerprint(text)}-{options.chunks}"
    ids_path, truth_path = options.cache / f"{key}-ids.npy", options.cache / f"{key}-truth.npy"
    options.cache.mkdir(parents=True, exist_ok=True)
    for path, function, arguments in ((ids_path, encode, lambda: (model, text, options.chunks)),
                                      (truth_path, truth, lambda: (model, np.load(ids_path), options.threads))):
        if not path.exists():
            print(f"{function.__name__}: Transformers reads {model.name} …", file=sys.stderr, flush=True)
            part = path.with_name(path.stem + "-part.npy")       # renamed when whole, so that a broken run leaves no truth
            trouble = apart(function, *arguments(), part)
            if trouble:
                sys.exit(f"no truth to compare with: {trouble}")
            part.rename(path)
    chunks = np.load(ids_path)

    sides = [(f"gemloupe, {name}", gemloupe, (name,)) for name in options.arithmetic] + [("llama.cpp", llama_cpp, ())]
    print(f"{model.name}, {text.name}: {options.chunks} chunks, {options.chunks * SCORED} positions, "
          f"against Transformers in float32 on the same file")
    print(f"| {'':24} | {'KLD mean':>9} | {'KLD p99':>9} | {'same top':>8} | {'perplexity':>10} | {'to truth':>9} |")
    print(f"|{'-' * 26}|{'-' * 10}:|{'-' * 10}:|{'-' * 9}:|{'-' * 11}:|{'-' * 10}:|")
    nll = distances(truth_path, truth_path, chunks)[2]
    real = float(np.exp(nll.mean()))
    print(f"| {'Transformers, float32':24} | {'–':>9} | {'–':>9} | {'–':>8} | {real:10.4f} | {'–':>9} |", flush=True)
    absent = []
    with tempfile.TemporaryDirectory(dir=options.cache) as folder:
        for name, function, more in sides:
            path = Path(folder) / "logits.npy"
            trouble = apart(function, model, chunks, options.threads, path, *more)
            if trouble:
                absent.append(f"{name}: not measured: {trouble}")
                continue
            kld, same, nll = distances(truth_path, path, chunks)
            perplexity = float(np.exp(nll.mean()))
            print(f"| {name:24} | {kld.mean():9.2e} | {np.quantile(kld, 0.99):9.2e} | {same.mean():8.2%} | "
                  f"{perplexity:10.4f} | {perplexity / real - 1:+9.4%} |", flush=True)
            path.unlink()
    print(*absent, sep="\n")


if __name__ == "__main__":
    main()
