"""Weights with which devices mix each other's parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx

from learners.training.mixing import Mixing, surviving_weights
from netsim.world.topology.mixing import among, metropolis_row, metropolis_weights

COMMON = ""
"""The key of what all devices share, where modalities are keys."""

KNOWN = 64
"""So many mixtures are kept. While everybody is heard there is one of each key."""

Heard = tuple[tuple[int, tuple[int, ...], tuple[tuple[int, float], ...]], ...]
"""Receivers, each with the senders whose messages arrived, and factors by which some of these count for less."""

Met = Mapping[int, Sequence[int]]
"""Neighbours in a round, of a device and of each of its neighbours."""


@dataclass(frozen=True)
class Mixture:
    """Weights with which devices mix each other's parts.

    Attributes:
        rows: ξ_{k,k'} by receiver k and sender k', senders in the order of device numbers.
        senders: All senders, in the order of device numbers.
        place: Of each sender, its place among them.
        mixing: The same as a matrix.
    """

    rows: Mapping[int, Mapping[int, float]]
    senders: Sequence[int]
    place: Mapping[int, int]
    mixing: Mixing

    @classmethod
    def of(cls, rows: Mapping[int, Mapping[int, float]]) -> Mixture:
        """Return the mixture with these weights."""
        senders = sorted({sender for row in rows.values() for sender in row})
        place = {sender: index for index, sender in enumerate(senders)}
        return cls(rows, senders, place, Mixing(list(rows.values()), place))


class Neighbourhood:
    """Modalities of each device, and the weights of its neighbours: the same in all rounds unless devices move.

    Attributes:
        modalities: The modalities of each device.
        weights: ξ_{k,k'} by key and device: Metropolis-Hastings weights of the graph that those who hold it form.
    """

    def __init__(
        self, graph: nx.Graph, modalities: Mapping[int, tuple[str, ...]], known: Sequence[str]
    ) -> None:
        """Find the weights on ``graph`` of devices with these ``modalities``; ``known`` are all that there are."""
        self.modalities = modalities
        holders = {COMMON: list(modalities)} | {
            m: [k for k, own in modalities.items() if m in own] for m in known
        }
        self.weights = {key: metropolis_weights(graph.subgraph(nodes)) for key, nodes in holders.items()}
        self._known: dict[tuple[str, Heard], Mixture] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what was found out so far: whoever gets a copy finds it out anew."""
        return {**vars(self), "_known": {}}

    def row(self, key: str, device: int, met: Met | None = None) -> Mapping[int, float]:
        """Return the weights of ``device``: those of all rounds, or of whom it ``met`` in this one."""
        weights = self.weights[key]
        return weights[device] if met is None else metropolis_row(device, among(weights, met))

    def mixture(self, key: str, heard: Heard, met: Mapping[int, Met]) -> Mixture:
        """Return how the parts of ``key`` are mixed; the weight of a neighbour that was not heard stays at home.

        ``met`` has whom each device met in this round, if that changes from round to round.
        """
        found = None if met else self._known.get((key, heard))
        if found is None:
            rows = {
                k: surviving_weights(self.row(key, k, met.get(k)), k, dict.fromkeys(senders), dict(factors))
                for k, senders, factors in heard
            }
            if met:
                return Mixture.of(rows)
            if len(self._known) >= KNOWN:
                self._known.clear()
            found = self._known[key, heard] = Mixture.of(rows)
        return found

    def heard(self, modality: str, device: int, senders: Sequence[int], met: Met | None = None) -> list[int]:
        """Return whose extractors of ``modality`` ``device`` mixes: its own, and those of ``senders`` that own it."""
        row = self.row(modality, device, met)
        return [other for other in row if other == device or other in senders]
