"""Makes tokenizer.json: four tiny tokenizers and what the `tokenizers` package (0.23) encodes with them.

    python tests/golden/make_tokenizer_fixture.py

Each variant is a whole tokenizer.json and cases [text, ids with added tokens read, ids with special ones as plain text].
  gemma      pieces end at spaces, whitespace runs and tags are added tokens, byte fallback
  across     pieces go across spaces and newlines, so that cutting the text into words early would be wrong
  llama      a space before every stretch of text, dropped again by the decoder
  metaspace  Metaspace with split, prefix at the start only, no byte fallback: unknown characters
"""

import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

MARK = "\u2581"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
PROSE = """A loupe does not cut the stone. It shows the cutter where the light is lost, and what the next facet will cost.
A model is such a stone: a few hundred layers of numbers, each of which can be looked at, if only someone holds the glass.
The thing the reader wants is there, the thing in the other thing, and then the thing after that one again.
<b>bold</b> <i>and</i> </b> <b>more</b> <i>of</i> <b>this</b> </i> <b>and</b> </b> that, <b>then</b> </b> again
for (int i = 0; i < n; ++i) { sum += row[i] * row[i]; }    // 1234 + 5678 = 6912
Der Stein liegt da, und die Lupe liegt daneben: schöne Größe, süße Mühe. Où est la pierre? Là où elle était, déjà.
石は光を失う。石は光を見る。石の光。 Камень лежит, камень блестит, камень молчит."""


def train(across):
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", MARK)
    if not across:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(f"\n+|{MARK}*[^{MARK}\n]+|{MARK}+"), "isolated")
    trainer = trainers.BpeTrainer(vocab_size=640, special_tokens=CONTROL + BYTES, show_progress=False, max_token_length=12)
    tokenizer.train_from_iterator([PROSE], trainer)
    return json.loads(tokenizer.to_str())


def added(file, contents, special):
    """Entries for added_tokens; pieces that are not in the vocabulary get the next ids."""
    ids = file["model"]["vocab"]
    entries = []
    for content in contents:
        ids.setdefault(content, len(ids))
        entries.append(dict(id=ids[content], content=content, single_word=False, lstrip=False, rstrip=False,
                            normalized=False, special=special))
    return entries


def gemma():
    file = train(across=False)
    merges = file["model"]["merges"]
    for run in ["\n", MARK, "\t"]:  # runs of 2 to 6, made by merges of highest rank, the longest first
        for length in range(2, 7):
            file["model"]["vocab"].setdefault(run * length, len(file["model"]["vocab"]))
        file["model"]["vocab"].setdefault(run, len(file["model"]["vocab"]))
        merges[:] = [merge for merge in merges if set("".join(merge)) != {run}]
        merges[:0] = [[run * (length - 1), run] for length in range(6, 1, -1)]
    runs = [run * length for run in ["\n", "\t", MARK] for length in range(1, 7) if run * length != MARK]
    file["added_tokens"] = added(file, CONTROL, True) + added(file, runs + ["<b>", "</b>", "<unused0>", "<unused01>"], False)
    file["pre_tokenizer"] = json.loads(pre_tokenizers.Split(" ", "merged_with_previous").__getstate__())
    steps = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    file["decoder"] = json.loads(decoders.Sequence(steps).__getstate__())
    bos = [("<bos>", file["model"]["vocab"]["<bos>"])]
    file["post_processor"] = json.loads(processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=bos).__getstate__())
    return file


def across():
    file = gemma()
    trained = train(across=True)
    file["model"] = trained["model"]
    file["added_tokens"] = added(file, CONTROL, True)
    file["pre_tokenizer"] = None
    return file


def llama():
    file = gemma()
    file["added_tokens"] = added(file, CONTROL, True)
    steps = [normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)]
    file["normalizer"] = json.loads(normalizers.Sequence(steps).__getstate__())
    file["pre_tokenizer"] = None
    file["decoder"]["decoders"].append(dict(type="Strip", content=" ", start=1, stop=0))
    return file


def metaspace():
    file = gemma()
    file["added_tokens"] = added(file, CONTROL, True)
    file["normalizer"] = None
    file["model"]["byte_fallback"] = False
    file["pre_tokenizer"] = json.loads(pre_tokenizers.Metaspace(MARK, "first", True).__getstate__())
    file["decoder"] = json.loads(decoders.Metaspace(MARK, "first", True).__getstate__())
    return file


def texts():
    parts = [" ", "  ", "     ", "\n", "\n\n\n", "\t", "the", " thing", "loupe", "stone", "> </", "<b>", "</b>", "<bos>",
             "<eos>", "<end_of_turn>", "<unused0>", "<unused01>", "<unused", MARK, MARK * 2, "é", "ö", "石", "光を", "камень",
             "🙂", "\0", "0", "12", ".",
             "</", ">", "<0x41>", "e\u0301", "\U0010FFFF", "Z", "qq"]
    rng = random.Random(20)
    made = ["", " ", "a", "  a", "a  ", "\n", "a\nb", "<bos>", "<bos>a", "<b", PROSE, "the" * 100, "> </" * 30, " " * 70,
            "\n" * 33, PROSE.replace(" ", "").replace("\n", "")]
    return made + ["".join(rng.choices(parts, k=rng.randint(1, 14))) for _ in range(60)]


def main():
    fixture = {}
    for variant in (gemma, across, llama, metaspace):
        file = variant()
        tokenizer = Tokenizer.from_str(json.dumps(file))
        cases = []
        for text in texts():
            ids = []
            for plain in (False, True):
                tokenizer.encode_special_tokens = plain
                ids.append(tokenizer.encode(text, add_special_tokens=False).ids)
            cases.append([text, *ids])
        fixture[variant.__name__] = dict(file=file, cases=cases)
    out = Path(__file__).with_name("tokenizer.json")
    out.write_text(json.dumps(fixture, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(out.name, out.stat().st_size, "bytes,", {name: len(v["file"]["model"]["merges"]) for name, v in fixture.items()})


if __name__ == "__main__":
    main()
