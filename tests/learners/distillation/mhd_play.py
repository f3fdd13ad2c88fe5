"""Multi-headed distillation on generated data, played by hand without a simulator."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import networkx as nx
import torch
from at_once import Play, Turn
from tiny_task import make_setup

from learners.algorithms.mhd import MHD
from learners.data.partitions.partition import IID, OwnerOptions
from learners.data.sets.generated import Generated, GeneratedOptions
from learners.networks.state import Part, Row, State
from netsim.learner import Setup

MLP = {"name": "mlp", "hidden": [6]}
RESNET = {"name": "small_resnet", "widths": [4], "stem_kernel": 3, "stem_stride": 2}
CLASSES, SAMPLES, PUBLIC = 3, 48, 12
"""Of the generated data; as many samples are public, and the others are dealt."""


def mhd_setup(
    devices: int,
    network: Any = None,
    by_device: dict[int, Any] | None = None,
    shape: tuple[int, ...] = (8,),
    generated: dict[str, Any] | None = None,
    public_share: float = PUBLIC / SAMPLES,
    **changes: Any,
) -> Setup:
    """A setup of ``mhd``; ``changes`` are options, and what ``make_setup`` takes."""
    options = {
        "networks": {"features": network or MLP},
        "auxiliary_heads": 2,
        "local_steps": 2,
        "batch_size": 4,
    }
    setup = make_setup("mhd", devices=devices, **{**options, **changes})
    blob = {"samples": SAMPLES, "test_samples": 30, "shape": shape, "classes": CLASSES, **(generated or {})}
    return dataclasses.replace(
        setup,
        data=Generated(GeneratedOptions.model_validate(blob)),
        partition=IID(OwnerOptions(public_share=public_share)),
        networks={k: {"features": choice} for k, choice in (by_device or {}).items()},
    )


def make(links: nx.Graph, **changes: Any) -> Any:
    """A learner whose network stands."""
    learner = MHD(mhd_setup(len(links), **changes))
    learner.prepare(links)
    return learner


def isolated(count: int) -> nx.Graph:
    """Devices that hear nobody."""
    links = nx.Graph()
    links.add_nodes_from(range(count))
    return links


def play(learner: Any, rounds: int, **how: Any) -> tuple[Play, dict[tuple[int, int], dict[str, float]]]:
    """So many rounds, and their metrics by device and round; ``how`` as in ``Play.without``."""
    game = Play(learner)
    return game, metrics_of(game.rounds(rounds, **how))


def metrics_of(turns: Iterable[Turn]) -> dict[tuple[int, int], dict[str, float]]:
    """Metrics by device and round."""
    return {(k, turn.round): turn.of(k) for turn in turns for k in turn.costs}


def perturbed(state: State) -> State:
    """Another model of the same architecture."""
    found = {}
    for name, part in state.items():
        noise = torch.randn(part.row.bank.shape, generator=torch.Generator().manual_seed(5))
        found[name] = Part(Row(part.row.tensor[None] + noise, 0), part.layout)
    return found


def perturb(game: Play, device: int) -> None:
    """Give ``device`` other first weights, wherever they are known already."""
    other = perturbed(game[device]["model"])
    game.states[device] = {**game.states[device], "model": other}
    for k, state in game.states.items():
        pool = tuple((t, other if t == device else own) for t, own in state["pool"])
        game.states[k] = {**state, "pool": pool}


def weights(state: State, head: int | None = None) -> dict[str, torch.Tensor]:
    """Trunk and one head, or all of a state, by name."""
    parts = state if head is None else ("trunk", f"heads.{head}")
    return {f"{part}.{name}": tensor for part in parts for name, tensor in state[part].items()}
