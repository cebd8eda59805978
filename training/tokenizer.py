"""Trains the tokenizer of both models on the training books.

    python training/tokenizer.py            writes .cache/training/tokenizer/tokenizer.json

BPE with byte fallback, spaces as ▁, four control tokens and 256 bytes first: the kind of file that Gemma has, 2048 pieces of
our own. Pieces are learned inside words, numbers' digits, runs of punctuation and newlines, so that a token has one kind.
"""

import json
from pathlib import Path

from architecture import VOCABULARY
from data import WORK, books
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

MARK = "\u2581"
CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
PIECES = rf"\n+|{MARK}?\p{{L}}+(?:'\p{{L}}+)?|{MARK}?\p{{N}}|{MARK}?[^\p{{L}}\p{{N}}{MARK}\n]+|{MARK}+"
CHARACTERS = 104  # the rest of the 264 in the books is written in bytes


def train() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", MARK)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "isolated")
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=CONTROL + BYTES, limit_alphabet=CHARACTERS,
                                  max_token_length=16, show_progress=False)
    tokenizer.train_from_iterator((text for _, text in books("train")), trainer)
    file = json.loads(tokenizer.to_str())
    file["added_tokens"] = [dict(id=i, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                            for i, content in enumerate(CONTROL)]
    # The words were cut for learning only; as in Gemma's file, nothing is cut afterwards (the normalizer left no space).
    file["pre_tokenizer"] = json.loads(pre_tokenizers.Split(" ", "merged_with_previous").__getstate__())
    steps = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    file["decoder"] = json.loads(decoders.Sequence(steps).__getstate__())
    file["post_processor"] = json.loads(processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)]).__getstate__())
    return Tokenizer.from_str(json.dumps(file))


def tokenizer_path() -> Path:
    """The trained tokenizer's file, trained now if there is none."""
    path = WORK / "tokenizer" / "tokenizer.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        train().save(str(path))
    return path


if __name__ == "__main__":
    file = tokenizer_path()
    print(file, Tokenizer.from_file(str(file)).get_vocab_size(), "pieces")
