"""Embedding: the row of each token, times the square root of the width.

The head uses the same table without that factor.
"""

import math


def embed(tokens, table):
    """tokens [row], table [vocabulary, width] -> [row, width]."""
    return table[tokens] * math.sqrt(table.shape[1])
