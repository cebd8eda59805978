"""What a model of text has to beat: gzip -9, xz -9 and a byte model of order 5, in bits a byte.

    python training/compressors.py                  the three on the validation books
    python training/compressors.py --primer 10      also the order-5 model after 10 MB of training books; kept in runs/compressors.json

The order-5 model is adaptive: it reads the text once, and foretells each byte from the bytes before it in the same text, as
gzip and xz do. Orders 0 to 5 are blended by modified Kneser-Ney smoothing (Chen and Goodman): in each context a symbol seen c
times keeps c - D(c) of its count, and what was taken off goes to the next lower order; below order 0 all bytes are alike. As
in PPM with update exclusion, an order counts a symbol only where the next higher order had not met it. One probability a
byte, no mixing by weights learned on the way, no end-of-text symbol: what an ideal arithmetic coder would write. `primer` is
text that it may read, uncounted, before.

Since every count depends on earlier bytes only, all positions are computed together: one sort an order puts equal contexts
side by side.
"""

import argparse
import gzip
import json
import lzma

import numpy as np
from data import ROOT, books

DISCOUNTS = (0.75, 1.1, 1.4)  # of counts 1, 2 and more: the best of five triples on training books
ORDER = 5


def earlier(keys: np.ndarray, *values: np.ndarray) -> list[np.ndarray]:
    """For every position and each of the values, the sum over earlier positions with the same key."""
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(keys[order]) != 0])
    group = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(keys)]))
    sums = []
    for value in values:
        before = np.cumsum(value[order], dtype=np.int32) - value[order]
        found = np.empty(len(keys), np.int32)
        found[order] = before - before[first][group]
        sums.append(found)
    return sums


def probabilities(text: bytes, order: int = ORDER) -> np.ndarray:
    """What the context model gives to each byte of the text before it reads it."""
    symbols = np.frombuffer(text, np.uint8).astype(np.int64)
    levels = []
    counted = np.ones(len(symbols), np.int32)
    for k in range(order, -1, -1):
        context = np.zeros_like(symbols)
        for back in range(1, k + 1):
            context[back:] |= symbols[:-back] << (8 * (back - 1))
        (count,) = earlier(context << 8 | symbols, counted)
        became = [counted * (count == c) for c in range(3)]
        total, one, two, more = earlier(context, counted, became[0] - became[1], became[1] - became[2], became[2])
        levels.append((count, total, one, two, more))
        counted = counted * (count == 0)
    p = np.full(len(symbols), 1 / 256)
    for count, total, one, two, more in reversed(levels):
        kept = count - np.choose(np.minimum(count, 3), (0, *DISCOUNTS))
        taken = DISCOUNTS[0] * one + DISCOUNTS[1] * two + DISCOUNTS[2] * more
        p = np.where(total > 0, (kept + taken * p) / np.maximum(total, 1), p)
    return p


def order_5(text: bytes, primer: bytes = b"") -> float:
    """Bits a byte of the context model on the text, after it has read the primer."""
    p = probabilities(primer + text)[len(primer):]
    return float(-np.log2(p).mean())


def bits_per_byte(text: bytes) -> dict[str, float]:
    return {"gzip -9": 8 * len(gzip.compress(text, 9, mtime=0)) / len(text), "xz -9": 8 * len(lzma.compress(text, preset=9)) / len(text),
            "order 5": order_5(text)}


def validation_text() -> bytes:
    return "".join(text for _, text in books("valid")).encode()


def primer_text(megabytes: int) -> bytes:
    """The beginning of the training books in an order drawn at random."""
    texts = [text for _, text in books("train")]
    np.random.default_rng(0).shuffle(texts)
    return "".join(texts).encode()[:megabytes * 1_000_000]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--primer", type=int, help="megabytes of training books that the order-5 model reads first")
    args = parser.parse_args()
    text = validation_text()
    found = bits_per_byte(text)
    if args.primer:
        found[f"order 5 after {args.primer} MB"] = order_5(text, primer_text(args.primer))
        out = ROOT / "training" / "runs" / "compressors.json"
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps({name: round(bits, 4) for name, bits in found.items()}, indent=1) + "\n")
    for name, bits in found.items():
        print(f"{name:24} {bits:.4f} bits a byte")


if __name__ == "__main__":
    main()
