"""What users give as text or token ids, made into what the core takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

Text: TypeAlias = "str | bytes"  # where a property called bytes hides the type
Raw: TypeAlias = bytes
Ids: TypeAlias = "npt.NDArray[np.int32]"
Prompt: TypeAlias = "str | bytes | Sequence[int] | npt.NDArray[Any]"


def to_bytes(text: str | bytes, where: str = "text") -> bytes:
    """UTF-8 of a str; bytes as they are, valid or not."""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise TypeError(f"{where}: expected str or bytes, got {type(text).__name__}")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: character {error.start} is half of a surrogate pair, which is no text; "
                         "give bytes to pass anything as it is") from None


def to_ids(ids: object, where: str = "tokens") -> Ids:
    """Token ids as int32; whether the vocabulary has them is checked by the core."""
    if ids is None or isinstance(ids, (str, bytes, Mapping, set)):
        raise ValueError(f"{where}: token ids must be one flat list, got {type(ids).__name__}")
    try:
        array = np.asarray(ids)
    except ValueError as error:
        raise ValueError(f"{where}: token ids must be one flat list: {error}") from None
    if array.size == 0:
        array = array.astype(np.int32)
    if array.ndim != 1:
        raise ValueError(f"{where}: token ids must be one flat list, got {array.ndim} dimensions")
    if array.dtype.kind not in "iu":
        raise ValueError(f"{where}: token ids must be whole numbers, got {array.dtype}")
    if array.size and not (-(2**31) <= int(array.min()) and int(array.max()) < 2**31):
        raise ValueError(f"{where}: token id {max(int(array.max()), -int(array.min()))} is in no vocabulary")
    return cast("Ids", np.ascontiguousarray(array, dtype=np.int32))


def is_text(prompt: object) -> bool:
    """Whether a prompt still has to be encoded."""
    return isinstance(prompt, (str, bytes))


def encode_prompt(tokenizer: Tokenizer | None, prompt: Prompt, *, special: bool, bos: bool, where: str = "prompt") -> Ids:
    """The ids of a prompt: text is encoded (BOS first if `bos` and the vocabulary wants one), ids stay as they are."""
    if isinstance(prompt, (str, bytes)):
        if tokenizer is None:
            raise ValueError(f"{where}: this model brings no tokenizer; give token ids instead of text")
        return to_ids(tokenizer.encode(prompt, special=special, bos=bos and tokenizer.add_bos), where)
    return to_ids(prompt, where)
