"""Devices with different networks that distil, mostly through a server: built, played by hand, or simulated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import torch
from at_once import Play, Turn
from torch.utils.flop_counter import FlopCounterMode

from learners.checks import fingerprint
from learners.networks.state import Part, Row
from netsim.app.build import build
from netsim.app.simulation import Simulation
from netsim.core.registry import load
from netsim.events import Observer
from netsim.learner import Setup
from netsim.scenario.loading import load_plan
from netsim.scenario.model import Costs, Evaluation

VECTORS = {"name": "generated", "samples": 60, "test_samples": 20, "shape": [8], "classes": 3}
IMAGES = {**VECTORS, "shape": [1, 8, 8]}
MLP = {"name": "mlp", "hidden": [6]}
RESNET = {"name": "small_resnet", "widths": [4], "stem_kernel": 3, "stem_stride": 2}
CNN = {"name": "cnn", "channels": [2], "hidden": 5}
DIFFERENT = {"fedmd": (MLP, {"name": "mlp", "hidden": [7, 4]}, MLP), "fedzkt": (MLP, RESNET, CNN)}
"""The networks of three devices."""
SMALL: dict[str, dict[str, Any]] = {
    "fedmd": {
        "public": {**VECTORS, "samples": 24, "classes": 2},
        "public_epochs": 1,
        "private_epochs": 1,
        "revisit_epochs": 1,
        "alignment_samples": 12,
        "digest_batch_size": 6,
        "public_batch_size": 8,
        "batch_size": 8,
    },
    "fedzkt": {
        "local_epochs": 1,
        "batch_size": 8,
        "distillation_iterations": 2,
        "server_batch_size": 4,
        "noise_size": 3,
        "generator_channels": (4, 2),
        "global_network": CNN,
    },
}


def make_setup(
    name: str,
    *,
    data: Mapping[str, Any] | None = None,
    networks: Sequence[Mapping[str, Any]] | None = None,
    partition: Any = None,
    rounds: int = 4,
    seed: int = 0,
    precision: str = "float32",
    public_share: float = 0.0,
    costs: Costs | None = None,
    server: bool = True,
    **options: Any,
) -> Setup:
    """A setup of one device per network; the rest are the learner's options."""
    networks = DIFFERENT[name] if networks is None else networks
    block = dict(data or (VECTORS if name == "fedmd" else IMAGES))
    source = load("datasets", block.pop("name"))
    dealer = load("partitions", "iid")
    return Setup(
        seed=seed,
        device_count=len(networks),
        rounds=rounds,
        options=load("learners", name).Options.model_validate({**SMALL[name], **options}),
        data=source(source.Options.model_validate(block)),
        partition=partition or dealer(dealer.Options(public_share=public_share)),
        costs=costs or Costs(),
        evaluation=Evaluation(),
        torch_device="cpu",
        cache_dir=Path("unused"),
        say=lambda text: None,
        precision=precision,
        has_server=server,
        networks={
            k: {"image" if "digits" in source.__name__.lower() else "features": network}
            for k, network in enumerate(networks)
        },
    )


def make(name: str, links: nx.Graph | None = None, **changes: Any) -> Any:
    """A learner whose network stands: with a server, or the ``links`` between devices."""
    learner = load("learners", name)(make_setup(name, server=links is None, **changes))
    learner.prepare(links or nx.star_graph(learner.setup.device_count))
    return learner


class Counted(Play):
    """Counts what each node's training computes, as PyTorch's own counter has it."""

    def __init__(self, learner: Any) -> None:
        super().__init__(learner)
        self.found: list[tuple[float, float]] = []

    def _train(self, turn: Turn, node: int, peers: Sequence[int]) -> None:
        ordered = len(self.work.jobs)
        with FlopCounterMode(display=False) as counter:
            super()._train(turn, node, peers)
        if len(self.work.jobs) > ordered:
            parts = {part: flops for part, flops in turn.costs[node].flops.items() if part != "consensus"}
            self.found.append((sum(parts.values()), counter.get_total_flops()))


def charged_and_computed(learner: Any, rounds: int) -> list[tuple[float, float]]:
    """FLOPs of each training of some rounds, as charged and as computed; a mean is no product of matrices."""
    play = Counted(learner)
    play.rounds(rounds)
    return play.found


