"""Measures a trained model on the validation books and writes what it found.

    python training/evaluate.py FOLDER --write training/runs/gem-mini.json
    python training/evaluate.py FOLDER --fraction 0.1           a tenth of each book: quick

FOLDER is an exported checkpoint (export.py), read by Transformers' classes in float32. Bits a byte: every token of every book
is scored once, in windows of `context` tokens of which the first is <bos>; a window begins `stride` tokens after the last one
and scores what that one had not. <eos> is not scored, since the compressors write no end either. Their figures are for the
same text, as one file.
"""

import argparse
import json
import unicodedata
from collections import defaultdict
from pathlib import Path

import compressors
import numpy as np
import torch
import torch.nn.functional as F
from architecture import BOS, UNK
from data import books, encode
from forward import balance, forward
from tokenizers import Tokenizer
from transformers import Gemma4ForCausalLM

CONTEXT, STRIDE, ROWS = 512, 384, 16
PROMPTS = ("It was a dark night, and", "\"My dear sir,\" said", "The ship had been at sea for")
KINDS = ("beginning of a word", "rest of a word", "capitalised word", "number", "punctuation", "newline", "byte")


def kind_of(piece: str) -> int:
    """Which of KINDS a vocabulary's piece is."""
    plain = piece.removeprefix("\u2581")
    if piece.startswith("<0x") and piece.endswith(">"):
        return 6
    if plain[:1] == "\n":
        return 5
    if plain[:1].isdigit():
        return 3
    if not plain or not unicodedata.category(plain[0]).startswith("L"):
        return 4
    return 2 if plain[0].isupper() else 0 if piece[0] == "\u2581" else 1


def kinds_of_vocabulary(tokenizer: Tokenizer) -> torch.Tensor:
    """Of every token its number in KINDS."""
    pieces = {i: piece for piece, i in tokenizer.get_vocab().items()}
    return torch.tensor([kind_of(pieces[i]) for i in range(len(pieces))])


class Routing:
    """Counts which experts the tokens of each kind chose, layer by layer."""

    def __init__(self, config, kinds: torch.Tensor):
        self.kinds, self.slots = kinds, config.top_k_experts
        self.chosen = torch.zeros(config.num_hidden_layers, len(KINDS), config.num_experts)
        self.tokens = torch.zeros(len(KINDS))
        self.even = []

    def add(self, ids: torch.Tensor, routes: list) -> None:
        """ids: what went in; routes: what forward() gave. Control tokens are of no kind."""
        written = ids.flatten() > UNK
        kind = self.kinds[ids.flatten()[written]]
        self.tokens += torch.bincount(kind, minlength=len(KINDS))
        for layer, (chosen, _, _) in enumerate(routes):
            where = kind[:, None].expand(-1, self.slots), chosen[written]
            self.chosen[layer].index_put_(where, torch.ones(1), accumulate=True)
        self.even.append(balance(routes, self.slots)[0])

    def found(self) -> dict:
        """Loads, what a choice tells about the kind, and of each kind's choices every expert's share."""
        def plain(x: torch.Tensor) -> list:
            return [plain(row) for row in x] if x.dim() else round(x.item(), 4)

        joint = self.chosen / self.chosen.sum((1, 2), keepdim=True)
        load = joint.sum(1)
        # Mutual information of kind and expert: 0 were the choice blind to what the token is.
        apart = load[:, None] * joint.sum(2, keepdim=True)
        told = (joint * (joint / apart.clamp(min=1e-12)).clamp(min=1e-12).log2()).sum((1, 2))
        return dict(kinds=KINDS, tokens_of_kind=self.tokens.int().tolist(), least_load=plain(load.min()), most_load=plain(load.max()),
                    switch_loss=plain(torch.stack(self.even).mean(0)), bits_about_kind=plain(told), load=plain(load),
                    share_by_kind=plain(self.chosen / self.tokens[None, :, None].clamp(min=1) / self.slots))


def windows(ids: list[int], context: int, stride: int):
    """([<bos>, tokens], how many of the window's first tokens were scored before) until every token has been scored."""
    begin, scored = 0, 0
    while scored < len(ids):
        piece = ids[begin:begin + context - 1]
        yield [BOS, *piece], scored - begin
        scored = begin + len(piece)
        begin += stride


@torch.no_grad()
def measure(model: Gemma4ForCausalLM, tokenizer: Tokenizer, fraction: float, context: int, stride: int) -> dict:
    """Bits a byte over the books, and what the routers did with each kind of token."""
    routing = Routing(model.config, kinds_of_vocabulary(tokenizer)) if model.config.enable_moe_block else None
    per_book, nats, scored, size, text_of_all = {}, 0.0, 0, 0, []
    for title, text in books("valid"):
        text = text[:int(len(text) * fraction)]
        here = 0.0
        # Windows of one length are read together; the last one of a book is shorter and alone.
        groups = defaultdict(list)
        for ids, skip in windows(encode(tokenizer, text), context, stride):
            groups[len(ids)].append((ids, skip))
        for group in groups.values():
            for start in range(0, len(group), ROWS):
                batch = torch.tensor([ids for ids, _ in group[start:start + ROWS]])
                logits, routes = forward(model, batch[:, :-1])
                entropy = F.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none")
                wanted = torch.arange(batch.shape[1] - 1) >= torch.tensor([[skip] for _, skip in group[start:start + ROWS]])
                here += entropy[wanted].double().sum().item()
                scored += int(wanted.sum())
                if routing:
                    routing.add(batch[:, :-1], routes)
        bytes_here = len(text.encode())
        per_book[title] = round(here / np.log(2) / bytes_here, 4)
        nats, size = nats + here, size + bytes_here
        text_of_all.append(text)
    found = dict(bits_per_byte=round(nats / np.log(2) / size, 4), nats_per_token=round(nats / scored, 4), tokens=scored, bytes=size,
                 context=context, stride=stride, fraction=fraction, books=per_book,
                 compressors={k: round(v, 4) for k, v in compressors.bits_per_byte("".join(text_of_all).encode()).items()})
    if routing:
        found["routing"] = routing.found()
    return found


@torch.no_grad()
def sample(model: Gemma4ForCausalLM, tokenizer: Tokenizer, prompt: str, tokens: int = 90, temperature: float = 0.7, seed: int = 0) -> str:
    generator = torch.Generator().manual_seed(seed)
    ids = [BOS, *encode(tokenizer, prompt)]
    for _ in range(tokens):
        logits = forward(model, torch.tensor([ids[-CONTEXT:]]))[0][0, -1]
        ids.append(int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)))
    return tokenizer.decode(ids[1:])


def load(folder: Path) -> tuple[Gemma4ForCausalLM, Tokenizer]:
    model = Gemma4ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, Tokenizer.from_file(str(folder / "tokenizer.json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, help="the file of JSON to write; else the terminal")
    parser.add_argument("--fraction", type=float, default=1.0, help="of each book, from its beginning")
    parser.add_argument("--context", type=int, default=CONTEXT)
    parser.add_argument("--stride", type=int, default=STRIDE)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, tokenizer = load(args.folder)
    found = measure(model, tokenizer, args.fraction, args.context, args.stride)
    found["samples"] = [sample(model, tokenizer, prompt, seed=i) for i, prompt in enumerate(PROMPTS)]
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if args.write:
        args.write.parent.mkdir(parents=True, exist_ok=True)
        args.write.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
