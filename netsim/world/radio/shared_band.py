"""Transfers that share a band and that nothing else disturbs: computed together when one joins or leaves."""

from __future__ import annotations

import simpy

from netsim.core.clock import at_the_end_of_this_moment, succeed_at
from netsim.world.radio.access import Band
from netsim.world.radio.air import Air
from netsim.world.radio.sharing import Sharing


class SharedTransfers:
    """The transfers of one band whose gains hold to their end.

    An array operation for each moment at which one joins or leaves takes the place of an event for each transfer.

    Args:
        env: The clock.
        band: The band; it calls :meth:`update` when a transfer joins or leaves.
        air: What the links have in common.
    """

    def __init__(self, env: simpy.Environment, band: Band, air: Air) -> None:
        self.env = env
        self._band = band
        self._sharing: Sharing[simpy.Event] = Sharing(air, env.now)
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
        self._sharing.add(done, snr, size_bits)
        return done

    def withdraw(self, done: simpy.Event) -> tuple[float, float]:
        """Take out a transfer before its end; return the bits that are left [bit] and its airtime [s]."""
        self.update()
        return self._sharing.withdraw(done)

    def update(self) -> None:
        """Send at the present rates up to now, and find new ones at the end of this moment."""
        self._sharing.advance(self.env.now)
        if self._planned:
            self._planned = False
            at_the_end_of_this_moment(self.env, self._plan)

    def _plan(self) -> None:
        """Find all rates, and the next end."""
        self._planned, self._wake = True, None
        if not len(self._sharing):
            return
        wake = self._wake = self.env.event()
        wake.callbacks = [self._end]
        succeed_at(wake, self._sharing.plan(self._band.share, self._band.density))

    def _end(self, wake: simpy.Event) -> None:
        """End the transfers whose last bit is through now."""
        if wake is not self._wake:
            return  # the rates have changed since
        self.update()
        for done, airtime_s in self._sharing.ended():
            done.succeed(airtime_s)
