"""Bands whose transfers get unequal parts, which are dealt anew whenever one begins or ends."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import simpy
from pydantic import Field

from netsim.core.clock import at_the_end_of_this_moment
from netsim.core.options import Options
from netsim.world.radio.access import Access, Band, Grant, Seat, Traffic
from netsim.world.radio.air import Air


class DealtSeat(Seat):
    """The place of a transfer in a :class:`DealtBand`; it waits until it is dealt something.

    Attributes:
        traffic: The transfer.
        snr: SNR of its link when it was last looked at, with all power spread over the whole band.
        on_air: Whether the link is not in outage at this SNR.
    """

    shared = True

    def __init__(self, band: DealtBand, traffic: Traffic) -> None:
        self.traffic = traffic
        self.snr = 0.0
        self.on_air = False
        self.changed = band.env.event()
        self._band = band
        self._grant = Grant()

    @property
    def grant(self) -> Grant:
        """Return what the transfer may use now."""
        return self._grant

    def give(self, grant: Grant) -> None:
        """Let the transfer use ``grant`` from now on."""
        if grant != self._grant:
            self._grant = grant
            self.look()

    def look(self) -> None:
        """Let the transfer look at its grant again."""
        changed, self.changed = self.changed, self._band.env.event()
        if changed.callbacks:
            changed.succeed()

    def hear(self, snr: float) -> None:
        """Note the SNR, and deal anew if that changes what the band is dealt by."""
        before = self.snr, self.on_air
        self.snr, self.on_air = snr, snr > 0 and snr >= self._band.air.outage_snr
        follows = self._band.FOLLOWS
        if (follows == "gains" and self.snr != before[0]) or (follows and self.on_air != before[1]):
            self._band.plan(self.traffic.sender.number)


class DealtBand(Band):
    """A band that deals each transfer its part, at the end of the moment in which something has changed.

    Attributes:
        FOLLOWS: What else than beginnings and ends of transfers changes the parts: nothing, "outages" of links, or
            all their "gains".
        SEAT: Class of the seats.
        air: What the links have in common.
        seats: Places of the running transfers, in the order of their beginnings.
    """

    FOLLOWS: ClassVar[Literal["", "outages", "gains"]] = ""
    SEAT: ClassVar[type[DealtSeat]] = DealtSeat

    def __init__(self, env: simpy.Environment, air: Air) -> None:
        super().__init__(env, shared=True)
        self.air = air
        self.seats: list[DealtSeat] = []
        self._planned = False

    @contextmanager
    def join(self, traffic: Traffic | None = None) -> Generator[Seat]:
        """Take a seat in the band for ``traffic`` while the block runs."""
        assert traffic is not None
        seat = self.SEAT(self, traffic)
        self.seats.append(seat)
        self.seated(seat, True)
        self.plan(traffic.sender.number)
        try:
            yield seat
        finally:
            self.seats.remove(seat)
            self.seated(seat, False)
            self.plan(traffic.sender.number)

    def seated(self, seat: DealtSeat, here: bool) -> None:
        """Note that ``seat`` is taken, or free again."""

    def plan(self, sender: int) -> None:
        """Deal at the end of this moment, for something about the transfers of ``sender`` has changed."""
        if not self._planned:
            self._planned = True
            at_the_end_of_this_moment(self.env, self._deal)

    def _deal(self) -> None:
        self._planned = False
        if self.seats:
            self.deal()

    @abstractmethod
    def deal(self) -> None:
        """Give each of :attr:`seats` its grant; there is at least one."""

    def by_sender(self) -> dict[int, list[DealtSeat]]:
        """Return the seats by their senders' numbers."""
        seats: dict[int, list[DealtSeat]] = {}
        for seat in self.seats:
            seats.setdefault(seat.traffic.sender.number, []).append(seat)
        return seats


class PerOptions(Options):
    """Options of access methods whose band can be a cell's or a device's."""

    per: Literal["cell", "device"] = Field(
        "cell",
        description="cell: one band for the transfers of all senders; device: every sender has a band of its own",
    )


class Dealing(Access):
    """Base class of access methods whose bands are :class:`DealtBand`, one for all or one for each sender."""

    def __init__(self, options: Any, env: simpy.Environment) -> None:
        super().__init__(options, env)
        self._bands: dict[int, DealtBand] = {}

    def band(self, sender: int, receiver: int) -> Band:
        """Return the cell's band, or the sender's."""
        owner = sender if getattr(self.options, "per", "cell") == "device" else -1
        if owner not in self._bands:
            self._bands[owner] = self.make()
        return self._bands[owner]

    @abstractmethod
    def make(self) -> DealtBand:
        """Make a band."""
