"""Networks with what users' own have: frozen, tied and unused weights, buffers of all kinds, randomness, recurrence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from learners.networks.identity import Identity
from learners.networks.network import Network, Trunk
from netsim.app.build import build
from netsim.app.simulation import Simulation
from netsim.core.options import Options
from netsim.scenario.loading import load_plan
from netsim.scenario.yaml_file import write_yaml

HIDDEN = 8
NORMS = {
    "bn": lambda: nn.BatchNorm1d(HIDDEN),
    "bn_cumulative": lambda: nn.BatchNorm1d(HIDDEN, momentum=None),
    "bn_plain": lambda: nn.BatchNorm1d(HIDDEN, affine=False),
    "gn": lambda: nn.GroupNorm(4, HIDDEN),
    "prelu": nn.PReLU,
    "rrelu": nn.RReLU,
    "dropout": lambda: nn.Dropout(0.3),
}


class Odd(Trunk):
    """Three linear layers, and what ``kind`` says."""

    def __init__(self, kind: str, size: int) -> None:
        super().__init__()
        self.kind, self.feature_count = kind, HIDDEN
        self.a, self.b, self.c = nn.Linear(size, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.norm = NORMS[kind]() if kind in NORMS else None
        if kind == "frozen":
            self.a.requires_grad_(False)
        if kind == "tied":
            self.c.weight = self.b.weight
        if kind == "unused":
            self.extra = nn.Linear(3, 3)
        if kind == "scalar":
            self.gain = nn.Parameter(torch.tensor(1.0))
        if kind == "lazy":
            self.b = nn.LazyLinear(HIDDEN)
        if kind in ("weight_norm", "spectral_norm"):
            self.b = getattr(parametrizations, kind)(self.b)
        buffers: dict[str, tuple[Tensor, bool]] = {
            "constant": (torch.tensor(2.0), False),
            "boolean": (torch.arange(HIDDEN) % 2 == 0, True),
            "integer": (torch.arange(HIDDEN).flip(0), True),
            "complex": (torch.polar(torch.ones(HIDDEN), torch.arange(float(HIDDEN))), False),
            "replaced": (torch.zeros(HIDDEN), True),
        }
        if kind in buffers:
            buffer, persistent = buffers[kind]
            self.register_buffer("own", buffer, persistent)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x.flatten(1)))
        if self.norm is not None:
            x = self.norm(x)
        x = torch.relu(self.b(x))
        return torch.relu(self.c(self.changed(x)))

    def changed(self, x: Tensor) -> Tensor:
        if self.kind in ("constant", "scalar"):
            x = x * (self.own if self.kind == "constant" else self.gain)
        if self.kind == "boolean":
            x = torch.where(self.own, x, torch.zeros_like(x))
        if self.kind == "integer":
            x = x[:, self.own]
        if self.kind == "complex":
            x = x * self.own.real
        if self.kind == "replaced":
            if self.training:
                self.own = 0.9 * self.own + 0.1 * x.detach().mean(0)
            x = x - self.own
        if self.kind == "branch" and x.mean() > 0.1:
            x = x * 0.5
        if self.kind == "item":
            x = x / max(x.detach().abs().max().item(), 1.0)
        if self.kind == "noise":
            x = x + 0.1 * torch.randn(x.shape)
        if self.kind == "like":
            x = x * torch.rand_like(x)
        if self.kind == "checkpoint":
            x = checkpoint(lambda y: F.dropout(y, 0.3, self.training), x, use_reentrant=False)
        return x


class Recurrent(Trunk):
    """A recurrent layer over a vector taken as a series of pairs."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        layers = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
        self.layer = layers[kind](2, HIDDEN, batch_first=True)
        self.norm = nn.BatchNorm1d(HIDDEN)  # its statistics move on beside what is differentiated
        self.feature_count = HIDDEN

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.layer(x.flatten(1).unflatten(1, (-1, 2)))
        return torch.relu(self.norm(out[:, -1]))


class Centred(Trunk):
    """A second BatchNorm behind a layer without a bias whose inputs have mean 0, as in ShuffleNet: so has it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(size, HIDDEN, bias=False),
            nn.BatchNorm1d(HIDDEN),
            nn.Linear(HIDDEN, HIDDEN, bias=False),
            nn.BatchNorm1d(HIDDEN),
            nn.ReLU(),
        )
        self.feature_count = HIDDEN

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


class OddOptions(Options):
    kind: str = Field("plain")


class OddNet(Network):
    Options = OddOptions

    def build(self, input_shape: Sequence[int]) -> Trunk:
        kind = self.options.kind  # type: ignore[attr-defined]
        if kind == "centred":
            return Centred(math.prod(input_shape))
        if kind == "weightless":
            return Identity(self.options).build(input_shape)
        return Recurrent(kind) if kind in ("lstm", "gru", "rnn") else Odd(kind, math.prod(input_shape))


def odd_run(folder: Path, kind: str, learner: str = "dmml", rounds: int = 2, **jobs: Any) -> Simulation:
    """A small run of ``learner`` with such a network, one thread; jobs are run in a loop unless ``jobs`` say."""
    server = learner not in ("dmml", "mhd")
    topology: dict[str, Any] = {"placement": {"name": "disc", "diameter_m": 40}}
    if not server:
        topology["links"] = {"name": "range", "range_m": 100}
    learners = {
        "fedavg": {"head_hidden": 8},
        "dmml": {"learning_rate": 0.005},
        "mhd": {"local_steps": 3, "batch_size": 16},
        "fedzkt": {
            "global_network": {"name": "odd_networks:OddNet", "kind": kind},
            "distillation_iterations": 3,
            "server_batch_size": 8,
            "local_epochs": 1,
            "batch_size": 16,
        },
    }
    tree: dict[str, Any] = {
        "rounds": rounds,
        "devices": {"count": 4},
        "topology": topology,
        "data": {"name": "generated", "samples": 200, "test_samples": 50, "shape": [1, 4, 4], "classes": 4},
        "partition": {"name": "iid", **({"public_share": 0.2} if learner in ("mhd", "fedmd") else {})},
        "learner": {
            "name": learner,
            "networks": {"features": {"name": "odd_networks:OddNet", "kind": kind}},
            **learners.get(learner, {}),
        },
        "jobs": {"device": "cpu", "threads": 1, "executor": "inline", "stacking": "off", **jobs},
    }
    if server:
        tree["protocol"] = {"name": "server_rounds"}
    path = folder / "odd.yaml"
    path.write_text(write_yaml(tree))
    return build(load_plan(path), folder, lambda text: None)
