"""An edge server, the devices that learn with it, and the links between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import simpy

from netsim.core.budget import Budget
from netsim.learner import Learner, Message
from netsim.world.devices.device import Device
from netsim.world.network import Network
from netsim.world.radio.broadcast import broadcast

Process = Generator[simpy.Event, Any, Any]


LOST = object()
"""The payload of a message that will not arrive."""


def members(learner: Learner | None, device_count: int) -> list[int]:
    """Return the devices that hold samples; the others have nothing to train on and are never chosen."""
    samples = learner.sample_counts() if learner else {}
    return [k for k in range(device_count) if not samples or samples.get(k, 0) > 0]


class Star:
    """A server, the devices that learn with it, and the links between them.

    Attributes:
        members: Devices that hold samples, by number.
    """

    def __init__(self, network: Network, learner: Learner) -> None:
        assert network.server is not None
        self.network = network
        self.server = network.server
        self.members = {k: network.devices[k] for k in members(learner, len(network.devices))}

    @property
    def server_budget(self) -> Budget:
        """Return the server's budget, which is unlimited."""
        return Budget(math.inf, self.server.node.processor.joules_per_flop, {})

    def budget(self, device: Device) -> Budget:
        """Return the remaining energy of ``device`` and its costs per FLOP and per bit, as the device knows them."""
        to_server = self.server.uplink.joules_per_bit(device, self.server.number, self._last_gain(device))
        return Budget(
            device.battery.remaining_j, device.processor.joules_per_flop, {self.server.number: to_server}
        )

    def power_gain(self, device: Device) -> float:
        """Return the power gain of the uplink when it was last used, or its mean before that."""
        last = self._last_gain(device)
        return self.server.uplink.mean_gain(device.number, self.server.number) if last is None else last

    def reaches(self, device: Device, at_once: int) -> bool:
        """Return whether server and ``device`` can ever hear each other while at most ``at_once`` devices upload."""
        server = self.server
        return server.uplink.moving is not None or not (
            server.downlink.hopeless(server.node, device.number)
            or server.uplink.hopeless(device, server.number, server.division.densest(at_once))
        )

    def send_down(
        self, message: Message, round: int, stop: simpy.Event | None, tell: Callable[[int, bool], None]
    ) -> Process:
        """Send ``message`` to its receivers (a SimPy process), in one broadcast or in a transmission to each.

        For each receiver ``tell`` is called with its number and whether the message arrived.
        """
        server, devices = self.server, self.network.devices
        receivers = [devices[n] for n in message.receivers]
        if server.broadcasts:
            outcomes = yield from broadcast(
                server.downlink, server.node, receivers, message.size_bits, round, "download", stop
            )
            for number, outcome in outcomes.items():
                tell(number, outcome == "delivered")
            return
        for receiver in receivers:
            self.network.env.process(self._send_to(receiver, message.size_bits, round, stop, tell))

    def _send_to(
        self,
        receiver: Device,
        size_bits: float,
        round: int,
        stop: simpy.Event | None,
        tell: Callable[[int, bool], None],
    ) -> Process:
        server = self.server
        row = yield from server.downlink.send(server.node, receiver, size_bits, round, "download", stop)
        tell(receiver.number, row.outcome == "delivered")

    def _last_gain(self, device: Device) -> float | None:
        return self.server.uplink.last_gain(device.number, self.server.number)
