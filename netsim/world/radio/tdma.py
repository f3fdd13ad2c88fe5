"""Time-division multiple access: transfers take turns with the whole band."""

from __future__ import annotations

import math

import simpy
from pydantic import Field

from netsim.core.clock import deadline
from netsim.world.radio.access import Grant
from netsim.world.radio.air import Air
from netsim.world.radio.dealt import Dealing, DealtBand, DealtSeat, PerOptions

WHOLE = Grant(share=1.0)


class TDMABand(DealtBand):
    """A band that belongs to one transfer at a time, the first of :attr:`seats`, for one slot."""

    def __init__(self, env: simpy.Environment, air: Air, slot_s: float) -> None:
        super().__init__(env, air)
        self._slot_s = slot_s
        self._head: DealtSeat | None = None
        self._since_s = 0.0  # when its turn began
        self._ends: simpy.Event | None = None  # its slot, if others wait

    def deal(self) -> None:
        """Let the first transfer send, and the next one after its slot if there is one."""
        head, now_s = self.seats[0], self.env.now
        if head is not self._head:
            self._head, self._since_s, self._ends = head, now_s, None
        for seat in self.seats:
            seat.give(WHOLE if seat is head else Grant())
        if len(self.seats) > 1 and self._ends is None:
            # One that is alone has slot after slot, which take no events.
            slots = math.floor((now_s - self._since_s) / self._slot_s) + 1
            ends = self._ends = deadline(self.env, self._since_s + slots * self._slot_s)
            ends.callbacks.append(self._next)

    def _next(self, slot: simpy.Event) -> None:
        """End the slot of the first transfer, which becomes the last."""
        if slot is not self._ends:
            return  # it has ended early
        self._ends = None
        if len(self.seats) > 1 and self.seats[0] is self._head:
            first = self.seats.pop(0)
            self.seats.append(first)
            self.plan(first.traffic.sender.number)


class TDMA(Dealing):
    """TDMA: running transfers take turns of one slot each, with the whole band and all power, exactly as slots end.

    A transfer draws power in its own slots only. One that ends within a slot passes the turn on at once.
    """

    class Options(PerOptions):
        """Block ``radio.access`` with name ``tdma``."""

        slot_s: float = Field(0.01, ge=1e-6, description="length of a slot [s]")

    options: TDMA.Options

    def make(self) -> TDMABand:
        """Make a band."""
        return TDMABand(self.env, self.air, self.options.slot_s)
