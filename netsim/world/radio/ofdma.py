"""Orthogonal frequency-division multiple access: sub-carriers, dealt to transfers by a scheduler."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Annotated

import simpy
from pydantic import AfterValidator, Field

from netsim.core import registry
from netsim.core.errors import ScenarioError
from netsim.core.own_code import code_of_ones_own
from netsim.world.radio.access import Grant
from netsim.world.radio.air import Air
from netsim.world.radio.dealt import Dealing, DealtBand, PerOptions
from netsim.world.radio.schedulers import Bid, Scheduler


def _known(name: str) -> str:
    try:
        registry.options_of("schedulers", name, {})
    except ScenarioError as error:
        raise ValueError(str(error)) from None
    return name


class OFDMABand(DealtBand):
    """A band of sub-carriers.

    A sender divides its power equally among the sub-carriers that it has, or among all of a band of its own.
    """

    def __init__(
        self, env: simpy.Environment, air: Air, subcarriers: int, scheduler: Scheduler, per_device: bool
    ) -> None:
        super().__init__(env, air)
        self.subcarriers = subcarriers
        self.scheduler = scheduler
        self._per_device = per_device

    def deal(self) -> None:
        """Ask the scheduler, and give each transfer its sub-carriers and the power on them."""
        counts = self._counts()
        of_sender: dict[int, int] = {}
        for seat, count in zip(self.seats, counts, strict=True):
            number = seat.traffic.sender.number
            of_sender[number] = of_sender.get(number, 0) + count
        for seat, count in zip(self.seats, counts, strict=True):
            powered = self.subcarriers if self._per_device else of_sender[seat.traffic.sender.number]
            seat.give(
                Grant(count / self.subcarriers, count / powered, self.subcarriers / powered)
                if count
                else Grant()
            )

    def _counts(self) -> Sequence[int]:
        bids = [
            Bid(seat.traffic.sender.number, seat.traffic.receiver, seat.snr, not self._per_device)
            for seat in self.seats
        ]
        with code_of_ones_own("radio.access.scheduler", self.scheduler.deal):
            found = self.scheduler.deal(bids, self.subcarriers)
        try:
            counts = [operator.index(count) for count in found]
        except TypeError:
            counts = []
        if len(counts) != len(bids) or min(counts) < 0 or not 0 < sum(counts) <= self.subcarriers:
            raise ScenarioError(
                f"radio.access.scheduler: {type(self.scheduler).__name__!r} deals {found!r} to {len(bids)} transfers; "
                f"it must return a whole number for each, together 1 to {self.subcarriers}"
            )
        return counts


class OFDMA(Dealing):
    """OFDMA: N sub-carriers, dealt anew whenever a transfer begins or ends; who gets none waits.

    Attributes:
        dealer: Deals in place of the scheduler that the options name, unless it is None.
    """

    class Options(PerOptions):
        """Block ``radio.access`` with name ``ofdma``."""

        subcarriers: int = Field(
            64, ge=1, le=65536, description="number of equal sub-carriers of the band, N"
        )
        scheduler: Annotated[str, AfterValidator(_known)] = Field(
            "equal",
            description="who gets how many sub-carriers: a name of kind schedulers, or package.module:Class",
        )

    options: OFDMA.Options
    dealer: Scheduler | None = None

    def named(self) -> Scheduler:
        """Return the scheduler that the options name."""
        cls = registry.load("schedulers", self.options.scheduler)
        scheduler: Scheduler = cls(cls.Options())
        return scheduler

    def make(self) -> OFDMABand:
        """Make a band with a scheduler of its own."""
        options, dealer = self.options, self.dealer or self.named()
        return OFDMABand(self.env, self.air, options.subcarriers, dealer, options.per == "device")

    def densest(self, senders: int) -> float:
        """Return the number of senders, up to that of sub-carriers, where power moves."""
        return 1.0 if self.options.per == "device" else float(min(senders, self.options.subcarriers))
