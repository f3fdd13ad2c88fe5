"""Transfers that share a band and that nothing else disturbs: computed together when one joins or leaves."""

from __future__ import annotations

import math

import numpy as np
import simpy
from numpy.typing import NDArray

from netsim.core.clock import at_the_end_of_this_moment, succeed_at
from netsim.world.radio.access import Band
from netsim.world.radio.rate import shannon_rates_bps


class SharedTransfers:
    """The transfers of one band whose gains hold to their end.

    The rate of all of them changes whenever a transfer joins or leaves the band. An array operation for each such
    moment takes the place of an event for each transfer. The arithmetic is that of
    :meth:`netsim.world.radio.radio.Radio.send`, number by number.

    Args:
        env: The clock.
        band: The band; it calls :meth:`update` when a transfer joins or leaves.
        bandwidth_hz: Its width [Hz].
    """

    def __init__(self, env: simpy.Environment, band: Band, bandwidth_hz: float) -> None:
        self.env = env
        self._band = band
        self._bandwidth_hz = bandwidth_hz
        self._done: list[simpy.Event] = []
        self._columns = np.empty((6, 0))
        self._since_s = env.now
        self._wake: simpy.Event | None = None
        self._planned = True

    def start(self, snr: float, size_bits: float) -> simpy.Event:
        """Begin a transfer; return an event at its end, whose value is its airtime [s].

        Args:
            snr: Signal-to-noise ratio with all power spread over the whole band.
            size_bits: Its size [bit].
        """
        self.update()
        done = self.env.event()
        self._done.append(done)
        column = [[snr], [size_bits], [0.0], [0.0], [math.inf], [math.nan]]
        self._columns = np.hstack([self._columns, np.array(column)])
        return done

    def withdraw(self, done: simpy.Event) -> tuple[float, float]:
        """Take out a transfer before its end; return the bits that are left [bit] and its airtime [s]."""
        self.update()
        place = self._done.index(done)
        left_bits, airtime_s = self._columns[[1, 2], place].tolist()
        self._drop([place])
        return left_bits, airtime_s

    def update(self) -> None:
        """Send at the present rates up to now, and find new ones at the end of this moment."""
        now = self.env.now
        if now > self._since_s:
            spent_s, self._since_s = now - self._since_s, now
            _, left_bits, airtime_s, rate_bps, _, _ = self._columns
            airtime_s += spent_s
            left_bits[:] = np.maximum(left_bits - rate_bps * spent_s, 0.0)
        if self._planned:
            self._planned = False
            at_the_end_of_this_moment(self.env, self._plan)

    def _plan(self) -> None:
        """Find all rates, and the next end."""
        self._planned, self._wake = True, None
        if not self._done:
            return
        band, now = self._band, self.env.now
        snr, left_bits, airtime_s, rate_bps, end_s, airtime_at_end_s = self._columns
        rate_bps[:] = shannon_rates_bps(self._bandwidth_hz * band.share, (snr * band.density).tolist())
        need_s: NDArray[np.float64] = left_bits / rate_bps
        np.add(now, need_s, out=end_s)
        np.add(airtime_s, need_s, out=airtime_at_end_s)
        wake = self._wake = self.env.event()
        wake.callbacks = [self._end]
        succeed_at(wake, float(end_s.min()))

    def _end(self, wake: simpy.Event) -> None:
        """End the transfers whose last bit is through now."""
        if wake is not self._wake:
            return  # the rates have changed since
        self.update()
        places = np.flatnonzero(self._columns[4] <= self.env.now).tolist()
        finished = [(self._done[place], float(self._columns[5, place])) for place in places]
        self._drop(places)
        for done, airtime_s in finished:
            done.succeed(airtime_s)

    def _drop(self, places: list[int]) -> None:
        for place in reversed(places):
            del self._done[place]
        self._columns = np.delete(self._columns, places, axis=1)
