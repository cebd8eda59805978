"""The books as tokens: read, encoded once, kept as a memory-mapped array of uint16.

The folder of shared data is GEMLOUPE_SHARED, else shared beside the checkout. Working files go to .cache/training.
"""

import json
import lzma
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from architecture import BOS, EOS

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".cache" / "training"


def shared() -> Path:
    return Path(os.environ.get("GEMLOUPE_SHARED") or ROOT.parent / "shared")


def books(split: str) -> Iterator[tuple[str, str]]:
    """Title and text of every book of train or valid. FileNotFoundError, with the mend, where the data is not there."""
    path = shared() / "data" / "books" / f"{split}.jsonl.xz"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no books there; set GEMLOUPE_SHARED to the folder that holds data/books")
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            book = json.loads(line)
            yield book["title"], book["text"]


def encode(tokenizer, text: str) -> list[int]:
    """The tokens of a text without control tokens. No piece crosses the edge of a run of newlines, so it may be cut there."""
    pieces = tokenizer.encode_batch(re.findall(r"[^\n]+|\n+", text), add_special_tokens=False)
    return [i for piece in pieces for i in piece.ids]


def tokens(split: str) -> np.ndarray:
    """All books of a split one after the other, <eos> after each, as a read-only memory map of uint16."""
    from tokenizer import tokenizer_path
    from tokenizers import Tokenizer

    path = WORK / "tokenizer" / f"{split}.u16"
    if not path.exists():
        tokenizer = Tokenizer.from_file(str(tokenizer_path()))
        partial = path.with_suffix(".part")
        with partial.open("wb") as out:
            for _, text in books(split):
                out.write(np.array([*encode(tokenizer, text), EOS], np.uint16).tobytes())
        os.replace(partial, path)
    return np.memmap(path, np.uint16, "r")


def batches(stream: np.ndarray, rows: int, length: int, seed: int, step: int) -> Iterator[np.ndarray]:
    """Batches [rows, length + 1] for ever, beginning with number `step`: <bos>, then `length` tokens of one place.

    An epoch visits every window once, in an order drawn from seed and epoch, and shifts where windows begin.
    Depends on nothing but the arguments, so a run goes on where it stopped.
    """
    per_epoch = (len(stream) // length - 1) // rows
    while True:
        epoch, within = divmod(step, per_epoch)
        rng = np.random.default_rng([seed, epoch])
        shift, order = int(rng.integers(length)), rng.permutation(per_epoch * rows)
        for place in range(within, per_epoch):
            starts = order[place * rows:(place + 1) * rows] * length + shift
            batch = np.stack([stream[start:start + length] for start in starts]).astype(np.int64)
            yield np.concatenate([np.full((rows, 1), BOS), batch], axis=1)
            step += 1
