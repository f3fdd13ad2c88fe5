"""Transfers that share a band and whose gains hold to their end, as arrays."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import numpy as np

from netsim.world.radio.air import Air

Key = TypeVar("Key")


class Sharing(Generic[Key]):
    """The transfers that share a band at one moment.

    Whenever a transfer joins or leaves the band, the rates of all of them change. Between two such moments each sends
    at its rate. The arithmetic is that of :meth:`netsim.world.radio.radio.Radio.send`, number by number.

    Args:
        air: What the links have in common, such as the width of the band.
        now_s: The present time [s].
    """

    def __init__(self, air: Air, now_s: float) -> None:
        self._air = air
        self._since_s = now_s
        self._count = 0
        self._keys: list[Key] = []  # also of those that have left, until all have
        self._columns = np.empty((7, 0))
        self._new: list[tuple[float, ...]] = []

    def __len__(self) -> int:
        return self._count

    def add(self, key: Key, snr: float, size_bits: float) -> None:
        """Add a transfer that begins now and is known by ``key``; call :meth:`advance` before, :meth:`plan` after it.

        Args:
            key: Its name here.
            snr: Signal-to-noise ratio with all power spread over the whole band.
            size_bits: Its size [bit].
        """
        self._new.append((snr, size_bits, 0.0, 0.0, math.inf, math.nan, len(self._keys)))
        self._keys.append(key)
        self._count += 1

    def advance(self, now_s: float) -> None:
        """Send at the present rates until ``now_s`` [s]."""
        if now_s > self._since_s:
            spent_s, self._since_s = now_s - self._since_s, now_s
            self._take_in()
            _, left_bits, airtime_s, rate_bps, *_ = self._columns
            airtime_s += spent_s
            left_bits -= rate_bps * spent_s
            np.maximum(left_bits, 0.0, out=left_bits)

    def plan(self, share: float, density: float) -> float:
        """Find the rates from now on, and return the time at which the next transfer ends [s].

        Args:
            share: The part of the band that each transfer has.
            density: Power density of each, relative to all power over the whole band.
        """
        self._take_in()
        snr, left_bits, airtime_s, rate_bps, end_s, airtime_at_end_s, _ = self._columns
        rate_bps[:] = self._air.rate.rates_bps(self._air.bandwidth_hz * share, (snr * density).tolist())
        need_s = left_bits / rate_bps
        np.add(self._since_s, need_s, out=end_s)
        np.add(airtime_s, need_s, out=airtime_at_end_s)
        return float(end_s[end_s.argmin()])  # the same as min(), in a sixth of the time

    def ended(self) -> list[tuple[Key, float]]:
        """Take out the transfers whose last bit is through now; return their keys and airtimes [s]."""
        self._take_in()
        goes_on = self._columns[4] > self._since_s
        *_, airtimes_s, numbers = self._columns.take((~goes_on).nonzero()[0], axis=1).tolist()
        found = [
            (self._keys[int(number)], airtime_s)
            for number, airtime_s in zip(numbers, airtimes_s, strict=True)
        ]
        self._keep(goes_on)
        return found

    def withdraw(self, key: Key) -> tuple[float, float]:
        """Take out a transfer before its end; return the bits that are left [bit] and its airtime [s]."""
        self._take_in()
        number = self._keys.index(key)
        (place,) = (self._columns[6] == number).nonzero()[0]
        left_bits, airtime_s = self._columns[[1, 2], place].tolist()
        self._keep(np.arange(self._count) != place)
        return left_bits, airtime_s

    def _take_in(self) -> None:
        if self._new:
            self._columns = np.hstack([self._columns, np.array(self._new).T])
            self._new = []

    def _keep(self, staying: np.ndarray) -> None:
        self._columns = self._columns.take(staying.nonzero()[0], axis=1)
        self._count = self._columns.shape[1]
        if not self._count:
            self._keys.clear()
