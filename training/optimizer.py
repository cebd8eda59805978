"""Muon for matrices, AdamW for the rest, with states that save and load.

Muon (Jordan et al., 2024) takes the momentum of a matrix and steps along the nearest matrix with equal singular values, found
by five Newton-Schulz iterations. Matrices of one shape are stepped together; an expert's gate, up and down are matrices of
their own.
"""

import torch
from torch import Tensor

BETAS = (0.9, 0.95)


def orthogonal(g: Tensor, iterations: int = 5) -> Tensor:
    """The [..., rows, columns] matrices with g's singular vectors and singular values near 1, computed in bfloat16."""
    x = g.bfloat16()
    if tall := x.shape[-2] > x.shape[-1]:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).float()


class Optimizer:
    """rates: learning rates of "muon", "table" (embeddings), "router" and "vector" (norm weights and scales)."""

    def __init__(self, named: dict[str, torch.nn.Parameter], rates: dict[str, float], decay: float = 0.1):
        self.named, self.rates, self.decay = named, rates, decay
        self.kinds = {name: self.kind(name, p) for name, p in named.items()}
        self.first = {name: torch.zeros_like(p) for name, p in named.items()}
        self.second = {name: torch.zeros_like(p) for name, p in named.items() if self.kinds[name] != "muon"}
        self.steps = 0

    @staticmethod
    def kind(name: str, p: Tensor) -> str:
        if "embed_tokens" in name:
            return "table"
        if "router.proj" in name:
            return "router"
        return "muon" if p.dim() > 1 else "vector"

    @staticmethod
    def matrices(name: str, p: Tensor) -> Tensor:
        """A parameter as a stack of matrices [n, rows, columns]."""
        return p.unflatten(1, (2, -1)).flatten(0, 1) if "gate_up" in name else p if p.dim() == 3 else p[None]

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One step with every rate times `scale`; gradients are cleared."""
        self.steps += 1
        shapes: dict[torch.Size, list] = {}
        for name, p in self.named.items():
            if p.grad is None:
                continue
            rate, first = self.rates[self.kinds[name]] * scale, self.first[name]
            if self.kinds[name] == "muon":
                first.lerp_(p.grad, 0.05)
                weights, update = self.matrices(name, p), self.matrices(name, p.grad.lerp(first, 0.95))
                shapes.setdefault(weights.shape[1:], []).append((weights, update, rate))
            else:
                first.lerp_(p.grad, 1 - BETAS[0])
                self.second[name].lerp_(p.grad.square(), 1 - BETAS[1])
                size = (self.second[name] / (1 - BETAS[1] ** self.steps)).sqrt_().add_(1e-10)
                p.sub_(first / size, alpha=rate / (1 - BETAS[0] ** self.steps))
        for (rows, columns), group in shapes.items():
            steps = orthogonal(torch.cat([update for _, update, _ in group])).split([len(weights) for weights, _, _ in group])
            for (weights, _, rate), step in zip(group, steps):
                weights.mul_(1 - rate * self.decay).sub_(step, alpha=rate * max(1, rows / columns) ** 0.5)
        for p in self.named.values():
            p.grad = None

    def state_dict(self) -> dict:
        return dict(first=self.first, second=self.second, steps=self.steps)

    def load_state_dict(self, state: dict) -> None:
        for mine, saved in ((self.first, state["first"]), (self.second, state["second"])):
            for name, tensor in mine.items():
                tensor.copy_(saved[name])
        self.steps = state["steps"]
