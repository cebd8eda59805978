"""Engines that do the same work in turns, each in a process of its own.

A Cell says what is done, a Worker does it with one engine and takes the time, an Engine is the other end of the Worker's process.
"""
import multiprocessing
import sys
import time
from dataclasses import dataclass

import numpy as np

import peers

PAUSE = 0.3                                                      # seconds: waiting threads of OpenMP spin for up to 0.2


@dataclass(frozen=True)
class Cell:
    """One line: `prompt` tokens read at once, or else `steps` single ones, by each of `sessions`, after `depth` tokens."""

    name: str
    model: str
    depth: int = 0
    prompt: int = 0
    steps: int = 0
    sessions: int = 1
    rounds: int = 99                                             # no more than these

    def __str__(self):
        what = f"prompt of {self.prompt}" if self.prompt else f"{self.sessions} sessions decode" if self.sessions > 1 else "decode"
        return what + (f" at depth {self.depth}" if self.depth else "")

    @property
    def before(self):
        """Tokens in the cache when the clock starts: a decode step needs one."""
        return self.depth if self.prompt else max(self.depth, 1)

    @property
    def context(self):
        return self.before + (self.prompt or self.steps)

    def cut(self, most):
        """The same with no number of tokens above `most`, to try the program."""
        cut = {key: min(getattr(self, key), most) for key in ("depth", "prompt", "steps")}
        return Cell(self.name, self.model, **cut, sessions=self.sessions, rounds=self.rounds)


class Gemloupe:
    """Ours, with the peers' interface (peers.LlamaCpp); `cache` is of its sessions: f32 or f16."""

    def __init__(self, path, context, threads, sessions=1, cache="f32"):
        self.gl = peers.need("gemloupe")
        self.gl.threads(threads)
        self.model = self.gl.load(str(path))
        self.cache, self.roof = cache, None
        self.open(context, sessions)

    def open(self, context, sessions=1):
        self.context, self.sessions = context, sessions
        self.clear()

    def clear(self):
        self.all = [self.model.session(context=self.context, cache=self.cache) for _ in range(self.sessions)]

    def prefill(self, ids):
        return self.all[0].prefill(np.asarray(ids, np.int32))

    def step(self, token):
        return self.gl.feed([(session, [int(token)]) for session in self.all])

    def keep(self):
        return self.all[0].fork()

    def back(self, kept):
        self.all[0] = kept.fork()

    def limit(self, cell):
        """Tokens a second that this machine allows."""
        self.roof = self.roof or self.gl.measure_roof()
        rows, depth = (cell.prompt, cell.depth) if cell.prompt else (1, cell.before + cell.steps // 2)
        work = self.gl.step_work(self.model, rows, depth, cell.sessions, self.cache)
        return rows * cell.sessions / work.seconds(self.roof, "bf16" if cell.prompt else "exact", self.gl.isa())

    def versions(self):
        return self.model.protocol(roof=vars(self.roof) if self.roof else None)


ENGINES = {"gemloupe": Gemloupe, "llama.cpp": peers.LlamaCpp, "transformers": peers.Transformers}


class Worker:
    """One engine in its process: makes the state a cell begins with, then takes the time of what the cell does."""

    def __init__(self, name, path, contexts, threads, seed, more):
        self.contexts, self.seed = contexts, seed                # contexts: how many sessions need how many tokens each
        self.sessions = next(iter(contexts))
        self.engine = ENGINES[name](path, contexts[self.sessions], threads, self.sessions, **more)
        self.kept = {}                                           # depth: the sequence there

    def ids(self, cell):
        return np.random.default_rng(self.seed).integers(1000, 200_000, cell.context).tolist()  # ordinary ids of every vocabulary

    def begin(self, cell):
        """Sequences of cell.before tokens."""
        ids = self.ids(cell)[:cell.before]
        if self.sessions != cell.sessions:
            self.kept.clear()
            self.engine.open(self.contexts[cell.sessions], cell.sessions)
            self.sessions = cell.sessions
        if len(ids) < 2:
            self.engine.clear()
            for token in ids:
                self.engine.step(token)
        elif cell.before in self.kept:
            self.engine.back(self.kept[cell.before])
        else:
            self.engine.clear()
            self.engine.prefill(ids)
            self.kept[cell.before] = self.engine.keep()

    def seconds(self, cell):
        self.begin(cell)
        ids = self.ids(cell)[cell.before:]
        time.sleep(PAUSE)
        start = time.perf_counter()
        if cell.prompt:
            self.engine.prefill(ids)
        else:
            for token in ids:
                self.engine.step(token)
        return time.perf_counter() - start

    def warm(self, cell):
        """A piece of the same work: it brings weights and the memory of a whole chunk in, and code into caches."""
        self.seconds(Cell(cell.name, cell.model, 0, min(cell.prompt, 512), min(cell.steps, 2), cell.sessions))


def serve(pipe, name, path, contexts, threads, seed, llama, more):
    """Says None when it is ready (or what it lacks), then answers ("seconds" | "warm" | "limit", cell) and ("versions",)."""
    if llama and name == "llama.cpp":
        sys.path.insert(0, llama)
    try:
        worker = Worker(name, path, contexts, threads, seed, more)
        pipe.send(None)
        while (order := pipe.recv()) is not None:
            place = worker if order[0] in ("seconds", "warm") else worker.engine
            pipe.send(getattr(place, order[0])(*order[1:]))
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception as error:                                   # it crosses a process border: every kind has to become text
        pipe.send(str(error) if isinstance(error, peers.Missing) else f"{type(error).__name__}: {error}")


class Engine:
    """The other end of serve."""

    def __init__(self, name, path, cells, options):
        spawn = multiprocessing.get_context("spawn")
        self.name, self.trouble = name, None
        self.pipe, there = spawn.Pipe()
        contexts = {}
        for cell in cells:
            contexts[cell.sessions] = max(contexts.get(cell.sessions, 0), cell.context)
        more = {"cache": options.cache} if name == "gemloupe" else {}
        self.work = spawn.Process(target=serve, daemon=True,
                                  args=(there, name, path, contexts, options.threads, options.seed, options.llama, more))
        self.work.start()
        there.close()
        self.trouble = self.answer()

    def answer(self):
        try:
            return self.pipe.recv()
        except EOFError:
            self.work.join()
            return f"its process ended early, with code {self.work.exitcode}"

    def ask(self, *order):
        """The answer, or None with the reason in `trouble`."""
        if self.trouble:
            return None
        try:
            self.pipe.send(order)
        except OSError:
            pass                                                 # it has ended; answer() says so
        found = self.answer()
        if isinstance(found, str):
            self.trouble = found
            return None
        return found

    def stop(self):
        try:
            self.pipe.send(None)
        except OSError:
            pass
        self.work.join(30)
        if self.work.is_alive():
            self.work.terminate()
        self.pipe.close()
