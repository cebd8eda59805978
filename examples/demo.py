"""A look at the real Gemma 3 270M in one screenful: it writes, it is measured, it is opened, and one thing in it is changed.

`make demo` runs this. `--path` only prints where the model's file lies.
"""
import resource
import sys
import time
from pathlib import Path

import numpy as np

import gemloupe as gl

PROMPT = "The best thing about a magnifying glass is"
TEXT = Path(__file__).with_name("text.txt").read_text(encoding="utf-8")
BOLD, PLAIN = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")


def heading(words: str) -> None:
    print(f"\n{BOLD}{words}{PLAIN}", flush=True)


def seconds(begin: float) -> str:
    return f"{time.monotonic() - begin:.1f} s"


def peak_memory() -> str:
    """The most memory that was resident at once. Mapped weights count: they are the model."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6:.0f} MB"


def main() -> None:
    begin = time.monotonic()
    model = gl.load("gemma3-270m")
    if "--path" in sys.argv:
        print(model.path)
        return
    machine = gl.system()
    print(f"{BOLD}gemloupe {gl.__version__}{PLAIN}, {machine['isa']}, {machine['threads']} threads."
          " Gemma is provided under and subject to the Gemma Terms of Use: ai.google.dev/gemma/terms")
    print("\n".join(line for line in str(model).splitlines() if not line.lstrip().startswith("sizes")))

    heading(f"It writes (opened in {seconds(begin)})")
    print(PROMPT, end="", flush=True)
    stream, times = model.stream(PROMPT, max_tokens=48), []
    for piece in stream:
        times.append(time.monotonic())
        print(piece.replace("\n", " "), end="", flush=True)
    rate = (len(stream.tokens) - 1) / (times[-1] - times[0])
    print(f"\n  {rate:.1f} tokens/s, weights packed as in the file, peak memory {peak_memory()}")

    heading("It is measured: on examples/text.txt, which was written for this")
    begin = time.monotonic()
    print(f"  {model.perplexity(TEXT)}, {seconds(begin)}")

    heading('It is opened: model.run(text, record="layers.5.*", edit={"layers.5.mid": …})')
    plain = model.run(PROMPT, record="layers.5.*")
    halved = model.run(PROMPT, record="layers.5.out", edit={"layers.5.mid": lambda x: 0.5 * x})
    for name in ("attn.q_rope", "attn.cache.keys", "attn.mix", "mid", "ffn.act", "out"):
        value = plain[f"layers.5.{name}"]
        note = f"   (norm {np.linalg.norm(halved['layers.5.out']):.5g} with half of mid)" if name == "out" else ""
        print(f"  layers.5.{name:16} {str(value.dtype)} {str(list(value.shape)):14} norm {np.linalg.norm(value):.5g}{note}")

    heading('One thing is changed: model.quantize({"layers.*.ffn.*": gl.grid(bits=3, group=64)})')
    begin = time.monotonic()
    small = model.quantize({"layers.*.ffn.*": gl.grid(bits=3, group=64)})
    packed = seconds(begin)
    begin = time.monotonic()
    difference = gl.compare(model, small, TEXT)
    print("\n".join(f"  {line}" for line in str(difference).splitlines()))
    print(f"  packed in {packed}, compared in {seconds(begin)}, peak memory {peak_memory()} with both models")


if __name__ == "__main__":
    try:
        main()
    except gl.Error as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
