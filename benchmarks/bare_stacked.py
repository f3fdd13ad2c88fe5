"""The work of plain_loop.py as stacks: all devices in each operation, written for this one case and nothing else.

One process, no clock, no radio, no records: what is left of a simulator's time beside it is the simulator's.

python benchmarks/bare_stacked.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import networkx as nx
import torch
from plain_loop import MODELS, Case, Result, clouds, metropolis
from torch import Tensor, nn
from torch.nn import functional as F


def simulate(case: Case) -> Result:
    """Run ``case``, a network of linear layers with ReLU between; data, graph and weights are made before the clock."""
    torch.set_num_threads(case.threads)
    torch.manual_seed(case.seed)
    model, count = MODELS[case.model], case.devices
    x, y = clouds(model, count * case.samples + case.test_samples)
    x_test, y_test = x[-case.test_samples :], y[-case.test_samples :]
    rows = metropolis(nx.random_regular_graph(case.degree, count, seed=case.seed))
    mixing = torch.tensor([[row.get(n, 0.0) for n in range(count)] for row in rows])
    layers = [layer for layer in model.build().modules() if isinstance(layer, nn.Linear)]
    stacks = [
        stack.detach().repeat(count, 1, 1).requires_grad_()
        for layer in layers
        for stack in (layer.weight.T, layer.bias[None])
    ]
    first, accuracy = torch.arange(count)[:, None] * case.samples, float("nan")

    start_s = time.perf_counter()
    for round in range(1, case.rounds + 1):
        order = torch.rand(count, case.samples).argsort(1) + first
        for start in range(0, case.samples - case.batch_size + 1, case.batch_size):
            chosen = order[:, start : start + case.batch_size].flatten()
            logits = forward(stacks, x.index_select(0, chosen).view(count, case.batch_size, -1))
            loss = F.cross_entropy(logits.flatten(0, 1), y.index_select(0, chosen), reduction="sum")
            slopes = torch.autograd.grad(loss / case.batch_size, stacks)
            with torch.no_grad():
                torch._foreach_add_(stacks, slopes, alpha=-case.learning_rate)
        with torch.no_grad():
            for stack in stacks:
                stack.copy_((mixing @ stack.flatten(1)).view_as(stack))
            if case.evaluate_every and round % case.evaluate_every == 0:
                found = forward(stacks, x_test.expand(count, -1, -1)).argmax(2)
                accuracy = (found == y_test).float().mean().item()
    return Result(time.perf_counter() - start_s, accuracy)


def forward(stacks: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return the logits [devices, samples, classes] of ``x`` [devices, samples, numbers]."""
    for place in range(0, len(stacks), 2):
        x = torch.baddbmm(stacks[place + 1], F.relu(x) if place else x, stacks[place])
    return x


def main() -> None:
    """Print seconds and accuracy of both models."""
    parser = argparse.ArgumentParser(description="All devices in each operation, bare.")
    parser.add_argument("--rounds", type=int, default=100)
    words = parser.parse_args()
    simulate(Case(rounds=2))  # what PyTorch does once, done
    for model in ("logistic", "mlp"):
        found = simulate(Case(model, rounds=words.rounds))
        print(f"{model}: {found.seconds:.2f} s, accuracy {100 * found.accuracy:.1f} %")


if __name__ == "__main__":
    main()
