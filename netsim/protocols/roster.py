"""A list of the devices that take part in a round."""

from __future__ import annotations

import math
from collections.abc import Sequence

from netsim.world.devices.device import Device


class Roster:
    """The first round that each device takes part in since it came or returned.

    A device that returns takes part from the next round on that nobody has begun. So nobody who is in a round waits for
    it, and it waits for all that are behind.

    Args:
        devices: Number of devices.

    Attributes:
        begun: The last round that any device has begun.
    """

    def __init__(self, devices: int) -> None:
        self.begun = 0
        self._first: list[float] = [1] * devices
        self._changed = False

    def gone(self, device: Device) -> None:
        """Note that ``device`` takes part in nothing until :meth:`back`."""
        self._first[device.number] = math.inf
        self._changed = True

    def back(self, device: Device, at_least: int = 1) -> int:
        """Note that ``device`` is back; return the round that it takes part in next."""
        first = max(self.begun + 1, at_least)
        self._first[device.number] = first
        return first

    def taking_part(self, numbers: Sequence[int], round: int) -> Sequence[int]:
        """Return those of ``numbers``, of devices that are here, that take part in ``round``."""
        return [n for n in numbers if self._first[n] <= round] if self._changed else numbers
