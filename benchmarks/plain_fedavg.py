"""What federated averaging without a simulator costs: a plain loop over clients in PyTorch.

As plain_loop.py, but with a server: each round every client takes over the global model, trains one epoch on its own
samples, and the server averages, weighed by numbers of samples. Nothing of this package is imported, so that the
reference does not move when the package does. Flower's client (flower_client.py) trains with the same functions.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES, CLASSES = 57, 10


@dataclass(frozen=True)
class Case:
    """What is run.

    Attributes:
        model: ``logistic`` or ``mlp``.
        clients: Clients, all of which take part in every round.
        rounds: Rounds, each of one local epoch and one aggregation.
        samples: Training samples of all clients together.
        test_samples: Samples on which the global model is tested.
        batch_size: Samples of a step; the last one of an epoch may have fewer.
        learning_rate: Of plain SGD.
        evaluate_every: Rounds from one evaluation to the next.
        separation: Distance between the means of any two classes, in standard deviations.
        seed: Of data, weights and batches.
    """

    model: str = "logistic"
    clients: int = 100
    rounds: int = 100
    samples: int = 20_000
    test_samples: int = 2_000
    batch_size: int = 32
    learning_rate: float = 0.1
    evaluate_every: int = 10
    separation: float = 3.0
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """Samples of each client, and those of the test: inputs float32 [n, 57], labels int64 [n]."""

    x: list[Tensor]
    y: list[Tensor]
    x_test: Tensor
    y_test: Tensor


def data_of(case: Case) -> Data:
    """Draw a Gaussian cloud per class, their means at right angles, and deal equal shares."""
    random = np.random.default_rng(case.seed)
    directions, _ = np.linalg.qr(random.standard_normal((FEATURES, CLASSES)))
    count = case.samples + case.test_samples
    labels = np.arange(count) % CLASSES
    inputs = random.standard_normal((count, FEATURES)) + case.separation / np.sqrt(2) * directions.T[labels]
    x, y = torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(labels)
    rows = torch.from_numpy(random.permutation(case.samples)).view(case.clients, -1)
    return Data([x[own] for own in rows], [y[own] for own in rows], x[case.samples :], y[case.samples :])


def network(model: str) -> nn.Module:
    """Return a new network."""
    if model == "logistic":
        return nn.Linear(FEATURES, CLASSES)
    return nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def train_epoch(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, batch: int) -> None:
    """Train ``net`` on all of ``x`` once, in mini-batches in a new order."""
    for rows in torch.randperm(len(x)).split(batch):
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(net: nn.Module, data: Data) -> float:
    """Return the share of test samples that ``net`` gets right."""
    return (net(data.x_test).argmax(1) == data.y_test).float().mean().item()


@dataclass(frozen=True)
class Result:
    """Seconds from the first round to the last, and the test accuracy of the last evaluation."""

    seconds: float
    accuracy: float


def simulate(case: Case) -> Result:
    """Run ``case`` with one thread; data and networks are made before the clock starts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(case.seed)
    data = data_of(case)
    server = network(case.model)
    clients = [network(case.model) for _ in range(case.clients)]
    optimizers = [torch.optim.SGD(net.parameters(), lr=case.learning_rate) for net in clients]
    weights = torch.tensor([float(len(x)) for x in data.x])
    weights /= weights.sum()
    found = float("nan")
    begin = time.perf_counter()
    for round in range(1, case.rounds + 1):
        for net, optimizer, x, y in zip(clients, optimizers, data.x, data.y, strict=True):
            with torch.no_grad():
                for own, given in zip(net.parameters(), server.parameters(), strict=True):
                    own.copy_(given)
            train_epoch(net, optimizer, x, y, case.batch_size)
        with torch.no_grad():
            uploads = zip(*(net.parameters() for net in clients), strict=True)
            for given, own in zip(server.parameters(), uploads, strict=True):
                given.copy_(torch.tensordot(weights, torch.stack(own), 1))
        if round % case.evaluate_every == 0 or round == case.rounds:
            found = accuracy(server, data)
    seconds = time.perf_counter() - begin
    torch.set_num_threads(threads)
    return Result(seconds, found)
