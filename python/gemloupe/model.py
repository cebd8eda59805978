"""A model: looking at it, running it, changing it, saving it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from . import _core, arguments
from ._core import Config
from .description import described, size_text
from .graph import Edit, Graph, Op, note, op_caller
from .perplexity import Perplexity, measure
from .prompts import Prompt, Text, encode_prompt, is_text
from .run import Run
from .sampling import Generated, Options, Stream, Writer
from .session import Session
from .tokenizer import Tokenizer
from .weights import Format, Weights, format_named

if TYPE_CHECKING:
    from typing_extensions import Unpack

WAVE = 64  # prompts whose sessions live at the same time in generate
CACHES = {"f32": False, "f16": True}


def half_cache(cache: str) -> bool:
    if cache not in CACHES:
        raise ValueError(f'cache: expected "f32" or "f16", got {cache!r}')
    return CACHES[cache]


class Model:
    """A Gemma 3 or Gemma 4 text model on packed weights. gl.load and gl.random make it; it never changes.

    >>> model.config.hidden, len(model.config.layers)
    (640, 2)
    """

    def __init__(self, core: _core.Model) -> None:
        self._core = core
        tokenizer = core.tokenizer
        self.tokenizer: Tokenizer | None = Tokenizer._of(tokenizer) if tokenizer is not None else None

    @property
    def config(self) -> Config:
        """What the model is made of: sizes, layers, special ids."""
        return self._core.config

    @cached_property
    def graph(self) -> Graph:
        """The program: print(model.graph["layers.5.*"]).

        >>> model.graph["layers.0.attn.mix"].nodes[0].op
        'attention(window=512, scale=0.0625)'
        """
        return Graph(self._core.graph)

    @cached_property
    def weights(self) -> Weights:
        """The weights by name.

        >>> model.weights["embed"].shape
        (300, 640)
        """
        return Weights(self.graph)

    @property
    def path(self) -> str:
        """Where it was loaded from; "" for a random model."""
        return self._core.path

    @property
    def bos(self) -> int:
        """The id that begins a sequence, -1 where there is none."""
        if self.tokenizer is not None and self.tokenizer.bos >= 0:
            return self.tokenizer.bos
        return self.config.bos

    @property
    def ends(self) -> list[int]:
        """The ids that end a generation: the tokenizer's and the configuration's."""
        own = self.tokenizer.ends if self.tokenizer is not None else []
        return sorted({*own, *self.config.end_ids})

    @property
    def parameters(self) -> int:
        """How many numbers the weights hold."""
        return sum(w.size for w in self.weights.values())

    @property
    def bytes(self) -> int:
        """The size of the packed weights."""
        return sum(w.bytes for w in self.weights.values())

    @cached_property
    def fingerprint(self) -> str:
        """Equal only for the same program with, as far as samples of their bytes tell, the same weights.

        >>> len(model.fingerprint)
        16
        """
        return f"{self._core.graph.fingerprint:016x}"

    def bytes_by_format(self) -> dict[str, int]:
        """The size of the weights of each format, the largest first.

        >>> list(model.bytes_by_format())
        ['F32']
        """
        found: dict[str, int] = {}
        for w in self.weights.values():
            found[w.format] = found.get(w.format, 0) + w.bytes
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def memory(self, context: int | None = None, chunk: int | None = None, cache: str = "f32") -> dict[str, int]:
        """Bytes of the weights and of one session's caches for a context and a chunk (None: the session's own defaults).

        >>> sorted(model.memory(1024))
        ['caches', 'weights']
        """
        length = min(8192, self.config.context) if context is None else arguments.whole(context, "memory: context", 1)
        rows = 0 if chunk is None else arguments.whole(chunk, "memory: chunk", 1)
        return {"weights": self.bytes, "caches": self._core.graph.cache_bytes(length, rows, half_cache(cache))}

    @cached_property
    def _formats(self) -> str:
        return ", ".join(self.bytes_by_format())

    def protocol(self, **more: object) -> dict[str, object]:
        """What a measurement must state to be repeated: model, weights, machine, version, and what the caller adds.

        >>> model.protocol(arithmetic="exact")["arithmetic"]
        'exact'
        """
        from . import __version__

        return {"model": self.config.name or self.config.architecture, "fingerprint": self.fingerprint,
                "formats": self._formats, **more, "isa": _core.isa(), "threads": _core.threads(),
                "version": __version__}

    # Reading and writing text

    def session(self, path: str | os.PathLike[str] | None = None, *, context: int = 0, chunk: int | None = None,
                cache: str = "f32") -> Session:
        """A new session, or the one that was saved to a file by this very model.

        context: the most tokens (0: 8192, or the model's own limit if that is less). chunk: the most rows of one step; prompts are cut
        into chunks of it (None: 512, and 1024 for a model with experts; no result depends on it). cache: f32, or f16 for half the
        memory. ValueError where they do not fit; gl.Error for a file of another model or none of ours.

        >>> model.session(context=128)
        <Session at 0 of 128>
        """
        core, config = self._core, self.config
        if path is not None:
            if isinstance(path, (int, np.integer)):
                raise TypeError(f"session: expected the path of a saved session, got {path}; for a new one give context={path}")
            if (context, chunk, cache) != (0, None, "f32"):
                raise ValueError("session: a saved session brings its own context, chunk and cache; give its path alone")
            return Session(self, _core.load_session(arguments.path(path, "session"), core.graph, config.vocabulary, config.context))
        tokens = arguments.whole(context, "session: context")
        rows = 0 if chunk is None else arguments.whole(chunk, "session: chunk", 1)
        return Session(self, _core.Session(core.graph, config.vocabulary, config.context, tokens, rows, half_cache(cache)))

    def _writer(self, prompts: Sequence[Prompt], options: Options, together: int, cache: str) -> Writer:
        ids = [encode_prompt(self.tokenizer, p, special=True, bos=True, where=f"prompt {i}") for i, p in enumerate(prompts)]
        longest = self.config.context
        tokens = arguments.whole(options.get("max_tokens", 128), "max_tokens")
        sessions = [self.session(context=max(1, min(len(list_) + max(tokens, 0), longest)), cache=cache) for list_ in ids]
        return Writer(sessions, ids, self.tokenizer, self.ends, self.config.suppress, options, together)

    def stream(self, prompt: Prompt, *, cache: str = "f32", **options: Unpack[Options]) -> Stream:
        """Continues a prompt and gives pieces of text as they become certain; options as in generate.

        >>> stream = model.stream([2, 10, 20], max_tokens=4, temperature=1.0, seed=3)
        >>> _ = "".join(stream)
        >>> len(stream.tokens)
        4
        """
        return Stream(self._writer([prompt], options, 1, cache))

    @overload
    def generate(self, prompts: Text, *,  # type: ignore[overload-overlap]
                 details: Literal[False] = False, together: int = 16, cache: str = "f32",
                 **options: Unpack[Options]) -> str: ...
    @overload
    def generate(self, prompts: Sequence[Prompt], *, details: Literal[False] = False, together: int = 16, cache: str = "f32",
                 **options: Unpack[Options]) -> list[str]: ...
    @overload
    def generate(self, prompts: Text, *,  # type: ignore[overload-overlap]
                 details: Literal[True], together: int = 16, cache: str = "f32",
                 **options: Unpack[Options]) -> Generated: ...
    @overload
    def generate(self, prompts: Sequence[Prompt], *, details: Literal[True], together: int = 16, cache: str = "f32",
                 **options: Unpack[Options]) -> list[Generated]: ...
    def generate(self, prompts: Text | Sequence[Prompt], *, details: bool = False, together: int = 16, cache: str = "f32",
                 **options: Unpack[Options]) -> str | Generated | list[str] | list[Generated]:
        """Continues a prompt, or many of them together, and returns the new text of each.

        prompts: a text, or a list of texts and lists of ids. Texts begin with BOS if the vocabulary wants it.
        max_tokens: 128. temperature: 0 is greedy. top_k: 0 for all. top_p, min_p: 1 and 0 for all. repetition_penalty: CTRL's, 1 for
        none, over the last repetition_window tokens (0: all). logit_bias: {id: added}. suppress: ids never chosen (None: the
        model's own list). seed: the same seed gives the same text, whatever else is in the batch. stop: texts that end a
        sequence and are not part of it. stop_ids: likewise tokens (None: the model's own ends).
        prompt_arithmetic: "bf16", fast. arithmetic: "exact", of the tokens that are generated.
        together: the most sequences in one step. details: Generated instead of str, with tokens and why it ended.
        ValueError for options without meaning, empty prompts and prompts longer than the context. A KeyboardInterrupt carries
        what was written as its attribute `generated`.

        >>> [g.finish for g in model.generate([[2, 10], [2, 20]], max_tokens=3, details=True)]
        ['length', 'length']
        """
        alone = is_text(prompts)
        if isinstance(prompts, Mapping) or not isinstance(prompts, Iterable):
            raise TypeError(f"generate: expected a text or a list of prompts, got {prompts!r:.60}")
        every: list[Prompt] = [prompts] if isinstance(prompts, (str, bytes)) else list(prompts)
        if not alone and any(isinstance(p, (int, np.integer)) for p in every):
            raise ValueError("generate: one list of ids stands where a list of prompts is expected; give [[…]]")
        done: list[Generated] = []
        for first in range(0, len(every), WAVE):
            wave = every[first:first + WAVE]
            writer = self._writer(wave, options, together, cache)
            try:
                while not writer.done:
                    writer.step()
            except KeyboardInterrupt as stop:
                stop.generated = done + [writer.result(i) for i in range(len(wave))]  # type: ignore[attr-defined]
                raise
            done += [writer.result(i) for i in range(len(wave))]
        if details:
            return done[0] if alone else done
        return done[0].text if alone else [g.text for g in done]

    # Looking inside

    def run(self, prompt: Prompt, record: str | Sequence[str] = (), edit: Mapping[str, Edit] | None = None,
            inputs: Mapping[str, npt.ArrayLike] | None = None, arithmetic: str = "exact", logits: str | int | None = "all") -> Run:
        """Runs a text or ids once and keeps what is asked for.

        record: patterns of value names ("layers.*.attn.mix"). edit: {pattern: fn(x) or fn(x, name)}; x is a read-only array [row, …], the
        result takes its place. inputs: {name: array} of values brought along instead of computed ("embed"). arithmetic: "exact",
        "bf16" or "int8". logits: "all", "last", a number of last rows, or None; float32 [row, vocabulary].
        ValueError for names that match nothing, edits of another shape or dtype, ids outside the vocabulary, and more tokens than the
        model's context; what an edit raises comes through as it is, with a note that names the value.

        >>> run = model.run([2, 10, 20], record="layers.1.mid", edit={"layers.0.out": lambda x: 0.5 * x})
        >>> run.names
        ['layers.1.mid']
        """
        ids = encode_prompt(self.tokenizer, prompt, special=True, bos=True)
        if len(ids) == 0:
            raise ValueError("run: the prompt is empty; give at least one token")
        if len(ids) > self.config.context:
            raise ValueError(f"run: {len(ids)} tokens are more than the model's context of {self.config.context}")
        session = self.session(context=len(ids), chunk=len(ids))
        return session.run(ids, record, edit, inputs, arithmetic, logits)

    def perplexity(self, text: Prompt, context: int = 512, arithmetic: str = "exact", cache: str = "f32") -> Perplexity:
        """How well the model foretells a text (or ids): chunks of `context` tokens, BOS first in each, the second half scored.

        A text shorter than a chunk is one chunk. arithmetic: "exact", "bf16" or "int8". The result carries its protocol. ValueError for
        an empty text.

        >>> model.perplexity([2, 10, 20, 30, 40, 50], context=6).tokens_scored
        2
        """
        return measure(self, text, context, arithmetic, cache)

    # Changing: every call gives a new model that shares what did not change

    def quantize(self, schemes: Mapping[str, Format | str | Callable[[npt.NDArray[np.float32]], Any]]) -> Model:
        """A model with other weights: {pattern of weight names: format, name of one, or a callable}; the first pattern that matches counts.

        A callable gets each matrix (of a stack: of each expert) as float32 [rows, cols] and returns one of the same shape, kept as
        float32: a simulated scheme. Vectors are never touched. ValueError for patterns that match no matrix and formats that do
        not fit.

        >>> model.quantize({"layers.*.ffn.*": gl.grid(bits=3, group=64), "*": "Q8_0"}).bytes < model.bytes
        True
        """
        rules: list[tuple[str, Any]] = []
        for pattern, scheme in arguments.mapping(schemes, "quantize", "a dict {pattern: format}").items():
            if isinstance(scheme, str):
                rules.append((pattern, format_named(scheme)))
            elif isinstance(scheme, _core.Format):
                rules.append((pattern, scheme))
            elif callable(scheme):
                rules.append((pattern, _transform(scheme)))
            else:
                raise TypeError(f"quantize: {pattern!r}: expected a format, its name or a callable, got {type(scheme).__name__}")
        return Model(self._core.quantize(rules))

    def replace(self, pattern: str, op: Op | Callable[..., Any]) -> Model:
        """A model with another op in every node that matches: one of gl.ops, or a callable.

        A callable gets the node's inputs as read-only arrays [row, …] and returns arrays of the types of the values it replaces, a tuple
        where there are several. Keyword-only parameters called name, step and weights receive the node's name, a list of
        gl.Segment, and the node's weights. ValueError where no node matches, an op does not fit there, or a result has another
        shape; what the callable raises comes through with a note that names the node.

        >>> quiet = model.replace("layers.0.ffn.act", lambda gate, up: np.zeros_like(gate))
        >>> float(abs(quiet.run([2, 10], record="layers.0.ffn.down")["layers.0.ffn.down"]).max())
        0.0
        """
        graph = self._core.graph
        arguments.word(pattern, "replace", "a pattern of names")
        if isinstance(op, _core.Op):
            return Model(self._core.with_graph(graph.replace(pattern, op)))
        if not callable(op):
            raise TypeError(f"replace: expected an op of gl.ops or a callable, got {type(op).__name__}")
        return Model(self._core.with_graph(graph.replace_by_callables(pattern, op_caller(op))))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a GGUF file ("x.gguf"), a Hugging Face folder ("x/", or any name without an ending), or "x.gem".

        A .gem file is for this program alone: the weights lie in it as the kernels read them, of any format, so that gl.load maps
        it and is done. It belongs to one version of gemloupe; keep the files it was made from.
        ValueError for another ending or weights that the file cannot express, gl.Error where the disk refuses; a failure leaves what
        was there before.

        >>> model.save(folder / "tiny.gguf")
        >>> gl.load(folder / "tiny.gguf").config.hidden
        640
        """
        name = arguments.path(path, "save")
        text = os.fsdecode(name)
        place = Path(text)
        if not text:
            raise ValueError("save: the path is empty")
        if text.endswith(("/", os.sep)) or place.is_dir() or not place.suffix:
            self._core.save_folder(name)
        elif place.suffix.lower() == ".gguf":
            self._core.save_gguf(name)
        elif place.suffix.lower() == ".gem":
            self._core.save_gem(name)
        else:
            raise ValueError(f'save: {text}: expected a name that ends with ".gguf" or ".gem", or a folder ("{text}/")')

    def __str__(self) -> str:
        return described(self)

    def __repr__(self) -> str:
        return f"<Model {self.config.name or self.config.architecture}, {len(self.config.layers)} layers, {size_text(self.parameters, '')} parameters>"


def _transform(function: Callable[[npt.NDArray[np.float32]], Any]) -> Callable[[str, npt.NDArray[np.float32]], Any]:
    def call(name: str, matrix: npt.NDArray[np.float32]) -> Any:
        try:
            return function(matrix)
        except BaseException as error:
            note(error, f"while {name} was quantized")
            raise

    return call
