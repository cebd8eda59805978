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
from architecture import BOS
from data import books, encode
from forward import balance, forward
from tokenizers import Tokenizer
from transformers import Gemma4ForCausalLM

CONTEXT, STRIDE, ROWS = 256, 192, 16
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
    pieces = {i: piece for piece, i in tokenizer.get_vocab().items()}
    kinds = torch.tensor([kind_of(pieces[i]) for i in range(len(pieces))])
    layers, experts = model.config.num_hidden_layers, model.config.num_experts or 0
    routed = torch.zeros(layers, len(KINDS), experts)
    counted = torch.zeros(len(KINDS))
    even = []
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
                if routes:
                    kind = kinds[batch[:, :-1].flatten()]
                    counted += torch.bincount(kind, minlength=len(KINDS))
                    for layer, (chosen, _, _) in enumerate(routes):
                        routed[layer].index_put_((kind[:, None].expand_as(chosen), chosen), torch.ones(1), accumulate=True)
                    even.append(balance(routes, model.config.top_k_experts)[0])
        bytes_here = len(text.encode())
        per_book[title] = round(here / np.log(2) / bytes_here, 4)
        nats, size = nats + here, size + bytes_here
        text_of_all.append(text)
    found = dict(bits_per_byte=round(nats / np.log(2) / size, 4), nats_per_token=round(nats / scored, 4), tokens=scored, bytes=size,
                 context=context, stride=stride, fraction=fraction, books=per_book,
                 compressors={k: round(v, 4) for k, v in compressors.bits_per_byte("".join(text_of_all).encode()).items()})
    if experts:
        share = routed / counted[None, :, None].clamp(min=1) / model.config.top_k_experts  # of a kind's choices
        load = routed.sum(1) / routed.sum((1, 2))[:, None]
        # Mutual information of kind and expert: 0 were the choice blind to what the token is.
        joint = routed / routed.sum((1, 2), keepdim=True)
        apart = joint.sum(1, keepdim=True) * joint.sum(2, keepdim=True)
        told = (joint * (joint / apart.clamp(min=1e-12)).clamp(min=1e-12).log2()).sum((1, 2))
        found["routing"] = dict(
            kinds=KINDS, tokens_of_kind=counted.int().tolist(), least_load=round(load.min().item(), 4),
            most_load=round(load.max().item(), 4), switch_loss=[round(x, 4) for x in torch.stack(even).mean(0).tolist()],
            bits_about_kind=[round(x, 4) for x in told.tolist()], load=[[round(x, 4) for x in row] for row in load.tolist()],
            share_by_kind=[[[round(x, 4) for x in row] for row in layer] for layer in share.tolist()])
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
