"""Makes the folder that ships: python/gemloupe/models/NAME, from what train.py saved.

    python training/export.py gem-mini                    weights, tokenizer, evaluation, card, pictures, checksums
    python training/export.py gem-mini --card             card, pictures and checksums again, from training/runs

An ordinary Hugging Face folder: config.json, model.safetensors in bfloat16, tokenizer.json, tokenizer_config.json,
generation_config.json, README.md, pictures, LICENSE and SHA256SUMS. What is measured is the exported, rounded model.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import torch
from architecture import BOS, EOS, MODELS, PAD, fresh, parameter_counts
from data import ROOT, WORK, tokens
from evaluate import PROMPTS, load, measure, sample
from pictures import routing_map, training_curve
from tokenizer import tokenizer_path

RUNS = ROOT / "training" / "runs"
FOLDERS = ROOT / "python" / "gemloupe" / "models"


def save_weights(name: str, state: dict, folder: Path) -> None:
    """The Hugging Face folder without card and checksums."""
    model = fresh(name)
    model.load_state_dict(state["model"])
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    shutil.copy(tokenizer_path(), folder / "tokenizer.json")
    settings = dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>",
                    add_bos_token=True, clean_up_tokenization_spaces=False, model_max_length=model.config.max_position_embeddings)
    generation = dict(bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, do_sample=True, temperature=0.8, top_k=64, top_p=0.95)
    for file, content in (("tokenizer_config.json", settings), ("generation_config.json", generation)):
        (folder / file).write_text(json.dumps(content, indent=2) + "\n")


def save_curve(name: str, source: Path, steps: int) -> list[dict]:
    """The run's curve up to a step, committed, without the experts' shares but for the last.

    A step that was done twice, since the run stopped before it had been saved, counts as it was done last.
    """
    lines: list[dict] = []
    for line in map(json.loads, source.read_text().splitlines()):
        while lines and lines[-1]["step"] >= line["step"] and not (lines[-1]["step"] == line["step"] and "tokens" not in line):
            lines.pop()
        if line["step"] <= steps:
            lines.append(line)
    for line in lines[:-1]:
        line.pop("shares", None)
    RUNS.mkdir(exist_ok=True)
    (RUNS / f"{name}.curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lines


def curve_table(lines: list[dict]) -> str:
    """Some ten rows of the curve, each step once."""
    chosen = list({line["step"]: line for line in lines if "valid" in line}.values())
    apart = max(1, len(chosen) // 10)
    chosen = chosen[:-1:apart] + chosen[-1:]
    rows = [f"| {line['step']} | {line['valid']:.3f} |" for line in chosen]
    return "\n".join(["| step | validation, nats a token (a sample) |", "| ---: | ---: |", *rows])


def card(name: str, found: dict) -> str:
    twin = next(other for other in MODELS if other != name)
    counts, beaten, training = found["parameters"], found["compressors"], found["training"]
    what = ("16 experts, two of them for each token, beside a dense MLP" if "routing" in found else
            "no experts: its MLP is wider by what two experts compute, so a token costs as many multiplications")
    windows = f"{training['length']} tokens"
    if training["annealed_length"] != training["length"]:
        windows += f", of {training['annealed_length']} in the last {training['anneal']} steps"
    part = "" if found["fraction"] == 1 else f": the first {found['fraction']:.0%} of each book"
    more = json.loads((RUNS / "compressors.json").read_text()) if (RUNS / "compressors.json").exists() else {}
    primed = "".join(f"| {key.replace('after', 'context model that has read')} of the training books |".replace("order 5", "the same order-5")
                     + f" {bits:.3f} |\n" for key, bits in more.items() if "after" in key)
    beside, other = "", RUNS / f"{twin}.json"
    theirs = json.loads(other.read_text(encoding="utf-8")) if other.exists() else found
    same = all(theirs[key] == found[key] for key in ("fraction", "context", "stride"))
    if theirs is not found and same and theirs["training"]["tokens"] == training["tokens"]:
        here, there = found["bits_per_byte"], theirs["bits_per_byte"]
        beside = f"The twin, {twin}, needs {there:.4f} after as many steps over the same tokens, this model {here:.4f}.\n"
        if abs(there - here) < 0.01:
            beside += """So far the experts' parameters neither help nor hurt: each expert has seen an eighth of few tokens.
