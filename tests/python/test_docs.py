"""Every example of every docstring runs, everything public has one, and the type stubs say what is there."""

import doctest
import inspect
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

import gemloupe as gl

MODULES = ["", "compare", "graph", "machine", "model", "perplexity", "run", "sampling", "session", "tokenizer", "weights"]


def module_named(name):
    return import_module(f"gemloupe.{name}" if name else "gemloupe")


def vocabulary():
    """A little tokenizer: <unk>, <eos>, <bos>, all bytes, and a few letters."""
    import json
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", *[f"<0x{i:02X}>" for i in range(256)], *"aeHlodr", "▁"]
    added = [dict(id=i, content=pieces[i], special=True, single_word=False, lstrip=False, rstrip=False, normalized=False) for i in range(4)]
    return json.dumps(dict(
        version="1.0", truncation=None, padding=None, added_tokens=added,
        normalizer=dict(type="Replace", pattern=dict(String=" "), content="▁"), pre_tokenizer=None, post_processor=None,
        decoder=dict(type="Sequence", decoders=[dict(type="Replace", pattern=dict(String="▁"), content=" "), dict(type="ByteFallback"), dict(type="Fuse")]),
        model=dict(type="BPE", dropout=None, unk_token="<unk>", continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=True,
                   byte_fallback=True, ignore_merges=False, vocab={p: i for i, p in enumerate(pieces)}, merges=[])))


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    (folder / "tokenizer.json").write_text(vocabulary())
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}')
    model = gl.random("gemma3-270m", layers=2, vocabulary=300)
    model.save(folder / "saved.gguf")
    return dict(gl=gl, np=np, model=model, tokenizer=gl.Tokenizer(folder), folder=folder, saved=folder / "saved.gguf")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, names):
    found = doctest.testmod(module_named(name), extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert found.failed == 0


def public():
    for name in gl.__all__:
        thing = getattr(gl, name)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            yield name, thing
        if inspect.isclass(thing) and thing.__module__.startswith("gemloupe.") and not thing.__module__.endswith("_core"):
            for member, value in vars(thing).items():
                if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    yield f"{name}.{member}", value


def test_everything_public_has_a_docstring():
    without = [name for name, thing in public() if not (inspect.getdoc(thing) or "").strip()]
    assert without in ([], ["Generated"])


def test_functions_have_examples():
    functions = [(name, thing) for name, thing in public() if inspect.isfunction(thing)]
    without = [name for name, thing in functions if ">>>" not in (thing.__doc__ or "")]
    assert len(functions) > 40 and without == []


def test_stubs_name_everything_in_the_core():
    from pathlib import Path
    from gemloupe import _core
    text = (Path(gl.__file__).parent / "_core.pyi").read_text()
    for name in dir(_core):
        if not name.startswith("_"):
            assert f"def {name}(" in text or f"class {name}" in text or f"\n{name}: " in text, name
            thing = getattr(_core, name)
            if inspect.isclass(thing) and name != "Error":
                body = text[text.index(f"class {name}"):].split("\nclass ")[0]
                for member in vars(thing):
                    assert member.startswith("_") or f"def {member}(" in body or f"\n    {member}: " in body, f"{name}.{member}"


USER = '''
import numpy as np
import gemloupe as gl
model = gl.load("x.gguf")
text: str = model.generate("a", max_tokens=3, temperature=0.7)
texts: list[str] = model.generate(["a", [1, 2]], stop=["x"])
details: list[gl.Generated] = model.generate(["a"], details=True)
for piece in model.stream("a", seed=1):
    print(piece.upper())
run = model.run("a", record=["layers.*"], edit={"layers.5.mid": lambda x: 0.5 * x})
norm: float = float(np.linalg.norm(run["layers.5.mid"])) + float(run.logits.max())
small = model.quantize({"layers.*": gl.grid(bits=3), "*": "int8", "head": lambda w: w * 2})
print(gl.compare(model, small, ["a"]).kld_mean * 2, model.perplexity("a").value, model.config.layers[0].rope.theta)
with gl.isa("avx2"), gl.threads(1):
    logits = model.session().feed([1, 2])
reveal: tuple[int, ...] = model.weights["embed"].shape
'''


def test_types_are_strict_for_users_and_for_us(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = True\n[mypy-gemloupe.reference.*]\nignore_errors = True\n")
    package = inspect.getfile(gl).rsplit("/", 1)[0]
    parent = package.rsplit("/", 1)[0]
    # mypy finds an installed package through its py.typed, and refuses to be told of site-packages.
    path = {} if parent.endswith("-packages") else {"MYPYPATH": parent}
    done = subprocess.run([sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "mypy.ini"),
                           "--cache-dir", str(tmp_path / "cache"), str(tmp_path / "user.py")],
                          capture_output=True, text=True, env={**path, "PATH": "/usr/bin:/bin"}, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
