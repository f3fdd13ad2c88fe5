"""Devices, links and the clock that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import simpy

from netsim.devices.device import Device
from netsim.devices.stragglers import Stragglers
from netsim.learning import Budget
from netsim.radio.radio import Radio
from netsim.topology.topology import Topology


@dataclass(frozen=True)
class Network:
    """The simulated world without the learning.

    Attributes:
        env: The clock.
        devices: By number.
        topology: Positions and links.
        radio: Sends bits.
        stragglers: Says who is slow.
    """

    env: simpy.Environment
    devices: Sequence[Device]
    topology: Topology
    radio: Radio
    stragglers: Stragglers

    @property
    def graph(self) -> nx.Graph:
        """All links, those of dead devices included."""
        return self.topology.graph

    def living_neighbours(self, device: Device) -> list[int]:
        """Neighbours of ``device`` whose batteries are not empty, in the order of their numbers."""
        return sorted(n for n in self.graph[device.number] if self.devices[n].alive)

    def living_graph(self) -> nx.Graph:
        """Links between living devices."""
        return self.graph.subgraph([d.number for d in self.devices if d.alive])

    def budget(self, device: Device) -> Budget:
        """What ``device`` can know of its energy before a round."""
        return Budget(
            device.battery.remaining_j,
            device.processor.joules_per_flop,
            {n: self.radio.joules_per_bit(device, n) for n in self.living_neighbours(device)},
        )