What they are worth after longer training these two do not tell.
"""
    shared = {2: "two", 3: "three"}[MODELS[name]["num_kv_shared_layers"]]
    table = "\n".join(f"| {title} | {bits:.3f} |" for title, bits in found["books"].items())
    text = f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# {name}

A small language model with every part of the Gemma 4 text architecture, trained from nothing, so that one can look into something that
has learned: per-layer embeddings (width 16), sliding layers (window 128) and full layers, the last {shared} layers reading earlier
layers' caches, keys that serve as values in full layers, layer scalars, a soft cap of 30, and
{what}.

Its twin is {twin}. It is no model of Google's and holds none of Gemma's weights or vocabulary.

    import gemloupe as gl
    model = gl.load("{name}")

Transformers loads the folder as any other: `Gemma4ForCausalLM.from_pretrained(folder)`.

| parameters | |
| --- | ---: |
| outside the embeddings | {counts['outside']:,} |
| of these, used by one token | {counts['active_outside']:,} |
| embedding, tied with the head (vocabulary of 2048) | {counts['embedding']:,} |
| per-layer embeddings | {counts['per_layer_embedding']:,} |

## How well it foretells

Bits a byte of the validation books ({found['bytes']:,} bytes{part}), in windows of {found['context']} tokens:

| | bits a byte |
| --- | ---: |
| gzip -9 | {beaten['gzip -9']:.3f} |
| xz -9 | {beaten['xz -9']:.3f} |
| order-5 context model (Kneser-Ney, adaptive: training/compressors.py) | {beaten['order 5']:.3f} |
{primed}| **{name}** | **{found['bits_per_byte']:.3f}** |

gzip, xz and the first context model know nothing before they begin; the model has read {training['tokens'] * 3.12 / 1e6:.1f} MB of other books.
{beside}
| book | bits a byte |
| --- | ---: |
{table}

## Training

Data: 178 English books by 54 authors, public domain (first published by 1925), 64 MB; seven other books for validation. The tokenizer
was trained on the same 178 books: BPE with byte fallback, 2048 pieces. No evaluation data was read.

Recipe (training/train.py): {training['steps']:,} steps of {training['tokens'] // training['steps']:,} tokens, {training['tokens']:,} tokens in all,
{training['epochs']:.2f} passes over the books; windows of {windows}; Muon for matrices, AdamW for the rest, a warm-up of 60
steps, a constant rate, and a linear fall to zero over the last {training['anneal']} steps; multiplications in bfloat16, everything else in
float32{'; Switch load-balancing loss 0.01 and z-loss 0.001' if 'routing' in found else ''}. On {training['device']}.

![the run's curve](curve.svg)

{curve_table(found['curve'])}
"""
    if "routing" in found:
        routing = found["routing"]
        text += f"""
## Experts

The least used expert of any layer takes {routing['least_load']:.1%} of the choices, the most used one {routing['most_load']:.1%}; even would be
{1 / 16:.1%}. What the choice of an expert tells about the kind of token, in bits, by layer: {', '.join(f'{x:.2f}' for x in routing['bits_about_kind'])}.

![which kinds of token go to which experts](routing.svg)
"""
    text += """
## Samples

Temperature 0.7, not chosen among several:

""" + "\n\n".join("> " + text_.replace("\n", "\n> ") for text_ in found["samples"]) + f"""

## Limits

It writes old-fashioned English: nearly every word is a word and fits its neighbours, clauses are mostly grammatical, but a sentence often
loses its thread before it ends, and what it says does not follow from the one before. It knows no facts, follows no instructions
and has no chat format. It repeats the attitudes of books of the nineteenth century. It has learned positions up to
{training['annealed_length']} only. Its training was cut short: after {training['epochs']:.2f} passes over the books it could still learn much.

## Licence

Apache-2.0, like gemloupe: weights, vocabulary and card are the gemloupe authors' own, made from random numbers and texts in the public
domain. LICENSE is its text, SHA256SUMS holds the files' checksums.
"""
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("--card", action="store_true", help="measure nothing again")
    parser.add_argument("--fraction", type=float, default=1.0, help="of each validation book that is measured")
    parser.add_argument("--stride", type=int, help="tokens that each window scores; three quarters of it unless told")
    parser.add_argument("--state", help="annealed.pt or state.pt; else the first of them that is there")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    folder, measured = FOLDERS / args.name, RUNS / f"{args.name}.json"
    if not args.card:
        work = WORK / args.name
        path = work / args.state if args.state else next(work / f for f in ("annealed.pt", "state.pt") if (work / f).exists())
        state, constant = (torch.load(p, map_location="cpu", weights_only=True) for p in (path, work / "state.pt"))
        save_weights(args.name, state, folder)
        curve = save_curve(args.name, work / "curve.jsonl", state["step"])
        model, tokenizer = load(folder)
        asked = state["arguments"]
        found = measure(model, tokenizer, args.fraction, asked["length"], args.stride or asked["length"] * 3 // 4)
        last = max((line for line in curve if "tokens" in line), key=lambda line: line["step"])
        read = last["tokens"] * state["step"] // last["step"]
        found |= dict(
            parameters=parameter_counts(model),
            training=dict(steps=state["step"], tokens=read, epochs=round(read / len(tokens("train")), 3),
                          length=constant["arguments"]["length"], annealed_length=asked["length"], anneal=asked["anneal"],
                          device="one processor core" if asked["device"] == "cpu" else "a GPU"),
            curve=[dict(step=line["step"], valid=line["valid"]) for line in curve if "valid" in line],
            samples=[sample(model, tokenizer, prompt, seed=i) for i, prompt in enumerate(PROMPTS)])
        measured.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")
    found = json.loads(measured.read_text(encoding="utf-8"))
    curve = [json.loads(line) for line in (RUNS / f"{args.name}.curve.jsonl").read_text().splitlines()]
    (folder / "curve.svg").write_text(training_curve(curve, found["training"]["anneal"]))
    if "routing" in found:
        (folder / "routing.svg").write_text(routing_map(found["routing"]))
    shutil.copy(ROOT / "LICENSE", folder)
    (folder / "README.md").write_text(card(args.name, found), encoding="utf-8")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())
            if path.name != "SHA256SUMS"]
    (folder / "SHA256SUMS").write_text("".join(sums))
    print(args.name, found["bits_per_byte"], "bits a byte;", found["compressors"])


if __name__ == "__main__":
    main()
