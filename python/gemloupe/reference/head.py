"""The head: the last norm, the embedding table once more (or a table of its own), and in Gemma 4 a soft cap.

    logits = cap * tanh(scores / cap)

which keeps every logit within the cap and the order of all of them.
"""

import numpy as np


def soft_cap(scores, cap):
    """cap None leaves the scores alone."""
    return scores if cap is None else cap * np.tanh(scores / cap)
