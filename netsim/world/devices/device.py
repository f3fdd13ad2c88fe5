"""A simulated node: processor, battery, radio front end, and time of death."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import simpy

from netsim.world.devices.battery import Battery
from netsim.world.devices.meter import PowerMeter
from netsim.world.devices.processor import Processor
from netsim.world.devices.unlimited import UnlimitedMeter


def first_of(event: simpy.Event, *others: simpy.Event) -> simpy.Event:
    """Return an event that fires with the first of several; a single event is returned itself: fewer queue entries."""
    return event.env.any_of([event, *others]) if others else event


class Device:
    """A node that computes and communicates until its battery is empty.

    Attributes:
        number: Its number, from 0.
        processor: Converts FLOPs to seconds and joules.
        battery: Its energy.
        meter: Charges the energy of each activity to the battery.
        unlimited: The same meter if the device has unlimited power and so cannot die; None if its battery is finite.
        tx_power_w: Transmit power [W].
        rx_power_w: Power while it receives [W].
        died: Event that fires when the battery is empty.
        died_s: Time of its death [s]; infinite while it is alive.
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
        self._idle_power_w = idle_power_w
        self.battery = Battery(capacity_j)
        self.died: simpy.Event = env.event()
        self.died_s = math.inf
        self.on_death: list[Callable[[Device], None]] = []
        self.unlimited: UnlimitedMeter | None = None
        self.meter: UnlimitedMeter | PowerMeter
        if math.isinf(capacity_j):
            self.meter = self.unlimited = UnlimitedMeter(env, self.battery, idle_power_w, rx_power_w)
        else:
            self.meter = PowerMeter(env, self.battery, idle_power_w, self._die)
        self._receptions = 0

    def __repr__(self) -> str:
        return f"Device({self.number})"

    @property
    def alive(self) -> bool:
        """Return whether its battery is not empty."""
        return not self.meter.dead

    def endings(self, stop: simpy.Event | None) -> list[simpy.Event]:
        """Return the events that may end this device's work early: its death, if it can die, and ``stop``, if given."""
        return [*([self.died] if self.unlimited is None else []), *([stop] if stop is not None else [])]

    def lives_until_s(self, slowdown: float, transfers: int) -> float:
        """Return a time before which it cannot die [s]; infinite with unlimited power.

        Args:
            slowdown: The least straggler factor that it has until then.
            transfers: The most messages that it sends at once.
        """
        if self.unlimited is not None:
            return math.inf
        compute_w = self.processor.joules_per_flop * self.processor.flops_per_s / slowdown
        most_w = compute_w + transfers * self.tx_power_w + self.rx_power_w + self._idle_power_w
        left_j = self.meter.left_j() - 1e-9 * self.battery.capacity_j  # more than rounding errors
        return self.env.now + left_j / most_w if self.alive and most_w > 0 else -math.inf

    def computing(self, flops: float, slowdown: float = 1.0) -> tuple[float, float]:
        """Return for how long ``flops`` FLOPs are computed [s], and the power that this draws [W]."""
        duration_s = slowdown * self.processor.time_s(flops)
        return duration_s, self.processor.energy_j(flops) / duration_s if duration_s else 0.0

    def compute(
        self, flops: float, slowdown: float = 1.0, stop: simpy.Event | None = None
    ) -> Generator[simpy.Event, Any, bool]:
        """Compute ``flops`` FLOPs (a SimPy process) and return whether the computation was completed.

        It takes ``slowdown`` · C/(f e) seconds and ε f² C/e joules (DMML-KD, eq. 20). It ends early when the device
        dies or when ``stop`` fires; the energy until then is charged.
        """
        duration_s, power_w = self.computing(flops, slowdown)
        if duration_s == 0:
            return self.alive
        if self.unlimited is not None and stop is None:  # nothing can end it early
            self.unlimited.book("compute", power_w, [duration_s], duration_s)
            yield self.env.timeout(duration_s)
            return True
        draw = self.meter.start("compute", power_w, duration_s)
        done = self.env.timeout(duration_s)
        yield first_of(done, *self.endings(stop))
        self.meter.stop(draw, duration_s if done.processed else None)
        return done.processed

    @contextmanager
    def listening(self) -> Generator[None]:
        """Receive while the block runs; ``rx_power_w`` is drawn once for any number of simultaneous transfers."""
        self._listen()
        try:
            yield
        finally:
            self._stop_listening()

    def book_receiving(self, end_s: float) -> None:
        """Receive from now until ``end_s`` [s]; the battery lasts longer, whatever happens."""
        if end_s > self.env.now:
            self.meter.diary.catch_up()
            self.meter.diary.note(end_s, self._stop_listening)
            self._listen()
        else:
            with self.listening():
                pass

    def _listen(self) -> None:
        self.meter.diary.catch_up()
        if self._receptions == 0:
            self._listening = self.meter.start("receiving", self.rx_power_w)
        self._receptions += 1

    def _stop_listening(self) -> None:
        self.meter.diary.catch_up()
        self._receptions -= 1
        if self._receptions == 0:
            self.meter.stop(self._listening)

    def _die(self) -> None:
        self.died_s = self.env.now
        self.died.succeed()
        for tell in self.on_death:
            tell(self)
