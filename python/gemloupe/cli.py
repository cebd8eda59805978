"""The command line: gemloupe inspect, generate, perplexity, compare, bench."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

import gemloupe as gl

from . import _core, packaged
from .description import size_text

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Look inside a Gemma, change one thing, measure what that did.")

ModelPath = Annotated[str, typer.Argument(help='A .gguf or .gem file, a folder of safetensors, or "gemma3-270m".')]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Measured = Annotated[str, typer.Option("--arithmetic", help="exact, bf16 (fast) or int8.")]
Context = Annotated[int, typer.Option(help="Tokens of a chunk.")]
TextFile = Annotated[str, typer.Argument(help='A text file; "-" reads standard input.')]


def show_version(wanted: bool) -> None:
    if wanted:
        print(gl.__version__)
        raise typer.Exit


@app.callback()
def settings(
    isa: Annotated[Optional[str], typer.Option(help="reference, avx2, avx512 or amx.")] = None,
    threads: Annotated[Optional[int], typer.Option(help="How many threads share the work.")] = None,
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    if isa is not None:
        gl.isa(isa)
    if threads is not None:
        gl.threads(threads)


def read_text(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise gl.Error(f"{path}: {error.strerror}; expected a text file") from None


def print_json(value: object) -> None:
    """JSON has no infinities and no NaN: they become null."""
    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {str(k): plain(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)):
            return [plain(v) for v in x]
        return None if isinstance(x, float) and not math.isfinite(x) else x

    print(json.dumps(plain(value), ensure_ascii=False, indent=1))


def shortened(value: object, width: int = 90) -> str:
    if isinstance(value, list) and len(value) > 6:
        value = f"[{', '.join(repr(v) for v in value[:4])}, … {len(value)} entries]"
    text = value if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= width else text[:width - 1] + "…"


@app.command()
def inspect(file: ModelPath, tensors: Annotated[bool, typer.Option(help="List every tensor.")] = False, as_json: AsJson = False) -> None:
    """Shows what a GGUF or safetensors file holds, Gemma or not."""
    from rich.console import Console
    from rich.table import Table

    path = packaged.path_of(file) if file in packaged.NAMES and not Path(file).exists() else Path(file)
    checkpoint = _core.Checkpoint(str(path))
    every = checkpoint.tensors
    by_type: dict[str, list[int]] = {}
    for _, kind, shape, count in every:
        entry = by_type.setdefault(kind, [0, 0, 0])
        entry[0] += 1
        entry[1] += math.prod(shape)
        entry[2] += count
    model: gl.Model | None = None
    reason = ""
    try:
        model = gl.load(path)
    except (gl.Error, ValueError) as error:
        reason = str(error)
    if as_json:
        config = checkpoint.config_json
        print_json({
            "path": str(path), "kind": checkpoint.kind, "metadata": checkpoint.metadata, "config": json.loads(config) if config else None,
            "types": {kind: dict(zip(("tensors", "numbers", "bytes"), entry)) for kind, entry in by_type.items()},
            "tensors": [dict(zip(("name", "type", "shape", "bytes"), t)) for t in every],
            "model": str(model) if model is not None else None, "not_a_model": reason or None,
        })
        return
    console = Console(highlight=False)
    console.print(str(model) if model is not None else f"no model we can run: {reason}", markup=False, soft_wrap=True)
    table = Table("metadata", "value", title=f"{path.name}: {checkpoint.kind}, {len(every)} tensors", title_justify="left")
    for key, value in checkpoint.metadata.items():
        table.add_row(shortened(key), shortened(value))
    if checkpoint.metadata:
        console.print(table)
    kinds = Table("type", "tensors", "numbers", "bytes")
    for kind, (count, numbers, size) in sorted(by_type.items(), key=lambda item: -item[1][2]):
        kinds.add_row(shortened(kind), str(count), f"{numbers:,}", size_text(size))
    console.print(kinds)
    if tensors:
        listing = Table("tensor", "type", "shape", "bytes")
        for name, kind, shape, size in every:
            listing.add_row(shortened(name), shortened(kind), str(list(shape)), size_text(size))
        console.print(listing)


@app.command()
def generate(
    model: ModelPath,
    prompt: Annotated[str, typer.Argument(help='The text to continue; "-" reads standard input.')],
    max_tokens: Annotated[int, typer.Option("--max-tokens", "-n")] = 128,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, repetition_penalty: float = 1.0, seed: int = 0,
    stop: Annotated[Optional[list[str]], typer.Option(help="A text that ends the sequence; may be given several times.")] = None,
    prompt_arithmetic: Annotated[str, typer.Option(help="How the prompt is read: bf16 (fast), exact or int8.")] = "bf16",
    arithmetic: Annotated[str, typer.Option(help="How the written tokens are read: exact, bf16 or int8.")] = "exact",
    as_json: AsJson = False,
) -> None:
    """Continues a text."""
    loaded = gl.load(model)
    text = read_text("-") if prompt == "-" else prompt
    begin = time.monotonic()
    stream = loaded.stream(text, max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
                           repetition_penalty=repetition_penalty, seed=seed, stop=stop or [],
                           prompt_arithmetic=prompt_arithmetic, arithmetic=arithmetic)
    for piece in stream:
        if not as_json:
            print(piece, end="", flush=True)
    seconds = time.monotonic() - begin
    if as_json:
        print_json({"text": stream.text, "tokens": stream.tokens, "finish": stream.finish, "seconds": seconds, "protocol": stream.protocol})
    else:
        print()
        print(f"{len(stream.tokens)} tokens, {len(stream.tokens) / seconds:.1f} tokens/s, ended by {stream.finish}", file=sys.stderr)


@app.command()
def perplexity(model: ModelPath, text: TextFile, context: Context = 512, arithmetic: Measured = "exact", as_json: AsJson = False) -> None:
    """How well a model foretells a text."""
    result = gl.load(model).perplexity(read_text(text), context=context, arithmetic=arithmetic)
    if as_json:
        print_json({"perplexity": result.value, "standard_error": result.standard_error, "nll": result.nll,
                    "tokens_scored": result.tokens_scored, "protocol": result.protocol})
    else:
        print(result)


@app.command()
def compare(base: ModelPath, other: ModelPath, text: TextFile, context: Context = 512, arithmetic: Measured = "exact",
            as_json: AsJson = False) -> None:
    """How far two models' predictions lie apart on a text, and where they part first."""
    result = gl.compare(gl.load(base), gl.load(other), [read_text(text)], context=context, arithmetic=arithmetic)
    if as_json:
        print_json(result.to_dict())
    else:
        print(result)


