"""Trains gem-mini or gem-mini-dense on the books; stops and goes on at any time.

    python training/train.py gem-mini --minutes 60                  steps at a constant rate, saved every few minutes
    python training/train.py gem-mini --resume --minutes 60         goes on from there
    python training/train.py gem-mini --resume --anneal 600         600 more steps while the rate falls to zero; then done

The annealed weights are saved beside the others (annealed.pt), which stay as they were: a later --resume goes on from the
constant rate. SIGTERM and Ctrl-C save before they stop. Everything lies in .cache/training/NAME[-LOSS][-TAG]: state.pt,
annealed.pt, curve.jsonl. A GPU is used where there is one.

--router-loss says what keeps the experts evenly used:
  none    nothing
  switch  Switch Transformer's loss (0.01) and the z-loss of ST-MoE (0.001)
  bias    a bias for each expert, which chooses and never weighs, moved by 0.001 a step against the load (DeepSeek-V3), and
          the z-loss; Gemma 4 has no such bias, so an exported model routes without it: for study
"""

import argparse
import json
import os
import signal
import time

import torch
import torch.nn.functional as F
from architecture import MODELS, fresh
from data import WORK, batches, tokens
from forward import balance, forward
from optimizer import Optimizer

RATES = dict(muon=0.02, table=3e-3, router=3e-3, vector=3e-3)
SWITCH, SQUARE, BIAS = 0.01, 0.001, 0.001
WARMUP = 60
VALIDATION = dict(rows=16, length=256, seed=1, step=0)  # the same windows whatever is trained on
VALIDATION_BATCHES = 4


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("--resume", action="store_true", help="go on from the saved state")
    parser.add_argument("--tag", default="", help="of the folder, to keep runs apart")
    parser.add_argument("--router-loss", choices=["none", "switch", "bias"], default="switch")
    parser.add_argument("--steps", type=int, help="stop after the step of this number")
    parser.add_argument("--minutes", type=float, help="stop after so long")
    parser.add_argument("--anneal", type=int, default=0, help="let the rate fall to zero over so many steps, then stop")
    parser.add_argument("--rows", type=int, help="sequences a step (16 on a CPU, 256 on a GPU)")
    parser.add_argument("--length", type=int, default=256, help="tokens a sequence")
    parser.add_argument("--rate", type=float, default=1.0, help="times all learning rates")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="of the multiplications")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-minutes", type=float, default=4)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    return parser.parse_args()


