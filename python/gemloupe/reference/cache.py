"""The cache: keys and values of earlier positions, normed and rotated, kept so that they need not be computed again.

Two facts of Gemma live here. A sliding layer may forget: no later query sees a key `window` positions back. And late layers of
Gemma 4 E2B and E4B own no cache: they read that of the last earlier layer of their kind, at their own queries' positions.
"""

import numpy as np

from .attention import attention


def sources(kinds, shared):
    """For each layer the layer whose cache it reads: itself, or for the last `shared` layers the last owner of its kind."""
    first = len(kinds) - shared
    if not 0 < first <= len(kinds):
        raise ValueError(f"sharing layers: expected 0 to {len(kinds) - 1}, got {shared}")
    owner = {kind: layer for layer, kind in enumerate(kinds[:first])}
    missing = set(kinds) - set(owner)
    if missing:
        raise ValueError(f"sharing layers: no layer before {first} owns a cache of the kind {', '.join(sorted(missing))}")
    return [layer if layer < first else owner[kind] for layer, kind in enumerate(kinds)]


def forget(keys, values, positions, following, window=None):
    """Keeps what a query at position `following` or later can still see."""
    kept = slice(None) if window is None else positions > following - window
    return keys[kept], values[kept], positions[kept]


def in_chunks(queries, keys, values, positions, chunk, scale=1.0, window=None):
    """Attention fed `chunk` positions at a time through a cache.

    Returns what `attention` returns for all positions at once, and the most keys that the cache held between two chunks.
    """
    held = keys[:0], values[:0], positions[:0]
    mixed, most = [], 0
    for start in range(0, len(positions), chunk):
        part = slice(start, start + chunk)
        held = tuple(np.concatenate([old, new[part]]) for old, new in zip(held, (keys, values, positions)))
        mixed.append(attention(queries[part], held[0], held[1], positions[part], held[2], scale, window))
        held = forget(*held, following=positions[part][-1] + 1, window=window)
        most = max(most, len(held[2]))
    return np.concatenate(mixed), most
