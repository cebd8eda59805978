"""A folder with config.json and safetensors files, read with nothing but NumPy.

A safetensors file is the length of a header (8 bytes), the header in JSON (name -> type, shape, range of bytes), and the bytes.
"""

import json
from pathlib import Path

import numpy as np

from .config import read
from .names import weights

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def tensors(path):
    """One safetensors file -> {name: array}; BF16 comes out as float32."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        raw = data[start + entry["data_offsets"][0]:start + entry["data_offsets"][1]]
        if entry["dtype"] == "BF16":
            # A bfloat16 is the upper half of the float32 of the same value.
            flat = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        elif entry["dtype"] in TYPES:
            flat = np.frombuffer(raw, TYPES[entry["dtype"]])
        else:
            raise ValueError(f"{path}: {name}: expected one of BF16, {', '.join(TYPES)}, got {entry['dtype']}")
        found[name] = flat.reshape(entry["shape"])
    return found


def load(folder):
    """(Config, weights by our names) of a folder as Hugging Face keeps it, in one file or in shards."""
    folder = Path(folder)
    config = read(json.loads((folder / "config.json").read_text()))
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= tensors(path)
    return config, weights(found, config)
