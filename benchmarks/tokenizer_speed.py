"""Encoding speed on one thread, ours against the `tokenizers` package, in one run and only where the ids agree.

    python benchmarks/tokenizer_speed.py [tokenizer.json[.xz]] [text[.gz]]

Without arguments: Gemma 3's file and wikitext-2 of GEMLOUPE_SHARED (or ../shared beside the checkout).
"""

import gzip
import lzma
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers  # noqa: E402  (reads the environment above)

import gemloupe as gl  # noqa: E402

ROUNDS = 5


def read(path):
    return {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)(path, "rb").read()


def fastest(call):
    """Seconds of the fastest of a few calls, and the result."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
    return best, result


def main():
    shared = Path(os.environ.get("GEMLOUPE_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    paths = [Path(argument) for argument in sys.argv[1:]]
    file = read(paths[0] if paths else shared / "gemma_tokenizer/tokenizer_gemma3.json.xz")
    text = read(paths[1] if len(paths) > 1 else shared / "wikitext2/wiki.test.raw.gz").decode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_bytes(file)
        start = time.perf_counter()
        ours = gl.Tokenizer(str(path))
        print(f"load      gemloupe {time.perf_counter() - start:8.3f} s", end="")
        start = time.perf_counter()
        theirs = tokenizers.Tokenizer.from_file(str(path))
        print(f"   tokenizers {time.perf_counter() - start:8.3f} s")

    paragraph = text[:500]
    for name, sample, repeat in [("encode", text, 1), ("short", paragraph, 100)]:
        ours_s, ids = fastest(lambda: [ours.encode(sample, special=True, bos=False) for _ in range(repeat)])
        theirs_s, expected = fastest(lambda: [theirs.encode(sample, add_special_tokens=False) for _ in range(repeat)])
        if list(ids[0]) != expected[0].ids:
            sys.exit(f"{name}: the ids differ, nothing to compare")
        size = len(sample.encode()) * repeat / 1e6
        print(f"{name:9} gemloupe {size / ours_s:8.2f} MB/s tokenizers {size / theirs_s:8.2f} MB/s   "
              f"{theirs_s / ours_s:.1f} times as fast, {len(ids[0])} tokens")
    ids = list(ours.encode(text, special=True, bos=False))
    ours_s, ours_text = fastest(lambda: ours.decode(ids))
    theirs_s, theirs_text = fastest(lambda: theirs.decode(ids))
    if ours_text != theirs_text:
        sys.exit("decode: the texts differ, nothing to compare")
    print(f"decode    gemloupe {len(ids) / ours_s / 1e6:8.2f} Mtok/s tokenizers {len(ids) / theirs_s / 1e6:6.2f} Mtok/s   "
          f"{theirs_s / ours_s:.1f} times as fast")


if __name__ == "__main__":
    main()