class Log(Observer):
    """All rows of a run."""

    def __init__(self) -> None:
        self.rounds: list[Any] = []
        self.transfers: list[Any] = []
        self.metrics: list[Any] = []
        self.server: list[Any] = []

    def on_transfers(self, batch: Any) -> None:
        self.transfers.extend(batch.rows())

    def on_metrics(self, rows: Any) -> None:
        self.metrics.extend(rows)

    def on_round_end(self, row: Any, iterations: Any) -> None:
        self.rounds.append(row)

    def on_server_round(self, row: Any) -> None:
        self.server.append(row)

    @property
    def everything(self) -> str:
        """A digest of all rows, bit for bit."""
        return fingerprint([self.rounds, self.transfers, self.metrics, self.server])


def prepare(
    write_scenario: Callable[..., Path],
    name: str,
    *,
    learner: Mapping[str, Any] | None = None,
    devices: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
    links: bool = False,
    **blocks: Any,
) -> Simulation:
    """Three devices of three classes with a network each, around a server or, with ``links``, all linked."""
    classes = {
        f"class{k}": {"devices": [k], "networks": {"features": dict(network)}}
        for k, network in enumerate(DIFFERENT[name])
    }
    band = {"bandwidth_hz": 1e6}
    options = {k: list(v) if isinstance(v, tuple) else v for k, v in SMALL[name].items()}
    path = write_scenario(
        **{
            "devices": {"count": 3, "classes": classes, **(devices or {})},
            "topology": {
                "placement": {"name": "coordinates", "positions_m": [[50, 0], [-70, 0], [0, 90]]},
                **({"links": {"name": "range", "range_m": 200}} if links else {}),
            },
            "protocol": {"name": "server_rounds"},
            **(
                {}
                if links
                else {"server": {"uplink": band, "downlink": {**band, "mode": "unicast"}, **(server or {})}}
            ),
            "data": VECTORS if name == "fedmd" else IMAGES,
            "partition": {"name": "iid"},
            "learner": {"name": name, **options, **(learner or {})},
            "jobs": {"device": "cpu", "threads": 1, "executor": "inline", "stacking": "off"},
            **blocks,
        }
    )
    return build(load_plan(path), path.parent / "cache", lambda text: None)


def simulate(write_scenario: Callable[..., Path], name: str, **blocks: Any) -> tuple[Simulation, Log]:
    """Run what :func:`prepare` makes."""
    simulation, log = prepare(write_scenario, name, **blocks), Log()
    simulation.watch(log)
    simulation.run()
    return simulation, log


def reachable(value: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """``value`` and every object that can be reached from it."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, str | bytes | int | float | type | None):
        return
    seen.add(id(value))
    yield value
    if isinstance(value, Mapping):
        children = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        children = list(value)
    else:
        children = []
    if dataclasses.is_dataclass(value):
        children += [getattr(value, one.name) for one in dataclasses.fields(value)]
    for cls in type(value).__mro__:
        children += [getattr(value, slot, None) for slot in getattr(cls, "__slots__", ())]
    if not isinstance(value, torch.Tensor | np.ndarray):
        children += list(getattr(value, "__dict__", {}).values())
    for cell in getattr(value, "__closure__", None) or ():
        children.append(cell.cell_contents)
    for child in children:
        yield from reachable(child, seen)


def storages(values: Iterator[Any]) -> set[int]:
    """Where the tensors and arrays among ``values`` have their numbers."""
    tensors = [torch.from_numpy(v) if isinstance(v, np.ndarray) else v for v in values
               if isinstance(v, torch.Tensor | np.ndarray)]  # fmt: skip
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


def rounded(state: Mapping[str, Part], steps: int = 16) -> dict[str, Part]:
    """``state`` in whole parts of ``steps``, so that sums in float64 are exact in any order."""
    return {
        name: Part(Row((part.row.tensor * steps).round()[None] / steps, 0), part.layout)
        for name, part in state.items()
    }


def assert_states_close(one: Mapping[str, Part], other: Mapping[str, Part], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, part in one.items():
        torch.testing.assert_close(part.row.tensor, other[name].row.tensor, rtol=tolerance, atol=tolerance)
