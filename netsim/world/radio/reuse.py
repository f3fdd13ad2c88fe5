"""Reuse of channels: senders on one channel disturb each other's receivers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import simpy
from pydantic import Field

from netsim.core.options import Options
from netsim.world.radio.access import Band, Grant
from netsim.world.radio.air import Air
from netsim.world.radio.dealt import Dealing, DealtBand, DealtSeat
from netsim.world.radio.hearing import Ether, Heard, Source
from netsim.world.radio.units import db_to_power


class ReuseSeat(DealtSeat):
    """The place of a transfer on a channel, whose grant says what disturbs its receiver at this moment."""

    _band: Channel

    @property
    def grant(self) -> Grant:
        """Return what the transfer may use now."""
        if not self._grant.share:
            return self._grant
        heard = self._band.heard(self.traffic.receiver)
        interference_w = heard.without(self.traffic.sender.number)
        return self._grant._replace(interference_w=interference_w, until_s=heard.holds_until_s)


class Channel(DealtBand):
    """A channel that several senders may use at once. Each divides band and power equally among its transfers.

    The interferers of a transfer are all other senders that are on the air here, each with its latest transfer. The
    receiver's own sending does not disturb it. What a receiver hears is kept as a sum to which those who begin are
    added, and from which those who end are taken (:class:`~netsim.world.radio.hearing.Heard`). So who begins costs a
    step for each receiver, who ends one for each that has heard it, and only those look at their rate again.

    Args:
        env: The clock.
        air: What the links have in common.
        ether: Gains across links.
        least_w: An interferer that is heard with less power is left out [W].
    """

    FOLLOWS = "outages"
    SEAT = ReuseSeat

    def __init__(self, env: simpy.Environment, air: Air, ether: Ether, least_w: float) -> None:
        super().__init__(env, air)
        self._ether = ether
        self._least_w = least_w
        self._changed: set[int] = set()  # senders about whose transfers something has changed
        self._of: defaultdict[int, list[DealtSeat]] = defaultdict(list)  # by sender
        self._to: defaultdict[int, list[DealtSeat]] = defaultdict(list)  # by receiver
        self._on_air: dict[int, Source] = {}
        self._heard: dict[int, Heard] = {}
        self._hearers: defaultdict[int, set[int]] = defaultdict(set)  # who may hear a sender, by sender

    def seated(self, seat: DealtSeat, here: bool) -> None:
        """Note that ``seat`` is taken, or free again."""
        sender, receiver = seat.traffic.sender.number, seat.traffic.receiver
        for seats, number in ((self._of, sender), (self._to, receiver)):
            if here:
                seats[number].append(seat)
            else:
                seats[number].remove(seat)
                if not seats[number]:
                    del seats[number]
        if receiver not in self._to:
            self._heard.pop(receiver, None)

    def plan(self, sender: int) -> None:
        """Deal at the end of this moment, for something about the transfers of ``sender`` has changed."""
        self._changed.add(sender)
        super().plan(sender)

    def deal(self) -> None:
        """Tell those whose interferers or whose shares have changed."""
        changed, self._changed = sorted(self._changed), set()
        touched: defaultdict[int, set[int]] = defaultdict(
            set
        )  # of whom a receiver hears more or less, by receiver
        for number in changed:
            own = self._of.get(number, [])
            for seat in own:
                seat.give(Grant(1 / len(own), 1 / len(own)))
            latest = next((seat.traffic for seat in reversed(own) if seat.on_air), None)
            source = None if latest is None else Source(latest.sender.tx_power_w, latest.round)
            if self._on_air.get(number) != source:
                self._change(number, source, touched)
        for receiver, sources in touched.items():
            for seat in self._to.get(receiver, ()):
                if len(sources) > (seat.traffic.sender.number in sources):
                    seat.look()

    def _change(self, number: int, source: Source | None, touched: defaultdict[int, set[int]]) -> None:
        """Let ``number`` be on the air as ``source``, or fall silent; note whose sum of what it hears changes."""
        if self._on_air.pop(number, None) is not None:
            for receiver in self._hearers.pop(number):
                if receiver in self._heard and self._heard[receiver].remove(number):
                    touched[receiver].add(number)
        if source is not None:
            self._on_air[number] = source
            self._hearers[number] = set()
            self._add([(number, receiver) for receiver in self._heard if receiver != number])
            for receiver in self._hearers[number]:
                touched[receiver].add(number)

    def heard(self, receiver: int) -> Heard:
        """Return what ``receiver`` hears now of all that are on the air."""
        heard = self._heard.get(receiver)
        if heard is None or self.env.now >= self._ether.until_s(heard.holds_until_s, heard.since_s):
            self._heard[receiver] = heard = Heard(self.env.now)
            self._add([(number, receiver) for number in self._on_air if number != receiver])
        return heard

    def _add(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Add senders to what receivers hear, a pair each."""
        for round, own in groupby(sorted(pairs, key=self._round_of), key=self._round_of):
            senders, receivers = zip(*own, strict=True)
            gains, holds_until_s = self._ether.across(senders, receivers, round)
            for number, receiver, gain in zip(senders, receivers, gains, strict=True):
                heard, watts = self._heard[receiver], self._on_air[number].power_w * gain
                heard.holds_until_s = min(heard.holds_until_s, holds_until_s)
                if watts > self._least_w:
                    heard.add(number, watts)
                    self._hearers[number].add(receiver)

    def _round_of(self, pair: tuple[int, int]) -> int:
        return self._on_air[pair[0]].round


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
        negligible_db: float | None = Field(
            None,
            ge=0,
            le=1000,
            description="an interferer that a receiver hears so far below its noise is left out [dB]; null: all count",
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
        below_db = self.options.negligible_db
        noise_w = self.air.bandwidth_hz * self.air.noise_w_per_hz
        least_w = 0.0 if below_db is None else noise_w / db_to_power(below_db)
        return Channel(self.env, self.air, self.ether, least_w)
