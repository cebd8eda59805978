"""A sequence being read or written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core, arguments
from .graph import Edit, edit_caller
from .prompts import Ids, Prompt, encode_prompt
from .run import Run
from .sampling import Generated, Options, Stream, Writer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .model import Model


def wanted_rows(logits: str | int | None, rows: int) -> int:
    """How many of the last rows' logits "last", "all", None or a number means."""
    if logits is None or logits == "none":
        return 0
    if logits == "last":
        return min(1, rows)
    if logits == "all":
        return rows
    if isinstance(logits, (int, np.integer)) and not isinstance(logits, bool):
        return arguments.whole(logits, "logits")
    raise ValueError(f'logits: expected "last", "all", None or how many of the last rows, got {logits!r}')


MOST_LOGITS = 8 << 30  # bytes that one run may return without being asked twice


class Session:
    """A sequence: the tokens it has seen and the caches kept for it. Model.session makes one.

    Many sessions may advance in one step (gl.feed); what one computes never depends on the others, nor on how its tokens
    are cut into feeds.

    >>> session = model.session()
    >>> session.feed([2, 10, 20]).shape, session.position
    ((300,), 3)
    """

    def __init__(self, model: Model, core: _core.Session) -> None:
        self.model = model
        self._core = core

    @property
    def position(self) -> int:
        """How many tokens it has seen."""
        return self._core.position

    @property
    def tokens(self) -> list[int]:
        """The tokens it has seen."""
        return self._core.tokens

    @property
    def arithmetics(self) -> list[tuple[str, int]]:
        """In which arithmetic its tokens were read: (name, how many tokens), in order.

        >>> session = model.session()
        >>> _, _ = session.prefill([2, 10, 20]), session.feed([30])
        >>> session.arithmetics
        [('bf16', 3), ('exact', 1)]
        """
        return self._core.arithmetics

    def _past(self) -> dict[str, object]:
        """What a protocol must say of the tokens before: {} or {"past": "bf16 x3, exact x1"}."""
        past = ", ".join(f"{name} x{count}" for name, count in self.arithmetics)
        return {"past": past} if past else {}

    @property
    def context(self) -> int:
        """The most tokens it can hold."""
        return self._core.context

    @property
    def chunk(self) -> int:
        """The most rows of it that one step computes."""
        return self._core.chunk

    @property
    def bytes(self) -> int:
        """The size of its caches when full; memory is taken as it is used."""
        return self._core.bytes

    def _ids(self, prompt: Prompt) -> Ids:
        return encode_prompt(self.model.tokenizer, prompt, special=True, bos=self.position == 0)

    def feed(self, tokens: Prompt, logits: str | int | None = "last", arithmetic: str = "exact") -> npt.NDArray[np.float32]:
        """Reads ids or text (BOS first at the beginning of the sequence) and returns logits, float32.

        logits: "last" gives [vocabulary]; "all" or a number n gives those of the last rows, [n, vocabulary]; None [0, vocabulary].
        arithmetic: "exact", "bf16" or "int8"; how many tokens come never decides. What one arithmetic gives does not depend on
        others in the step or the past's chunks, but the past was read in some arithmetic, too: see arithmetics.
        ValueError for ids outside the vocabulary, no tokens, or more than the context holds; the session is then as before. After a
        KeyboardInterrupt it has read whole chunks, and position says how many tokens: feed the rest to go on.

        >>> session = model.session()
        >>> session.feed([2, 10, 20], logits="all").shape
        (3, 300)
        """
        ids = self._ids(tokens)
        result = _core.feed([(self._core, ids, wanted_rows(logits, len(ids)), arguments.word(arithmetic, "arithmetic"))])[0]
        return result[0] if logits == "last" else result

    def prefill(self, tokens: Prompt, logits: str | int | None = "last", arithmetic: str = "bf16") -> npt.NDArray[np.float32]:
        """Reads a prompt: feed in the arithmetic for prompts, several times as fast on long ones.

        bf16 rounds activations and weights to bfloat16 inside every product (sums, residuals and caches stay float32), which moves
        the next-token distribution by about 1e-4 nats. Where that matters use feed, whose default is exact. Both may follow each
        other in one session.

        >>> session = model.session()
        >>> session.prefill([2, 10, 20]).shape, session.feed([30]).shape
        ((300,), (300,))
        """
        return self.feed(tokens, logits, arithmetic)

    def run(self, tokens: Prompt, record: str | Sequence[str] = (), edit: Mapping[str, Edit] | None = None,
            inputs: Mapping[str, npt.ArrayLike] | None = None, arithmetic: str = "exact", logits: str | int | None = "all") -> Run:
        """Reads ids or text as feed does, in one step, and watches: see Model.run. The tokens must fit into one chunk.

        >>> session = model.session()
        >>> _ = session.feed([2, 10])
        >>> session.run([20], record="layers.0.mid")["layers.0.mid"].shape
        (1, 640)
        """
        ids = self._ids(tokens)
        patterns = arguments.words(record, "record", "a pattern of names")
        edit = arguments.mapping({} if edit is None else edit, "edit", "a dict {pattern: callable}")
        inputs = arguments.mapping({} if inputs is None else inputs, "inputs", "a dict {name: array}")
        arguments.word(arithmetic, "arithmetic")
        edits = [(pattern, edit_caller(function)) for pattern, function in edit.items()]
        wanted = wanted_rows(logits, len(ids))
        size = 4 * wanted * self.model.config.vocabulary
        if size > MOST_LOGITS:
            raise ValueError(f"run: the logits of {wanted} rows would take {size / 1e9:.1f} GB; ask for fewer with logits=\"last\" or logits=n, "
                             "or measure a long text with perplexity()")
        protocol = self.model.protocol(arithmetic=arithmetic, edited=list(edit), given=list(inputs), **self._past())
        values, recorded = self._core.run(ids, wanted, arithmetic, patterns, edits, dict(inputs))
        return Run(ids, values, recorded, protocol)

    def fork(self) -> Session:
        """A session of its own with the same past.

        >>> session = model.session()
        >>> _ = session.feed([2, 10])
        >>> session.fork().tokens
        [2, 10]
        """
        return Session(self.model, self._core.fork())

    def rewind(self, n: int) -> None:
        """Forgets the last n tokens, exactly: what follows is as if they had never come.

        ValueError for more tokens than there are, and where a sliding cache has lost what an edited session cannot read again.

        >>> session = model.session()
        >>> _ = session.feed([2, 10, 20])
        >>> session.rewind(2)
        >>> session.position
        1
        """
        self._core.rewind(arguments.whole(n, "rewind"))

    def clear(self) -> None:
        """Forgets everything.

        >>> session = model.session()
        >>> _ = session.feed([2])
        >>> session.clear()
        >>> session.position
        0
        """
        self._core.clear()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the session to a file, which model.session(path) reads. gl.Error where the disk refuses.

        >>> session = model.session()
        >>> _ = session.feed([2, 10])
        >>> session.save(folder / "session")
        >>> model.session(folder / "session").position
        2
        """
        self._core.save(arguments.path(path, "save"))

    def _writer(self, prompt: Prompt, options: Options) -> Writer:
        model = self.model
        return Writer([self], [self._ids(prompt)], model.tokenizer, model.ends, model.config.suppress, options)

    def stream(self, prompt: Prompt = (), **options: Unpack[Options]) -> Stream:
        """Continues the sequence after a prompt (which may be empty) and gives pieces of text; options as in Model.generate.

        >>> session = model.session()
        >>> _ = session.feed([2, 10])
        >>> stream = session.stream([20], max_tokens=2)
        >>> _ = list(stream)
        >>> len(stream.tokens)
        2
        """
        return Stream(self._writer(prompt, options))

    def generate(self, prompt: Prompt = (), **options: Unpack[Options]) -> Generated:
        """Continues the sequence to the end and gives the text with its tokens; options as in Model.generate.

        >>> model.session().generate([2, 10], max_tokens=2).finish
        'length'
        """
        writer = self._writer(prompt, options)
        while not writer.done:
            writer.step()
        return writer.result(0)

    def __repr__(self) -> str:
        return f"<Session at {self.position} of {self.context}>"


def feed(feeds: Sequence[tuple[Session, Prompt]], logits: str | int | None = "last",
         arithmetic: str | Sequence[str] = "exact") -> list[npt.NDArray[np.float32]]:
    """Reads (session, ids or text) pairs together, many sessions in each step, and returns the logits of each.

    The bits are those of feeding each one alone. arithmetic: of all, or a list with one for each pair, so that some may read
    prompts in "bf16" while others decode. Shapes, errors and interruption as in Session.feed.

    >>> a, b = model.session(), model.session()
    >>> [x.shape for x in gl.feed([(a, [2, 10]), (b, [2, 10, 20])])]
    [(300,), (300,)]
    """
    names = arguments.words(arithmetic, "arithmetic")
    if isinstance(arithmetic, str):
        names *= len(feeds)
    if len(names) != len(feeds):
        raise ValueError(f"arithmetic: expected one name, or one for each of {len(feeds)} feeds, got {len(names)}")
    lists: list[tuple[Any, Ids, int, str]] = []
    for i, (pair, name) in enumerate(zip(feeds, names)):
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], Session)):
            raise TypeError(f"feed {i}: expected a pair (session, ids or text), got {pair!r:.60}")
        session, tokens = pair
        ids = session._ids(tokens)
        lists.append((session._core, ids, wanted_rows(logits, len(ids)), name))
    results = _core.feed(lists)
    return [result[0] for result in results] if logits == "last" else results
