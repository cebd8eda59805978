"""Short runs of each router loss, side by side: curves, loads and routing by kind of token, in training/runs/router-losses.json
and as a picture beside it.

    python training/short_runs.py --steps 100

From the same weights over the same batches; only the loss differs. Small and short: it shows how the methods behave at the
beginning.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from architecture import fresh
from data import WORK, batches, tokens
from evaluate import Routing, kinds_of_vocabulary
from forward import forward
from pictures import losses_compared
from tokenizer import tokenizer_path
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
LOSSES = ("none", "switch", "bias")
READ = 8  # batches of validation text over which routing is counted


@torch.no_grad()
def routing(folder: Path) -> dict:
    """What the routers of a run do with validation text; a run with biases routes with them."""
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    model = fresh("gem-mini")
    model.load_state_dict(state["model"])
    counts = Routing(model.config, kinds_of_vocabulary(Tokenizer.from_file(str(tokenizer_path()))))
    source = batches(tokens("valid"), 16, 256, 1, 0)
    for _ in range(READ):
        ids = torch.from_numpy(next(source))[:, :-1]
        counts.add(ids, forward(model, ids, biases=None if state["biases"] is None else list(state["biases"]))[1])
    return counts.found()


def table(found: dict) -> str:
    rows = ["| loss | validation, nats a token | least and most load of an expert | dead of 96 | bits about the kind of token |",
            "| --- | ---: | ---: | ---: | ---: |"]
    for loss, run in found.items():
        routing = run["routing"]
        told = routing["bits_about_kind"]
        rows.append(f"| {loss} | {run['validation_nats']:.3f} | {routing['least_load']:.2%}, {routing['most_load']:.1%} | {run['dead']} | "
                    f"{min(told):.2f} to {max(told):.2f} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--read", action="store_true", help="only gather what ran before")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for loss in LOSSES:
        folder = WORK / "-".join(part for part in ("gem-mini", "" if loss == "switch" else loss, "short") if part)
        if not args.read:
            subprocess.run([sys.executable, HERE / "train.py", "gem-mini", "--tag", "short", "--router-loss", loss, "--eager", "--steps",
                            str(args.steps), "--rows", str(args.rows)], check=True)
        lines = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
        counted = routing(folder)
        keep = ("step", "tokens", "loss", "balance", "z", "least", "most")
        found[loss] = dict(
            steps=lines[-1]["step"], validation_nats=lines[-1]["valid"],
            dead=sum(share < 0.1 / len(layer) for layer in counted["load"] for share in layer), routing=counted,
            curve=[{key: line[key] for key in keep} for line in lines if "tokens" in line])
    runs = HERE / "runs"
    runs.mkdir(exist_ok=True)
    (runs / "router-losses.json").write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")
    (runs / "router-losses.svg").write_text(losses_compared(found), encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