class Training:
    """One run: the model, its optimizer, the routers' biases and the number of steps done."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.rows = args.rows or (16 if args.device == "cpu" else 256)
        parts = [args.name, "" if args.router_loss == "switch" else args.router_loss, args.tag]
        self.folder = WORK / "-".join(part for part in parts if part)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model = fresh(args.name, args.seed).to(args.device)
        for layer in self.model.model.layers:  # a buffer in Transformers: learned here, stored as a buffer again
            scalar = layer.layer_scalar.clone()
            del layer._buffers["layer_scalar"]
            layer.layer_scalar = torch.nn.Parameter(scalar)
        self.optimizer = Optimizer(dict(self.model.named_parameters()), {k: v * args.rate for k, v in RATES.items()})
        config = self.model.config
        self.slots = config.top_k_experts
        self.biases = None
        if args.router_loss == "bias" and config.enable_moe_block:
            self.biases = torch.zeros(config.num_hidden_layers, config.num_experts, device=args.device)
        self.step = 0
        if args.resume:
            state = torch.load(self.folder / "state.pt", map_location=args.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["rng"].cpu())
            self.step = state["step"]
            if self.biases is not None:
                self.biases.copy_(state["biases"])
        self.loss = self.losses if args.eager else torch.compile(self.losses)

    def losses(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cross-entropy, then of each layer: the Switch loss, the z-loss and the experts' shares (empty without experts)."""
        biases = None if self.biases is None else list(self.biases)
        logits, routes = forward(self.model, batch[:, :-1], getattr(torch, self.args.dtype), biases)
        entropy = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        return (entropy, *balance(routes, self.slots)) if routes else (entropy,)

    def learn(self, batch: torch.Tensor, scale: float) -> dict:
        """One step of the optimizer; what is to be written down about it."""
        entropy, *routing = self.loss(batch)
        total, record = entropy, dict(loss=entropy)
        if routing:
            even, square, shares = routing
            if self.args.router_loss == "switch":
                total = total + SWITCH * even.mean()
            if self.args.router_loss != "none":
                total = total + SQUARE * square.mean()
            record |= dict(balance=even.mean(), z=square.mean(), shares=shares)
            if self.biases is not None:
                self.biases += BIAS * (shares.mean(1, keepdim=True) - shares).sign()
        total.backward()
        self.optimizer.step(scale)
        return {key: value.detach() for key, value in record.items()}

    @torch.no_grad()
    def validation(self, stream) -> dict:
        """Of the same few batches of the validation text: mean nats a token, and the experts' shares. evaluate.py reads all of it."""
        source = batches(stream, **VALIDATION)
        found = [self.losses(torch.from_numpy(next(source)).to(self.args.device)) for _ in range(VALIDATION_BATCHES)]
        record = dict(valid=sum(entropy.item() for entropy, *_ in found) / len(found))
        if len(found[0]) > 1:
            shares = sum(shares for *_, shares in found) / len(found)
            record["shares"] = [[round(x, 4) for x in layer] for layer in shares.tolist()]
        return record

    def save(self, name: str) -> None:
        state = dict(model=self.model.state_dict(), optimizer=self.optimizer.state_dict(), rng=torch.get_rng_state(), step=self.step,
                     biases=self.biases, arguments=vars(self.args))
        partial = self.folder / f"{name}.part"
        torch.save(state, partial)
        os.replace(partial, self.folder / name)

    def log(self, record: dict) -> None:
        plain = {key: round(value, 5) if isinstance(value, float) else value for key, value in record.items()}
        with (self.folder / "curve.jsonl").open("a") as out:
            out.write(json.dumps(plain) + "\n")
        print({key: value for key, value in plain.items() if key != "shares"}, flush=True)


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    run = Training(args)
    if not args.resume:
        (run.folder / "curve.jsonl").unlink(missing_ok=True)
    source = batches(tokens("train"), run.rows, args.length, args.seed, run.step)
    held_out = tokens("valid")
    began = saved = time.monotonic()
    first, cpu = run.step, time.process_time()
    asked_to_stop = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, _: asked_to_stop.append(number))
    while not asked_to_stop:
        done = run.step - first
        late = args.minutes is not None and time.monotonic() - began > 60 * args.minutes
        if late or (done >= args.anneal if args.anneal else args.steps is not None and run.step >= args.steps):
            break
        scale = 1 - done / args.anneal if args.anneal else min(1.0, (run.step + 1) / WARMUP)
        record = run.learn(torch.from_numpy(next(source)).to(args.device), scale)
        run.step += 1
        if run.step % 20 == 0 or run.step < 4:
            wall = time.monotonic() - began
            written = dict(step=run.step, tokens=run.step * run.rows * args.length, rate=scale, seconds=wall,
                           cpu_seconds=time.process_time() - cpu)
            written |= {key: value.item() for key, value in record.items() if key != "shares"}
            if "shares" in record:
                written |= dict(least=record["shares"].min().item(), most=record["shares"].max().item())
            if run.step % 200 == 0:
                written |= run.validation(held_out)
            run.log(written)
        if not args.anneal and time.monotonic() - saved > 60 * args.save_minutes:
            run.save("state.pt")
            saved = time.monotonic()
    run.log(dict(step=run.step, seconds=time.monotonic() - began, annealed=bool(args.anneal)) | run.validation(held_out))
    if not args.anneal:
        run.save("state.pt")
    elif not asked_to_stop:
        run.save("annealed.pt")


if __name__ == "__main__":
    main()
