"""Writes tables.cpp: the books of vectors of the IQ types, from the `gguf` Python package.

The vectors are part of the formats' definition (published with llama.cpp, ggml-common.h). Each becomes one 16-bit word: the
fields are indices into the type's few magnitudes, the first element lowest. Run: python kernels/codes/make_tables.py
"""

from pathlib import Path

import numpy as np
from gguf import quants

BOOKS = [
    ("kIq2XxsBook", quants.IQ2_XXS),
    ("kIq2XsBook", quants.IQ2_XS),
    ("kIq2SBook", quants.IQ2_S),
    ("kIq3XxsBook", quants.IQ3_XXS),
    ("kIq3SBook", quants.IQ3_S),
    ("kIq1Book", quants.IQ1_S),
]


def words(kind):
    kind.init_grid()
    vectors = kind.grid.reshape(kind.grid_shape)
    field = 16 // vectors.shape[1]
    index = np.searchsorted(np.array(kind.grid_map, np.float32), vectors).astype(np.uint16)
    assert np.array_equal(np.array(kind.grid_map, np.float32)[index], vectors)
    return np.bitwise_or.reduce(index << (field * np.arange(vectors.shape[1], dtype=np.uint16)), axis=1)


out = [
    "// Written by make_tables.py from the `gguf` Python package; over 400 lines because it is a table.",
    '#include "kernels/codes/tables.h"',
    "",
    "namespace gemloupe::codes {",
]
for name, kind in BOOKS:
    values = [f"0x{w:04x}," for w in words(kind)]
    out += ["", f"const uint16_t {name}[{len(values)}] = {{"]
    out += ["    " + " ".join(values[i : i + 15]) for i in range(0, len(values), 15)]
    out += ["};"]
out += ["", "}  // namespace gemloupe::codes", ""]
Path(__file__).with_name("tables.cpp").write_text("\n".join(out))
