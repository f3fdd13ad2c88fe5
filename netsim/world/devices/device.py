"""A simulated node: processor, battery, radio front end, and the moment at which it dies."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import simpy

from netsim.world.devices.battery import Battery
from netsim.world.devices.meter import PowerMeter
from netsim.world.devices.processor import Processor
from netsim.world.devices.unlimited import MainsMeter


def first_of(event: simpy.Event, *others: simpy.Event) -> simpy.Event:
    """The first of several events; one event alone stands for itself, which saves the queue half of its entries."""
    return event.env.any_of([event, *others]) if others else event


class Device:
    """A node that computes and communicates until its battery is empty.

    Attributes:
        number: Its number, from 0.
        processor: Turns FLOPs into seconds and joules.
        battery: Joules left.
        meter: Charges every watt to the battery.
        mains: The same meter, if the device is on mains power and so cannot die; None if it has a finite battery.
        tx_power_w: Transmit power [W].
        rx_power_w: Power while it receives [W].
        died: Event that fires when the battery is empty.
        died_s: When that was [s]; infinite as long as it was not.
    """

    def __init__(
        self,
        env: simpy.Environment,
        number: int,
        processor: Processor,
        capacity_j: float,
        tx_power_w: float,
        rx_power_w: float = 0.0,
        idle_power_w: float = 0.0,
    ) -> None:
        self.env = env
        self.number = number
        self.processor = processor
        self.tx_power_w = tx_power_w
        self.rx_power_w = rx_power_w
        self.battery = Battery(capacity_j)
        self.died: simpy.Event = env.event()
        self.died_s = math.inf
        self.on_death: list[Callable[[Device], None]] = []
        self.mains: MainsMeter | None = None
        self.meter: MainsMeter | PowerMeter
        if math.isinf(capacity_j):
            self.meter = self.mains = MainsMeter(env, self.battery, idle_power_w, rx_power_w)
        else:
            self.meter = PowerMeter(env, self.battery, idle_power_w, self._die)
        self._receptions = 0

    def __repr__(self) -> str:
        return f"Device({self.number})"

    @property
    def alive(self) -> bool:
        """Whether its battery still holds anything."""
        return not self.meter.dead

    def endings(self, stop: simpy.Event | None) -> list[simpy.Event]:
        """What may end this device's work early: its death, where it can die, and ``stop``, where there is one."""
        return [*([self.died] if self.mains is None else []), *([stop] if stop is not None else [])]

    def compute(
        self, flops: float, slowdown: float = 1.0, stop: simpy.Event | None = None
    ) -> Generator[simpy.Event, Any, bool]:
        """Process: compute ``flops`` FLOPs; returns whether it got to the end.

        It takes ``slowdown`` · C/(f e) seconds and ε f² C/e joules (DMML-KD, eq. 20). It ends early when the device
        dies or when ``stop`` fires; what was computed by then has been paid for.
        """
        duration_s = slowdown * self.processor.time_s(flops)
        if duration_s == 0:
            return self.alive
        power_w = self.processor.energy_j(flops) / duration_s
        if self.mains is not None and stop is None:  # nothing can end it early
            self.mains.book("compute", power_w, [duration_s], duration_s)
            yield self.env.timeout(duration_s)
            return True
        draw = self.meter.start("compute", power_w, duration_s)
        done = self.env.timeout(duration_s)
        yield first_of(done, *self.endings(stop))
        self.meter.stop(draw, duration_s if done.processed else None)
        return done.processed

    @contextmanager
    def listening(self) -> Generator[None]:
        """Receive: draws ``rx_power_w`` once, however many transfers arrive at the same time."""
        if self._receptions == 0:
            self._listening = self.meter.start("receiving", self.rx_power_w)
        self._receptions += 1
        try:
            yield
        finally:
            self._receptions -= 1
            if self._receptions == 0:
                self.meter.stop(self._listening)

    def _die(self) -> None:
        self.died_s = self.env.now
        self.died.succeed()
        for tell in self.on_death:
            tell(self)
