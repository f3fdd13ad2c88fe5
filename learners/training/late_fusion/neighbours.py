"""Averaging without a server: each device mixes its own model with its neighbours', part by part (D-PSGD)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import networkx as nx

from learners.networks.state import Layout, Part, Row, State, gather
from learners.training.mixing import Mixing, surviving_weights
from netsim.learner import Metric
from netsim.world.topology.mixing import among, metropolis_row, metropolis_weights

if TYPE_CHECKING:
    from learners.training.late_fusion.local_layers import Columns
    from learners.training.late_fusion.local_update import Trained


@dataclass(frozen=True)
class Owners:
    """The devices that hold the same parts.

    Attributes:
        weights: ξ_{k,k'} of the graph that they form, by receiver k and sender k'.
        layouts: Of the parts that they hold.
        local: Places of numbers that each keeps to itself, by part.
    """

    weights: Mapping[int, Mapping[int, float]]
    layouts: Mapping[str, Layout]
    local: Columns = field(default_factory=dict)

    def row(self, device: int, met: Mapping[int, Sequence[int]] | None) -> Mapping[int, float]:
        """Return the weights of ``device``: those of all rounds, or of whom it ``met`` in this one."""
        return self.weights[device] if met is None else metropolis_row(device, among(self.weights, met))


@dataclass(frozen=True)
class Neighbours:
    """The devices that mix each part, and the weights.

    Attributes:
        groups: Owners of the parts.
        drops: Whether models whose training diverged are left out, and counted.
    """

    groups: Sequence[Owners]
    drops: bool


class Mixed(NamedTuple):
    """The model of a device after its round.

    Attributes:
        parts: Its model.
        metrics: What was measured meanwhile.
    """

    parts: State
    metrics: list[Metric]


def owners(graph: nx.Graph, devices: Sequence[int], parts: State, local: Columns | None = None) -> Owners:
    """Return the owners ``devices`` of ``parts``, with Metropolis-Hastings weights; what is ``local`` they keep."""
    layouts = {name: part.layout for name, part in parts.items()}
    return Owners(metropolis_weights(graph.subgraph(devices)), layouts, local or {})


def mix(inputs: Sequence[Mapping[str, Any]]) -> list[Mixed]:
    """Mix each device's model with those that arrived: w_k ← Σ ξ_{k,k'} w_k' (Lian et al. 2017, eq. 3).

    The weight of a neighbour that was not heard stays at home. Counters and frozen weights are the device's own.

    Args:
        inputs: Of each receiver: ``device``, the parts of its ``own`` model, what ``arrived`` by sender as it was
            trained, ``factors`` by which some of that counts for less, ``neighbours``, the same for all, and whom it
            ``met`` if that changes from round to round (see :meth:`netsim.learner.Learner.meets`), or None.
    """
    neighbours: Neighbours = inputs[0]["neighbours"]
    devices = [one["device"] for one in inputs]
    heard = [_finite(one["arrived"]) for one in inputs]
    mixed: list[dict[str, Part]] = [{} for _ in inputs]
    for group in neighbours.groups:
        places = [place for place, device in enumerate(devices) if device in group.weights]
        if places:
            _mix_parts(group, places, inputs, heard, mixed)
    left_out = [len(one["arrived"]) - len(states) for one, states in zip(inputs, heard, strict=True)]
    return [
        Mixed(parts, [Metric("dropped", float(count))] if neighbours.drops else [])
        for parts, count in zip(mixed, left_out, strict=True)
    ]


def _finite(arrived: Mapping[int, Trained]) -> dict[int, State]:
    return {k: trained.state for k, trained in arrived.items() if trained.finite}


def _mix_parts(
    group: Owners,
    places: Sequence[int],
    inputs: Sequence[Mapping[str, Any]],
    heard: Sequence[Mapping[int, State]],
    mixed: Sequence[dict[str, Part]],
) -> None:
    """Note in ``mixed`` what becomes of the parts of ``group``: the matrix ξ times the bank of all that was sent.

    A sender's model of an earlier round, which came late, is another model.
    """
    models: dict[tuple[int, int], State] = {}
    rows = []
    devices, own = [one["device"] for one in inputs], [one["own"] for one in inputs]
    for place in places:
        device, factors = devices[place], inputs[place].get("factors", {})
        weights = group.row(device, inputs[place].get("met"))
        row = {}
        for sender, weight in surviving_weights(weights, device, heard[place], factors).items():
            model = own[place] if sender == device else heard[place][sender]
            key = sender, id(model)
            models[key] = model
            row[key] = weight
        rows.append(row)
    order = sorted(models, key=lambda key: key[0])
    number = {key: index for index, key in enumerate(order)}
    mixing = Mixing(rows, number)
    at_home = [number[devices[place], id(own[place])] for place in places]
    for part, layout in group.layouts.items():
        if not layout.size:  # the extractor of inputs that are taken as they are
            for place in places:
                mixed[place][part] = own[place][part]
            continue
        bank = gather([models[key][part].row for key in order])
        after = mixing(bank)
        if layout.sent < layout.size:
            after[:, layout.sent :] = bank[at_home, layout.sent :]
        if part in group.local:
            kept = group.local[part].to(after.device)
            after[:, kept] = bank[at_home][:, kept]
        for index, place in enumerate(places):
            mixed[place][part] = Part(Row(after, index), layout)
