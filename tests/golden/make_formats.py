"""Writes formats.bin: blocks of every quantized type with the floats that the `gguf` package unpacks them to, and floats with
the blocks that it packs them to. Run: python tests/golden/make_formats.py

A record is: u8 length and name, u8 kind (0 unpack, 1 pack), u32 bytes, u32 floats, the bytes, the float32 values.
"""

import struct
from pathlib import Path

import gguf
import numpy as np

rng = np.random.default_rng(20260101)
ODD_HALVES = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x3555], np.uint16)
# Where the half-precision factors lie in a block.
FACTORS = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
    "Q5_K": [0, 2], "Q6_K": [208], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ1_S": [0],
    "IQ1_M": [], "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [], "NVFP4": [], "BF16": [], "F16": [],
}  # fmt: skip


def record(kind, name, data, values):
    data, values = np.ascontiguousarray(data).tobytes(), np.ascontiguousarray(values, np.float32).tobytes()
    head = struct.pack("<B", len(name)) + name.encode() + struct.pack("<BII", kind, len(data), len(values) // 4)
    return head + data + values


def blocks_of(name):
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    count = max(8, 1024 // elements)
    if name in ("F16", "BF16"):
        return np.arange(0, 65536, 37, dtype=np.uint16).view(np.uint8)
    blocks = rng.integers(0, 256, (count, size), np.uint8)
    for place in FACTORS[name]:
        halves = rng.normal(0, 0.1, count).astype(np.float16).view(np.uint16)
        odd = rng.permutation(ODD_HALVES)[: count // 4]
        halves[: len(odd)] = odd
        blocks[:, place : place + 2] = halves.view(np.uint8).reshape(-1, 2)
    if name in ("MXFP4", "NVFP4"):
        edges = [0, 1, 2, 126, 127, 128, 254, 255]
        blocks[: len(edges), 0] = edges
    if name == "IQ1_M":  # a finite factor, in all blocks but the last
        blocks[:-1, 55] &= 0x3F
    return blocks


def main():
    out = b""
    with np.errstate(all="ignore"):
        for name in FACTORS:
            blocks = blocks_of(name)
            values = gguf.quants.dequantize(blocks.reshape(1, -1), gguf.GGMLQuantizationType[name])
            out += record(0, name, blocks, values)
        x = rng.normal(0, 0.02, 2048).astype(np.float32)
        x[256:512] *= 100
        x[512:544] = 0
        x[544:576] = np.float32(0.25)
        x[576:608] = -np.abs(x[576:608])
        x[1024:] = np.round(x[1024:] * 300) / 256  # many ties and repeated extremes
        for name in ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0"]:
            out += record(1, name, gguf.quants.quantize(x.reshape(1, -1), gguf.GGMLQuantizationType[name]), x)
    Path(__file__).with_name("formats.bin").write_bytes(out)
    print(len(out), "bytes")


if __name__ == "__main__":
    main()
