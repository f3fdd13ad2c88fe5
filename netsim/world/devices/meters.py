"""Power meters of many devices with unlimited power, as arrays.

The operations on each device are those of :class:`netsim.world.devices.unlimited.UnlimitedMeter`, in the same order, so
the numbers agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netsim.core.arrays import Floats, Whole
from netsim.world.devices.meter import CATEGORIES
from netsim.world.devices.unlimited import UnlimitedMeter

COMPUTE, SENDING, RECEIVING, ANY = range(4)
"""Rows of coverages: one for each busy category, and one for all of them together."""


class Meters:
    """The meters of some devices. Each device has its own present time, which never goes back.

    Args:
        meters: The meters that these stand for, unused so far; they stay so, but for what their batteries have spent.
    """

    def __init__(self, meters: Sequence[UnlimitedMeter]) -> None:
        self._batteries = [meter.battery for meter in meters]
        self._rx_power_w = np.array([meter.rx_power_w for meter in meters])
        self._idle_power_w = np.array([meter.idle_power_w for meter in meters])
        self._until_s, self._covered_s, self._gaps_s = np.zeros((3, 4, len(meters)))  # see Coverage
        self._spent_j = np.zeros((4, len(meters)))

    def compute(self, since_s: Floats, duration_s: Floats, power_w: Floats) -> None:
        """Let each device compute from ``since_s`` [s] on, its present time."""
        self._cover(COMPUTE, np.arange(len(since_s)), since_s, since_s + duration_s)
        self._spent_j[COMPUTE] += power_w * duration_s

    def send(self, devices: Whole, since_s: Floats, longest_s: Floats, energy_j: Floats) -> None:
        """Let devices send messages from ``since_s`` [s] on, their present time.

        Args:
            devices: The sender of each message, in ascending order.
            since_s: Time at which it begins to send it [s].
            longest_s: The longest time to any of its receivers [s].
            energy_j: Energy of the message [J].
        """
        end_s = since_s + longest_s
        for place in np.flatnonzero(devices[1:] == devices[:-1]).tolist():
            end_s[place + 1] = max(end_s[place : place + 2])  # one that ends earlier changes nothing
        self._cover(SENDING, devices, since_s, end_s)
        np.add.at(self._spent_j[SENDING], devices, energy_j)

    def receive(self, devices: Whole, since_s: Floats, end_s: Floats) -> None:
        """Let devices receive.

        Args:
            devices: The receiver of each transfer; all transfers to it that have begun since the last call.
            since_s: Time at which the transfer begins [s].
            end_s: Time at which it ends [s].
        """
        if not len(devices):
            return
        order = np.argsort(devices, kind="stable")  # fast where they come in few ascending runs
        device = devices[order]
        since_s, end_s = sorted_within(device, np.array([since_s[order], end_s[order]]))
        # Where a transfer begins after as many have ended as had begun, the device has not received for a while.
        first = np.ones(len(device), dtype=bool)
        first[1:] = (device[1:] != device[:-1]) | (since_s[1:] > end_s[:-1])
        last = np.append(first[1:], True)
        self._cover(RECEIVING, device[first], since_s[first], end_s[last])

    def account(self, now_s: Floats) -> Floats:
        """Return time [s] and energy [J] up to ``now_s`` [s], by the fields of an account [8, devices]."""
        self._gaps_s += np.maximum(now_s - self._until_s, 0.0)
        np.maximum(self._until_s, now_s, out=self._until_s)
        time_s = self._covered_s - (self._until_s - now_s)
        time_s[ANY] = self._gaps_s[ANY]
        energy_j = self._spent_j
        energy_j[RECEIVING] = self._rx_power_w * time_s[RECEIVING]
        energy_j[ANY] = self._idle_power_w * time_s[ANY]
        return np.concatenate([time_s, energy_j])

    def store(self) -> None:
        """Note on the batteries what has been spent up to the last :meth:`account`."""
        for battery, *spent_j in zip(self._batteries, *self._spent_j.tolist(), strict=True):
            battery.spent_j.update(zip(CATEGORIES, spent_j, strict=True))

    def _cover(self, row: int, devices: Whole, since_s: Floats, end_s: Floats) -> None:
        """Cover intervals, of which none ends before an earlier one of its device.

        Args:
            row: Row of the coverages.
            devices: Device of each interval, in ascending order.
            since_s: Its beginning [s].
            end_s: Its end [s].
        """
        again = devices[1:] == devices[:-1]
        for one in (row, ANY):
            until_s = self._until_s[one, devices]
            np.maximum(until_s[1:], end_s[:-1], out=until_s[1:], where=again)
            np.add.at(self._gaps_s[one], devices, np.maximum(since_s - until_s, 0.0))
            np.add.at(self._covered_s[one], devices, np.maximum(end_s - np.maximum(until_s, since_s), 0.0))
            np.maximum.at(self._until_s[one], devices, end_s)


def sorted_within(group: Whole, values: Floats) -> Floats:
    """Return ``values`` [.., values] sorted within each group, where ``group`` [values] has them in ascending order.

    Groups of about one size are the rows of a matrix, which is several times as fast as ``np.lexsort``.
    """
    first = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    size = np.diff(np.append(first, len(group)))
    if size.max() * len(size) <= 2 * len(group):
        return _sorted_rows(size, values)
    ordered = np.empty_like(values)
    width = np.exp2(np.ceil(np.log2(size)))  # at most half of a row is empty
    for one in np.unique(width).tolist():
        chosen = np.repeat(width == one, size)
        ordered[..., chosen] = _sorted_rows(size[width == one], values[..., chosen])
    return ordered


def _sorted_rows(size: Whole, values: Floats) -> Floats:
    """Return ``values`` [.., values] sorted within groups of these sizes, by rows that end with infinity."""
    shape, most = values.shape[:-1], int(size.max())
    place = np.flatnonzero(np.arange(most) < size[:, None])
    rows = np.full((*shape, len(size) * most), np.inf)
    rows[..., place] = values
    rows.reshape(*shape, len(size), most).sort(axis=-1)
    return rows[..., place]
