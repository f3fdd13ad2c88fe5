"""Survival: devices that certainly live long enough, by an upper bound of what rounds can cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from netsim.world.devices.device import Device
from netsim.world.network import Network
from netsim.world.radio.transfers import Message
from netsim.world.radio.volley import Volley


@dataclass
class _Bound:
    """A time before which a device cannot die, and what it is true for.

    Attributes:
        round: The last round that was looked at.
        slowdown: Its least straggler factor up to that round.
        until_s: Time before which it cannot die in such rounds [s].
    """

    round: int = 0
    slowdown: float = math.inf
    until_s: float = -math.inf


class Survival:
    """Tells whether devices certainly live until a time, whatever their rounds cost.

    A device cannot draw more than the power of computing as fast as it can, sending to all its neighbours at once,
    receiving and idling.

    Args:
        network: The devices.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._factor = network.stragglers.factor
        self._degree: list[int] = network.topology.degree.tolist()
        self._bounds = [_Bound() for _ in network.devices]

    def volley(self, device: Device, messages: Sequence[Message], round: int) -> Volley | None:
        """Compute all that ``device`` sends in ``round`` if nothing can disturb it; return None otherwise."""
        network, outlives = self._network, partial(self.outlives, round)
        return Volley.of(network.radio, device, messages, network.devices, round, outlives)

    def outlives(self, round: int, device: Device, end_s: float) -> bool:
        """Return whether ``device`` certainly lives until after ``end_s`` [s], while in ``round`` at the latest."""
        if device.unlimited is not None:
            return True
        bound, number = self._bounds[device.number], device.number
        if round > bound.round:
            factor = min(self._factor(number, t) for t in range(bound.round + 1, round + 1))
            bound.round = round
            if factor < bound.slowdown:
                bound.slowdown, bound.until_s = factor, -math.inf
        if end_s >= bound.until_s:
            bound.until_s = device.lives_until_s(bound.slowdown, self._degree[number])
        return end_s < bound.until_s
