"""Reuse of channels: senders on one channel disturb each other's receivers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from netsim.core.options import Options
from netsim.world.radio.access import Band, Grant
from netsim.world.radio.dealt import Dealing, DealtBand


class Channel(DealtBand):
    """A channel that several senders may use at once. Each divides band and power equally among its transfers.

    The interferers of a transfer are all other senders that are on the air here, each with its latest transfer. The
    receiver's own sending does not disturb it.
    """

    FOLLOWS = "outages"

    def deal(self) -> None:
        """Tell each transfer who disturbs it."""
        senders = self.by_sender()
        on_air = {
            number: radiating[-1].traffic
            for number, seats in senders.items()
            if (radiating := [seat for seat in seats if seat.on_air])
        }
        for number, seats in senders.items():
            share = 1 / len(seats)
            for seat in seats:
                own = (number, seat.traffic.receiver)
                others = tuple(traffic for other, traffic in on_air.items() if other not in own)
                seat.give(Grant(share, share, interferers=others))


class Reuse(Dealing):
    """Reused channels: a sender has one of n channels as wide as a band, and what others send there is interference.

    The rate of a transfer is that of its SINR, p g² / (B N0 + Σ p_i g_i²), where g_i is the gain from interferer i to
    the receiver. It changes whenever somebody begins or ends to send on the channel.
    """

    class Options(Options):
        """Block ``radio.access`` with name ``reuse``."""

        channels: int = Field(1, ge=1, le=2**20, description="number of channels, each as wide as a band, n")
        assignment: Literal["number", "least_used"] = Field(
            "number",
            description="number: device k always has channel k mod n; least_used: a device that begins to send takes "
            "the channel with the fewest senders",
        )

    options: Reuse.Options

    def band(self, sender: int, receiver: int) -> Band:
        """Return the sender's channel."""
        if not self._bands:
            self._bands = {number: self.make() for number in range(self.options.channels)}
        if self.options.assignment == "number":
            return self._bands[sender % self.options.channels]
        users = {number: channel.by_sender() for number, channel in self._bands.items()}
        return self._bands[min(users, key=lambda number: (sender not in users[number], len(users[number])))]

    def make(self) -> Channel:
        """Make a channel."""
        return Channel(self.env, self.air)
