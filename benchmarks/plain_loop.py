"""What a simulation without a simulator costs: decentralized learning as a plain loop over devices in PyTorch.

The reference for everything else: one process, an ``nn.Module`` and an optimizer per device, data already in
tensors, no clock, no radio, no records. Each round every device trains one epoch on its own samples and then
averages its model with its neighbours' (Metropolis weights on a random regular graph). Nothing of this package is
imported, so that the reference does not move when the package does.

python benchmarks/plain_loop.py
python benchmarks/plain_loop.py --models lenet --rounds 5
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import networkx as nx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """What is run.

    Attributes:
        model: A name in :data:`MODELS`.
        devices: Devices K.
        rounds: Rounds, each of one local epoch and one averaging.
        samples: Training samples of each device.
        degree: Neighbours of each device.
        batch_size: Samples of a step; what does not fill a batch is dropped, so 200 samples are 6 steps.
        learning_rate: Of plain SGD.
        test_samples: Samples on which each device is evaluated.
        evaluate_every: Rounds from one evaluation to the next; 0 evaluates nobody.
        threads: Threads inside PyTorch's operators.
        seed: Of data, graph, weights and batches.
    """

    model: str = "logistic"
    devices: int = 100
    rounds: int = 100
    samples: int = 200
    degree: int = 20
    batch_size: int = 32
    learning_rate: float = 0.05
    test_samples: int = 500
    evaluate_every: int = 10
    threads: int = 1
    seed: int = 0


def logistic() -> nn.Module:
    return nn.Linear(57, 2)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(57, 64), nn.ReLU(), nn.Linear(64, 2))


def lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


@dataclass(frozen=True)
class Model:
    """A network, and what its samples look like: the shape of one, and how many classes there are."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    classes: int


MODELS = {
    "logistic": Model(logistic, (57,), 2),
    "mlp": Model(mlp, (57,), 2),
    "lenet": Model(lenet, (1, 28, 28), 10),
}


@dataclass(frozen=True)
class Result:
    """Seconds from the first round to the last, and mean test accuracy of the last evaluation (nan if none)."""

    seconds: float
    accuracy: float


def simulate(case: Case) -> Result:
    """Run ``case``; data, graph and networks are made before the clock starts."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    torch.manual_seed(case.seed)
    model = MODELS[case.model]
    x, y = clouds(model, case.devices * case.samples + case.test_samples)
    x_test, y_test = x[-case.test_samples :], y[-case.test_samples :]
    x_train = [x[k * case.samples : (k + 1) * case.samples].clone() for k in range(case.devices)]
    y_train = [y[k * case.samples : (k + 1) * case.samples].clone() for k in range(case.devices)]
    weights = metropolis(nx.random_regular_graph(case.degree, case.devices, seed=case.seed))
    first = model.build()
    networks = [copy.deepcopy(first) for _ in range(case.devices)]
    optimizers = [torch.optim.SGD(net.parameters(), lr=case.learning_rate) for net in networks]
    accuracy = float("nan")

    start_s = time.perf_counter()
    for round in range(1, case.rounds + 1):
        for k in range(case.devices):
            train_epoch(networks[k], optimizers[k], x_train[k], y_train[k], case.batch_size)
        average(networks, weights)
        if case.evaluate_every and round % case.evaluate_every == 0:
            accuracy = statistics.mean(accuracy_of(net, x_test, y_test) for net in networks)
    seconds = time.perf_counter() - start_s
    torch.set_num_threads(threads_before)
    return Result(seconds, accuracy)


def seconds(case: Case) -> float:
    """Seconds of ``case``, from the first round to the last."""
    return simulate(case).seconds


def train_epoch(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, batch: int) -> None:
    order = torch.randperm(len(x))
    for start in range(0, len(x) - batch + 1, batch):
        rows = order[start : start + batch]
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()


@torch.no_grad()
def average(networks: list[nn.Module], weights: list[dict[int, float]]) -> None:
    """Each network becomes the weighted mean of its own and its neighbours' states."""
    states: list[State] = [net.state_dict() for net in networks]
    mixed = [
        {name: sum(weight * states[n][name] for n, weight in row.items()) for name in states[0]}
        for row in weights
    ]
    for net, state in zip(networks, mixed, strict=True):
        net.load_state_dict(state)


@torch.no_grad()
def accuracy_of(net: nn.Module, x: Tensor, y: Tensor) -> float:
    return (net(x).argmax(1) == y).float().mean().item()


def metropolis(graph: nx.Graph) -> list[dict[int, float]]:
    """By device, the weight of each neighbour, 1 / (1 + the larger degree), and its own, which is the rest."""
    rows = []
    for k in sorted(graph):
        row = {n: 1 / (1 + max(graph.degree[k], graph.degree[n])) for n in graph[k]}
        rows.append({**row, k: 1 - sum(row.values())})
    return rows


def clouds(model: Model, count: int) -> tuple[Tensor, Tensor]:
    """Samples [count, *shape] of one Gaussian cloud per class, and their classes int64 [count]."""
    directions = F.normalize(torch.randn(model.classes, *model.shape).flatten(1)).view(-1, *model.shape)
    y = torch.randint(model.classes, (count,))
    return torch.randn(count, *model.shape) + 2 * directions[y], y


def main() -> None:
    """Print a table: seconds of each model with one thread and with two, in turn."""
    parser = argparse.ArgumentParser(description="A plain loop over devices in PyTorch.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["logistic", "mlp"])
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--degree", type=int, default=20)
    parser.add_argument("--evaluate-every", type=int, default=10)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=2)
    words = parser.parse_args()
    simulate(Case(devices=words.degree + 2, degree=words.degree, rounds=2))  # what PyTorch does once, done
    print(
        f"{words.devices} devices, {words.rounds} rounds, degree {words.degree}, evaluation every "
        f"{words.evaluate_every} rounds; median (lowest to highest) of {words.repeats}\n"
        f"Python {platform.python_version()}, PyTorch {torch.__version__}, networkx {nx.__version__}\n\n"
        "| model | threads | seconds | accuracy |\n| --- | --- | --- | --- |"
    )
    for name in words.models:
        case = Case(
            name, words.devices, words.rounds, degree=words.degree, evaluate_every=words.evaluate_every
        )
        results: dict[int, list[Result]] = {threads: [] for threads in words.threads}
        for _ in range(words.repeats):
            for threads, found in results.items():
                found.append(simulate(replace(case, threads=threads)))
        for threads, found in results.items():
            s = [result.seconds for result in found]
            print(
                f"| {name} | {threads} | {statistics.median(s):.1f} ({min(s):.1f} to {max(s):.1f}) | "
                f"{100 * found[0].accuracy:.1f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
