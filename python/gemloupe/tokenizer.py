"""Text to token ids and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from . import _core, arguments
from .prompts import to_bytes, to_ids


class StreamDecoder:
    """Decodes ids as they come: no piece ends inside a character, and all pieces joined are the text of all ids.

    >>> decoder = tokenizer.stream()
    >>> "".join(decoder.push(i) for i in tokenizer.encode("grün")) + decoder.finish()
    'grün'
    """

    def __init__(self, tokenizer: Tokenizer, special: bool = False) -> None:
        self._core = _core.StreamDecoder(tokenizer._core, special)

    def push(self, token: int) -> str:
        """The text that is certain now; "" while a character is incomplete. ValueError for an id outside the vocabulary.

        >>> tokenizer.stream().push(tokenizer.encode("ü")[0])
        ''
        """
        return self._core.push(arguments.whole(token, "push: token id"))

    def finish(self) -> str:
        """What is still held back. Afterwards a new text may begin.

        >>> decoder = tokenizer.stream()
        >>> decoder.push(tokenizer.encode("ü")[0]), decoder.finish()
        ('', '�')
        """
        return self._core.finish()


class Tokenizer:
    """Text to token ids and back, from a GGUF file, a tokenizer.json or a folder that has one.

    gl.Error where the file is no tokenizer we know.

    >>> tokenizer.decode(tokenizer.encode("Hello"))
    'Hello'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = arguments.path(path, "Tokenizer")
        place = Path(os.fsdecode(name))
        if place.is_dir() and (place / "tokenizer.json").is_file():
            place = place / "tokenizer.json"
        if place.suffix == ".json" and place.is_file():
            config = place.with_name("tokenizer_config.json")
            self._core = _core.tokenizer_from_json(place.read_bytes(), config.read_bytes() if config.is_file() else b"")
            return
        core = _core.tokenizer_from_checkpoint(_core.Checkpoint(name))
        if core is None:
            raise _core.Error(f"{place}: there is no tokenizer in it")
        self._core = core

    @classmethod
    def _of(cls, core: _core.Tokenizer) -> Tokenizer:
        tokenizer = cls.__new__(cls)
        tokenizer._core = core
        return tokenizer

    def encode(self, text: str | bytes, special: bool = False, bos: bool = False) -> list[int]:
        """Token ids of a text.

        special: whether control tokens such as "<bos>" are recognised in the text; without it no text gives one.
        bos: puts BOS first, unless special is on and the text already begins with it.
        Bytes need not be valid UTF-8. ValueError for a str with lone surrogates.

        >>> tokenizer.encode("Hello", bos=True)[0] == tokenizer.bos
        True
        """
        return self._core.encode(to_bytes(text), bool(special), bool(bos))

    def decode(self, ids: Sequence[int] | npt.NDArray[Any], special: bool = False) -> str:
        """The text of token ids; with special, control tokens are printed as their pieces.

        ValueError for an id outside the vocabulary.

        >>> tokenizer.decode([tokenizer.bos], special=True)
        '<bos>'
        """
        return self._core.decode(to_ids(ids, "decode"), bool(special))

    def stream(self, special: bool = False) -> StreamDecoder:
        """A decoder for ids that come one by one.

        >>> tokenizer.stream().push(tokenizer.encode("a")[0])
        'a'
        """
        return StreamDecoder(self, special)

    def piece(self, token: int) -> str:
        """The token as the vocabulary spells it. ValueError outside the vocabulary.

        >>> tokenizer.piece(tokenizer.bos)
        '<bos>'
        """
        return self._core.piece(arguments.whole(token, "piece: token id"))

    def token_bytes(self, token: int) -> bytes:
        """What the token adds to a text, before UTF-8 is repaired.

        >>> tokenizer.token_bytes(tokenizer.encode("a")[0])
        b'a'
        """
        return self._core.token_bytes(arguments.whole(token, "token_bytes: token id"))

    def id_of(self, piece: str) -> int | None:
        """The id of a piece, None where there is none.

        >>> tokenizer.id_of("<bos>") == tokenizer.bos
        True
        """
        return self._core.id_of(arguments.word(piece, "id_of"))

    def is_control(self, token: int) -> bool:
        """Whether the token has no text of its own (control and unknown tokens).

        >>> tokenizer.is_control(tokenizer.bos)
        True
        """
        return self._core.is_control(arguments.whole(token, "is_control: token id"))

    def __len__(self) -> int:
        return self._core.size

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return self._core.size

    @property
    def bos(self) -> int:
        """The id that begins a sequence, -1 where there is none."""
        return self._core.bos

    @property
    def eos(self) -> int:
        """The id that ends a sequence, -1 where there is none."""
        return self._core.eos

    @property
    def pad(self) -> int:
        """The id that fills unused places, -1 where there is none."""
        return self._core.pad

    @property
    def unk(self) -> int:
        """The id of what cannot be spelled, -1 where there is none."""
        return self._core.unk

    @property
    def add_bos(self) -> bool:
        """Whether texts for this vocabulary begin with BOS."""
        return self._core.add_bos

    @property
    def ends(self) -> list[int]:
        """The ids that end a generation."""
        return self._core.ends

    def __repr__(self) -> str:
        return f"<Tokenizer {self._core.name}, {self.size} tokens>"
