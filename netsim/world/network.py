"""The simulated network: devices, links and a common clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import networkx as nx
import simpy

from netsim.core.budget import Budget
from netsim.world.cloud import Cloud
from netsim.world.devices.device import Device
from netsim.world.devices.stragglers import Stragglers
from netsim.world.edge_server import EdgeServer
from netsim.world.mobility.motion import Motion
from netsim.world.radio.radio import Radio
from netsim.world.topology.topology import Topology


class JoulesPerBit(Mapping[int, float]):
    """Energy of one bit to each neighbour at the last known gain [J/bit], computed on demand."""

    def __init__(
        self,
        radio: Radio,
        sender: Device,
        neighbours: Sequence[int],
        last_gains: Callable[[int], Mapping[int, float]],
    ) -> None:
        self._radio = radio
        self._sender = sender
        self._neighbours = neighbours
        self._last_gains = last_gains
        self._power_gains: Mapping[int, float] | None = None

    def __getitem__(self, neighbour: int) -> float:
        if neighbour not in self._neighbours:
            raise KeyError(neighbour)
        if self._power_gains is None:
            self._power_gains = self._last_gains(self._sender.number)
        return self._radio.joules_per_bit(self._sender, neighbour, self._power_gains.get(neighbour))

    def __iter__(self) -> Iterator[int]:
        return iter(self._neighbours)

    def __len__(self) -> int:
        return len(self._neighbours)


@dataclass(frozen=True)
class Network:
    """The simulated world without the learning.

    Attributes:
        env: The clock.
        devices: By number.
        first: Positions and links as the run begins.
        radio: Sends bits.
        stragglers: Slow-down factors of devices.
        servers: The edge servers, where the protocol has any; their numbers are those after the devices'.
        cloud: What is above the edge servers, where the protocol has it; its number is the last.
        motion: Positions and links at later times, where devices move.
        alone: Devices that had no neighbour in some round.
    """

    env: simpy.Environment
    devices: Sequence[Device]
    first: Topology
    radio: Radio
    stragglers: Stragglers
    servers: Sequence[EdgeServer] = ()
    cloud: Cloud | None = None
    motion: Motion | None = None
    alone: set[int] = field(default_factory=set)

    @property
    def server(self) -> EdgeServer | None:
        """Return the edge server, the first of several; None if there is none."""
        return self.servers[0] if self.servers else None

    @property
    def topology(self) -> Topology:
        """Return positions and links now."""
        return self.first if self.motion is None else self.motion.topology(self.motion.update(self.env.now))

    @property
    def nodes(self) -> list[Device]:
        """Return the devices, the edge servers and the cloud, as far as there are any."""
        return [
            *self.devices,
            *(one.node for one in self.servers),
            *([self.cloud.node] if self.cloud else []),
        ]

    @property
    def graph(self) -> nx.Graph:
        """Return all links that are there now, those of devices that are not here included."""
        return self.topology.graph

    def living_neighbours(self, device: Device) -> Sequence[int]:
        """Return the neighbours of ``device`` that are here, in the order of their numbers."""
        return self.living(self.neighbours[device.number])

    def living(self, numbers: Sequence[int]) -> Sequence[int]:
        """Return those of ``numbers`` whose devices are here."""
        if self._immortal:
            return numbers
        devices = self.devices
        return [n for n in numbers if devices[n].alive]

    @cached_property
    def _immortal(self) -> bool:
        """Return whether all devices have unlimited power and always stay."""
        return all(device.unlimited is not None for device in self.devices)

    @property
    def neighbours(self) -> Sequence[Sequence[int]]:
        """Return the neighbours of each device now, in the order of their numbers."""
        return self.topology.neighbours

    def budget(
        self,
        device: Device,
        last_gains: Callable[[int], Mapping[int, float]] | None = None,
        neighbours: Sequence[int] | None = None,
    ) -> Budget:
        """Return the energy that ``device`` knows of before a round.

        Args:
            device: The device.
            last_gains: Tells the power gains at the last use of a sender's links, by receiver; by default the radio.
            neighbours: Its living neighbours, if they are known already.
        """
        if neighbours is None:
            neighbours = self.living_neighbours(device)
        last_gains = last_gains or self.radio.power_gains
        return Budget(
            device.battery.remaining_j,
            device.processor.joules_per_flop,
            JoulesPerBit(self.radio, device, neighbours, last_gains),
        )


def best_server(network: Network, device: int, by: Literal["strongest", "nearest"]) -> EdgeServer:
    """Return the edge server of the strongest link of ``device`` now, without fading, or the nearest; then the first.

    Args:
        network: The network.
        device: Number of the device.
        by: What makes a server the best.
    """
    if by == "nearest":
        return min(network.servers, key=lambda one: network.topology.distance_m[device, one.number])
    return max(network.servers, key=lambda one: one.uplink.mean_gain(device, one.number))
