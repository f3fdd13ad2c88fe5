"""Small fleets of different networks that distil through a server: built, played by hand, or simulated."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import torch
from tiny_task import UNLIMITED, run_job
from torch.utils.flop_counter import FlopCounterMode

from learners.checks import fingerprint
from learners.training.state import Part, Row
from netsim.app.simulation import Simulation, build
from netsim.core.registry import load
from netsim.events import Observer
from netsim.former.learning import Message, Workload
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
        networks={
            k: {"image" if "digits" in source.__name__.lower() else "features": network}
            for k, network in enumerate(networks)
        },
    )


def make(name: str, **changes: Any) -> Any:
    """A learner whose network stands."""
    learner = load("learners", name)(make_setup(name, **changes))
    learner.begin(nx.star_graph(learner.setup.device_count))
    return learner


@dataclass
class Turn:
    """A round, as far as it was played."""

    round: int
    workloads: dict[int, Workload] = field(default_factory=dict)
    downloads: list[Message] = field(default_factory=list)
    uploads: dict[int, Message] = field(default_factory=dict)
    metrics: dict[tuple[int, str], float] = field(default_factory=dict)

    def of(self, device: int) -> dict[str, float]:
        """The metrics of ``device``."""
        return {name: value for (k, name), value in self.metrics.items() if k == device}


def play(
    learner: Any,
    rounds: int = 2,
    participants: Mapping[int, Sequence[int]] | None = None,
    lost: Mapping[int, Sequence[int]] | None = None,
    ahead: bool = False,
) -> list[Turn]:
    """Rounds of everybody, or of those given by round, whose uploads may be ``lost``.

    With ``ahead`` the clock is at the end of all rounds before anything is learnt.
    """
    turns = [Turn(round) for round in range(1, rounds + 1)]
    clock = [lambda t=t: _clock(learner, t, (participants or {}).get(t.round)) for t in turns]
    work = [lambda t=t: _work(learner, t, (lost or {}).get(t.round, ())) for t in turns]
    steps = [*clock, *work] if ahead else [step for pair in zip(clock, work, strict=True) for step in pair]
    for step in steps:
        step()
    return turns


def _clock(learner: Any, turn: Turn, devices: Sequence[int] | None) -> None:
    everybody = range(learner.setup.device_count)
    chosen = everybody if devices is None else devices
    turn.downloads = list(learner.download(turn.round, chosen))
    for message in turn.downloads:
        for k in message.receivers:
            learner.receive(k, turn.round, message.payload)
            turn.workloads[k] = learner.workload(k, turn.round, UNLIMITED)
            (turn.uploads[k],) = learner.messages(k, turn.round, [learner.server])
    turn.workloads[learner.server] = learner.workload(learner.server, turn.round, UNLIMITED)


def _work(learner: Any, turn: Turn, lost: Sequence[int]) -> None:
    for k in turn.uploads:
        _train(learner, turn, k)
    arrived = {k: m.payload for k, m in turn.uploads.items() if k not in lost}
    before = fingerprint(arrived)
    _note(learner, turn, learner.server, learner.combine(learner.server, turn.round, arrived))
    assert fingerprint(arrived) == before
    _train(learner, turn, learner.server)


def _train(learner: Any, turn: Turn, k: int) -> None:
    """Train and judge; the job must survive a journey."""
    job = learner.training_job(k, turn.round, turn.workloads[k])
    result = run_job(pickle.loads(pickle.dumps(job))) if job is not None else None
    _note(learner, turn, k, learner.apply(k, turn.round, result))
    judging = learner.evaluation_job(k, turn.round)
    if judging is not None:
        _note(learner, turn, k, learner.judge(k, turn.round, run_job(judging)))


def charged_and_computed(learner: Any, rounds: int) -> Iterator[tuple[float, float]]:
    """FLOPs of each training job of some rounds: of its workload, and as PyTorch's own counter sees it being done."""
    jobs, training_job = {}, learner.training_job

    def noted(device: int, round: int, workload: Workload) -> Any:
        jobs[device, round] = training_job(device, round, workload), workload
        return jobs[device, round][0]

    learner.training_job = noted
    play(learner, rounds)
    for job, workload in jobs.values():
        if job is not None:
            with FlopCounterMode(display=False) as counter:
                run_job(job)
            yield workload.total_flops, counter.get_total_flops()


def _note(learner: Any, turn: Turn, device: int, metrics: Any) -> None:
    for name, value, _ in metrics:
        assert name in learner.METRICS
        turn.metrics[device, name] = value


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
    **blocks: Any,
) -> Simulation:
    """Three devices of three classes with a network each, around a server."""
    classes = {
        f"class{k}": {"devices": [k], "networks": {"features": dict(network)}}
        for k, network in enumerate(DIFFERENT[name])
    }
    band = {"bandwidth_hz": 1e6}
    options = {k: list(v) if isinstance(v, tuple) else v for k, v in SMALL[name].items()}
    path = write_scenario(
        **{
            "devices": {"count": 3, "classes": classes, **(devices or {})},
            "topology": {"placement": {"name": "coordinates", "positions_m": [[50, 0], [-70, 0], [0, 90]]}},
            "protocol": {"name": "server_rounds"},
            "server": {"uplink": band, "downlink": {**band, "mode": "unicast"}, **(server or {})},
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
