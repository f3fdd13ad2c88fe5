"""A simulated node: processor, battery, radio front end, and when it is here."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

import simpy

from netsim.core.clock import succeed_at
from netsim.world.devices.battery import Battery
from netsim.world.devices.churn import Absence
from netsim.world.devices.harvest import Harvest
from netsim.world.devices.meter import PowerMeter
from netsim.world.devices.processor import Processor
from netsim.world.devices.unlimited import UnlimitedMeter


def first_of(event: simpy.Event, *others: simpy.Event) -> simpy.Event:
    """Return an event that fires with the first of several; a single event is returned itself: fewer queue entries."""
    return event.env.any_of([event, *others]) if others else event


class Device:
    """A node that computes and communicates while it is here: its battery is not empty, and it is not away.

    A device goes when it dies or leaves, and may return. What it does ends as it goes, and meanwhile it does nothing
    and receives nothing.

    Attributes:
        number: Its number, from 0.
        processor: Converts FLOPs to seconds and joules.
        battery: Its energy.
        meter: Charges the energy of each activity to the battery.
        unlimited: The same meter if the device has unlimited power and always stays; None if something can end what it
            does.
        tx_power_w: Transmit power [W].
        rx_power_w: Power while it receives [W].
        present: Whether it is not away; its battery may be empty.
        gone: Event that fires when it goes; a new one after each return.
        back: Event that fires when it returns, or when it turns out that it never will.
        gone_s: Time of its last going, or at which that turned out [s]; infinite before.
        absences: Number of times that it has gone.
        on_going: Functions that are called when it goes.
        on_return: Functions that are called when ``back`` fires.
    """

    def __init__(
        self,
        env: simpy.Environment,
        number: int,
        processor: Processor,
        battery: Battery,
        tx_power_w: float,
        rx_power_w: float = 0.0,
        idle_power_w: float = 0.0,
        sleep_power_w: float | None = None,
        harvest: Harvest | None = None,
        absences: Iterable[Absence] | None = None,
        wake_j: float = 0.0,
    ) -> None:
        """Make a device.

        Args:
            env: The clock.
            number: Its number.
            processor: Its processor.
            battery: Its battery.
            tx_power_w: Transmit power [W].
            rx_power_w: Power while it receives [W].
            idle_power_w: Power while it does nothing [W].
            sleep_power_w: Power while it does nothing and waits for nothing [W]; None: the same.
            harvest: Charges its battery; None: nothing does.
            absences: When it is away, if it can ever be.
            wake_j: Energy of waking from sleep [J].
        """
        self.env = env
        self.number = number
        self.processor = processor
        self.tx_power_w = tx_power_w
        self._stated = processor, tx_power_w
        self.rx_power_w = rx_power_w
        self.battery = battery
        self.present = True
        self.gone: simpy.Event = env.event()
        self.back: simpy.Event = env.event()
        self.gone_s = math.inf
        self.absences = 0
        self.on_going: list[Callable[[Device], None]] = []
        self.on_return: list[Callable[[Device], None]] = []
        self.unlimited: UnlimitedMeter | None = None
        self.meter: UnlimitedMeter | PowerMeter
        self._powers_w = idle_power_w, sleep_power_w
        self._wake_j, self._asleep = wake_j, False
        if math.isinf(battery.capacity_j) and sleep_power_w is None and absences is None:
            self.meter = self.unlimited = UnlimitedMeter(env, battery, idle_power_w, rx_power_w)
        else:
            self.meter = PowerMeter(env, battery, idle_power_w, self._look, harvest)
        self._plain = not self.meter.followed and absences is None and sleep_power_w is None
        self._receptions = 0
        self._here, self._reason = True, ""
        if absences is not None:
            env.process(self._follow(absences))

    def __repr__(self) -> str:
        return f"Device({self.number})"

    @property
    def alive(self) -> bool:
        """Return whether it is here: its battery is not empty, and it is not away."""
        return not self.meter.off

    @property
    def may_return(self) -> bool:
        """Return whether it can still be here at some later time, if it is not here now."""
        return not self.meter.hopeless

    @property
    def reason(self) -> str:
        """Return why it is not here, or was not when it was gone last: "died" or "away"."""
        return self._reason

    def endings(self, stop: simpy.Event | None) -> list[simpy.Event]:
        """Return the events that may end this device's work early: its going, if it can go, and ``stop``, if given."""
        return [*([self.gone] if self.unlimited is None else []), *([stop] if stop is not None else [])]

    def sleep(self, asleep: bool = True) -> None:
        """Draw the power of sleep, or no longer, while the device does nothing; waking costs its energy."""
        idle_w, sleep_w = self._powers_w
        if sleep_w is not None and isinstance(self.meter, PowerMeter):
            self.meter.idle_at(sleep_w if asleep else idle_w)
            woken, self._asleep = self._asleep and not asleep, asleep
            if woken and self._wake_j:
                self.meter.pulse(self._wake_j)

    def lives_until_s(self, slowdown: float, transfers: int) -> float:
        """Return a time before which it cannot die [s]; infinite with unlimited power, none if that is not known.

        It is known of a linear battery that nothing charges, of a device that always stays and never
        sleeps.

        Args:
            slowdown: The least straggler factor that it has until then.
            transfers: The most messages that it sends at once.
        """
        if self.unlimited is not None:
            return math.inf
        if not self._plain or not isinstance(self.meter, PowerMeter):
            return -math.inf
        processor, tx_power_w = self._stated  # the most that a policy can decide
        compute_w = processor.most_dynamic_w / slowdown + processor.static_power_w
        most_w = compute_w + transfers * tx_power_w + self.rx_power_w + self._powers_w[0]
        left_j = self.meter.left_j() - 1e-9 * self.battery.capacity_j  # more than rounding errors
        return self.env.now + left_j / most_w if self.alive and most_w > 0 else -math.inf

    def computing(self, flops: float, slowdown: float = 1.0) -> tuple[float, float]:
        """Return for how long ``flops`` FLOPs are computed [s], and the power that this draws [W]."""
        processor = self.processor
        duration_s = slowdown * processor.time_s(flops)
        # Otherwise the clock would stand at infinity, and what goes on there has no end.
        if not math.isfinite(duration_s):
            raise OverflowError(f"computing {flops:g} FLOPs takes device {self.number} {duration_s:g} s")
        return (
            duration_s,
            processor.dynamic_j(flops) / duration_s + processor.static_power_w if duration_s else 0.0,
        )

    def compute(
        self, flops: float, slowdown: float = 1.0, stop: simpy.Event | None = None
    ) -> Generator[simpy.Event, Any, bool]:
        """Compute ``flops`` FLOPs (a SimPy process) and return whether the computation was completed.

        It takes ``slowdown`` · C/(f e) seconds and ε f² C/e joules (DMML-KD, eq. 20), and static power. It ends early
        when the device goes or when ``stop`` fires; the energy until then is charged.
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

    def _follow(self, absences: Iterable[Absence]) -> Generator[simpy.Event, Any, None]:
        """Let the device be away at ``absences`` (a SimPy process)."""
        for from_s, to_s in absences:
            if from_s > self.env.now:
                yield self._at(from_s)
            self.present = False
            if to_s == math.inf and isinstance(self.meter, PowerMeter):
                self.meter.retire()
            self._look()
            if to_s == math.inf:
                return
            yield self._at(to_s)
            self.present = True
            self._look()

    def _at(self, time_s: float) -> simpy.Event:
        """Return an event at ``time_s`` [s], or as soon as there is a later time than now."""
        event, now = self.env.event(), self.env.now
        succeed_at(event, max(time_s, math.nextafter(now, math.inf)))
        return event

    def _look(self) -> None:
        """Go or return if that is due."""
        here = self.present and not self.meter.dead
        if not here and self._here:
            self._here, self._reason = False, "died" if self.present else "away"
            if isinstance(self.meter, PowerMeter) and not self.meter.off:
                self.meter.pause()
            self.absences += 1
            self.gone_s, self.back = self.env.now, self.env.event()
            self.gone.succeed()
            for tell in self.on_going:
                tell(self)
        elif here and not self._here:
            self._here, self.gone = True, self.env.event()
            if isinstance(self.meter, PowerMeter):
                self.meter.resume()
            self._end_absence()
        if not here and not self.may_return and not self.back.triggered:
            self.gone_s = self.env.now
            self._end_absence()

    def _end_absence(self) -> None:
        self.back.succeed()
        for tell in self.on_return:
            tell(self)
