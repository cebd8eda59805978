"""Short runs of each router loss, side by side: their curves and what their experts did, in training/runs/router-losses.json.

    python training/short_runs.py --steps 150

From the same weights over the same batches; only the loss differs. Small and short: it shows how the methods behave at the
beginning.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from data import WORK

HERE = Path(__file__).resolve().parent
LOSSES = ("none", "switch", "bias")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--read", action="store_true", help="only gather what ran before")
    args = parser.parse_args()
    found = {}
    for loss in LOSSES:
        folder = WORK / "-".join(part for part in ("gem-mini", "" if loss == "switch" else loss, "short") if part)
        if not args.read:
            subprocess.run([sys.executable, HERE / "train.py", "gem-mini", "--tag", "short", "--router-loss", loss, "--eager", "--steps",
                            str(args.steps), "--rows", str(args.rows)], check=True)
        lines = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
        last = lines[-1]
        shares = last["shares"]
        keep = ("step", "tokens", "loss", "balance", "z", "least", "most")
        found[loss] = dict(
            steps=last["step"], validation_nats=last["valid"], least_load=min(map(min, shares)), most_load=max(map(max, shares)),
            dead=sum(share < 0.1 / len(layer) for layer in shares for share in layer), load=shares,
            curve=[{key: line[key] for key in keep} for line in lines if "tokens" in line])
    out = HERE / "runs" / "router-losses.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found) + "\n")
    for loss, of in found.items():
        print(f"{loss:7} {of['validation_nats']:.3f} nats, load {of['least_load']:.4f} to {of['most_load']:.4f}, {of['dead']} dead of 96")


if __name__ == "__main__":
    main()