@app.command()
def bench(
    model: ModelPath,
    prompt: Annotated[int, typer.Option(help="Tokens of the prompt; 0 for none.")] = 512,
    decode: Annotated[int, typer.Option(help="Decode steps; 0 for none.")] = 32,
    depth: Annotated[int, typer.Option(help="Tokens in the cache before either.")] = 0,
    sessions: Annotated[int, typer.Option(help="Sequences that decode together.")] = 1,
    arithmetic: Annotated[str, typer.Option(help="Of the prompt: bf16, exact or int8.")] = "bf16",
    rounds: Annotated[int, typer.Option(help="The median of so many.")] = 3,
    cache: Annotated[str, typer.Option(help="f32 or f16.")] = "f32",
    chunk: Annotated[int, typer.Option(help="The most rows of one step; 0 for the default.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the random ids.")] = 0,
    json_file: Annotated[Optional[str], typer.Option("--json", help='Write JSON to this file; "-" prints it.')] = None,
) -> None:
    """How fast a model runs, beside how fast this machine could run it."""
    kept = None if json_file in (None, "-") else open(str(json_file), "w", encoding="utf-8")  # a bad path shows before the minutes pass
    result = gl.bench(model, prompt=prompt, decode=decode, depth=depth, sessions=sessions, arithmetic=arithmetic, rounds=rounds,
                      cache=cache, chunk=chunk, seed=seed)
    if json_file == "-":
        print_json(result.to_dict())
        return
    print(result)
    if kept is not None:
        with kept:
            kept.write(result.to_json() + "\n")


def main() -> None:
    """Runs the command; what goes wrong is one line and the exit status 1 (2 where the command line itself is wrong)."""
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except (gl.Error, ValueError, OSError, MemoryError) as error:
        text = str(error) or type(error).__name__
        print("gemloupe: " + " ".join(text.split()), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("gemloupe: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
