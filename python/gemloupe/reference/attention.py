"""Grouped-query attention: a weighted mean of values, the weights being a softmax over the visible keys.

Query head j reads the key-value head j // (heads / kv_heads). Sliding and full layers differ in the window only. The scale is
1 in Gemma 4, whose keys and queries are normed, and query_pre_attn_scalar^(-1/2) in Gemma 3.
"""

import numpy as np


def visible(query, key, window=None):
    """A query sees itself and what came before, at most `window` positions in all. Broadcasts."""
    seen = key <= query
    return seen if window is None else seen & (key > query - window)


def softmax(scores):
    """Over the last axis; minus infinity gets no weight."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def attention(queries, keys, values, query_positions, key_positions, scale=1.0, window=None):
    """queries [row, heads, d], keys and values [key, kv_heads, d], positions [row] and [key] -> [row, heads, d]."""
    rows, heads, head_dim = queries.shape
    kv_heads = keys.shape[1]
    grouped = queries.reshape(rows, kv_heads, heads // kv_heads, head_dim)
    scores = np.einsum("tjgd,sjd->jgts", grouped, keys) * scale
    seen = visible(query_positions[:, None], key_positions[None, :], window)
    weights = softmax(np.where(seen, scores, -np.inf))
    return np.einsum("jgts,sjd->tjgd", weights, values).reshape(rows, heads, head_dim)
