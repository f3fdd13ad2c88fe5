"""A power meter of a device with a finite battery."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import sub
from typing import NamedTuple

import simpy

from netsim.core.clock import succeed_at
from netsim.world.devices.battery import Battery
from netsim.world.devices.diary import Diary
from netsim.world.devices.harvest import Harvest

BUSY = ("compute", "sending", "receiving")
CATEGORIES = (*BUSY, "idle")


@dataclass(eq=False)
class Draw:
    """An activity that draws constant power for a while.

    Attributes:
        category: Category of its energy.
        power_w: Power [W].
        since_s: Time at which it began or last changed its power [s].
        end_s: Time at which it will end [s]; infinite if unknown.
        charged_j: Energy charged since ``since_s`` [J].
        total_j: Energy charged in all [J].
    """

    category: str
    power_w: float
    since_s: float
    end_s: float = math.inf
    charged_j: float = 0.0
    total_j: float = 0.0


class Account(NamedTuple):
    """Time [s] and energy [J] by category since the run began, or since another account."""

    compute_s: float
    sending_s: float
    receiving_s: float
    idle_s: float
    compute_j: float
    sending_j: float
    receiving_j: float
    idle_j: float

    @classmethod
    def of(cls, time_s: Mapping[str, float], energy_j: Mapping[str, float]) -> Account:
        """Return the account of times and energies by category."""
        return cls(*(time_s[c] for c in CATEGORIES), *(energy_j[c] for c in CATEGORIES))

    def since(self, before: Account) -> Account:
        """Return the difference to ``before``, an earlier account."""
        return Account(*map(sub, self, before))


class PowerMeter:
    """A meter that adds up a device's energy and finds the moment at which its battery becomes empty.

    Power is constant between changes, so energy is charged exactly at each change, never sampled, and one division
    gives the moment of depletion. A timer is set for it. If a change moves depletion to a later time, the timer stays
    and checks again when it fires, so that changes do not fill the event queue. The moment itself follows from the last
    change alone, not from earlier timers.

    An activity that ends in the same moment in which the battery becomes empty is completed; the device dies right
    after.

    A battery that is harvested into, or that is not linear, is told of each time of constant power as it ends. Where it
    can revive the device, the same timer finds the moment at which it is charged enough.

    Attributes:
        battery: What energy is taken from.
        dead: Whether the battery ran empty, and is not charged enough to revive the device since.
        off: Whether the device is switched off, because it is dead or because somebody has :meth:`paused <pause>` it.
        hopeless: Whether it will never be switched on again.
        followed: Whether the battery is told of each time of constant power.
    """

    def __init__(
        self,
        env: simpy.Environment,
        battery: Battery,
        idle_power_w: float,
        on_change: Callable[[], None],
        harvest: Harvest | None = None,
    ) -> None:
        """Let ``on_change`` be called when ``dead`` or ``hopeless`` changes."""
        self.env = env
        self.diary = Diary(env)
        self.battery = battery
        self.dead = self.off = self.hopeless = False
        self.followed = harvest is not None or not battery.plain
        self._harvest = harvest
        self._followed_s = env.now
        self._harvest_w, self._harvest_until_s = harvest.power(env.now) if harvest else (0.0, math.inf)
        self._on_change = on_change
        self._owed_j = 0.0
        self._empty_s = math.inf
        self._draws: list[Draw] = []
        self._running = dict.fromkeys(BUSY, 0)
        self._busy_since_s = dict.fromkeys(BUSY, 0.0)
        self._time_s = dict.fromkeys(CATEGORIES, 0.0)
        self._idle = Draw("idle", idle_power_w, env.now)
        self._alarm_s = math.inf
        self._arm()

    def start(self, category: str, power_w: float, duration_s: float = math.inf) -> Draw:
        """Begin to draw ``power_w`` [W], for ``duration_s`` [s] if that is known; return the draw."""
        self._catch_up()
        now = self.diary.now
        draw = Draw(category, power_w, now, now + duration_s)
        if self.off:
            return draw
        if not self._draws:
            self._settle_idle()
        if self._running[category] == 0:
            self._busy_since_s[category] = now
        self._running[category] += 1
        self._draws.append(draw)
        if power_w or not self.diary.pending:  # else the timer is early enough
            self._arm()
        return draw

    def change(self, draw: Draw, power_w: float, duration_s: float = math.inf) -> None:
        """Change the power of ``draw`` to ``power_w`` [W] from now on, for ``duration_s`` [s] if that is known."""
        if self.off or draw not in self._draws:
            return
        self._catch_up()
        now = self.diary.now
        self._charge(draw, now - draw.since_s)
        draw.power_w, draw.since_s, draw.end_s, draw.charged_j = power_w, now, now + duration_s, 0.0
        self._arm()

    def stop(self, draw: Draw, duration_s: float | None = None) -> float:
        """End ``draw`` and return its total energy [J].

        Args:
            draw: The draw to end.
            duration_s: Length of its last piece [s], if known more exactly than as a difference of two clock readings
                (a relative error of 3e-8 for a second at a million seconds).
        """
        if self.off or draw not in self._draws:  # it ended when the device was switched off
            return draw.total_j
        self._catch_up()
        now = self.diary.now
        self._charge(draw, now - draw.since_s if duration_s is None else duration_s)
        self._draws.remove(draw)
        self._running[draw.category] -= 1
        if self._running[draw.category] == 0:
            self._time_s[draw.category] += now - self._busy_since_s[draw.category]
        if not self._draws:
            self._idle.since_s, self._idle.charged_j = now, 0.0
        self._arm()
        return draw.total_j

    def book_sending(self, ends_s: Sequence[float], energies_j: Sequence[float]) -> None:
        """Send from now on, in parallel, until each of ``ends_s`` [s]; the battery lasts longer, whatever happens.

        Args:
            ends_s: End of each transfer [s].
            energies_j: Energies in the order in which events would charge them [J].
        """
        self.diary.catch_up()
        self._owed_j += sum(energies_j)
        last_s = max(ends_s)
        self.diary.note(last_s, partial(self._pay, energies_j))
        self.diary.note(last_s, partial(self.stop, self.start("sending", 0.0)))
        self._arm()

    def left_j(self) -> float:
        """Return the energy that is left now, less what is booked for later [J]."""
        self.diary.catch_up()
        return self.battery.remaining_j - self._due()[1] - self._owed_j

    def idle_at(self, power_w: float) -> None:
        """Draw ``power_w`` [W] from now on whenever the device does nothing."""
        self._catch_up()
        if not self._draws and not self.off:
            self._settle_idle()
        self._idle.power_w = power_w
        self._arm()

    def pulse(self, energy_j: float) -> None:
        """Draw ``energy_j`` [J] at once, as energy of idling; the device may die of it."""
        self._catch_up()
        if not self.off:
            self._settle()
            self.battery.take_at_once("idle", energy_j)
            self._arm()

    def pause(self) -> None:
        """Switch the device off: what it does ends, and it draws nothing until :meth:`resume`."""
        self._catch_up()
        self._settle()
        self._clear()
        self._arm()

    def retire(self) -> None:
        """Charge the battery no more from now on: the device will not be switched on again."""
        self._catch_up()
        self.hopeless = True

    def resume(self) -> None:
        """Switch the device on again."""
        self._catch_up()
        self.off = False
        self._idle.since_s, self._idle.charged_j = self.env.now, 0.0
        self._arm()

    def account(self) -> Account:
        """Return time and energy by category up to now."""
        self._catch_up()
        if not self.off:
            self._settle()
        return Account.of(self._time_s, self.battery.spent_j)

    def _pay(self, energies_j: Sequence[float]) -> None:
        spent_j = self.battery.spent_j
        for energy_j in energies_j:
            spent_j["sending"] += energy_j
        self._owed_j -= sum(energies_j)

    def _catch_up(self) -> None:
        """Do what is booked until now; tell the battery of the time since it was told last, if it must know."""
        self.diary.catch_up()
        if not self.followed:
            return
        now = self.env.now
        while self._followed_s < now:
            until_s = min(now, self._harvest_until_s)
            load_w = 0.0 if self.off else sum(draw.power_w for draw in self._active())
            if not self.hopeless:
                self.battery.flow(load_w, self._harvest_w, until_s - self._followed_s)
            if not self.off:
                for draw in self._active():
                    self._charge(draw, until_s - draw.since_s)
            self._followed_s = until_s
            if until_s == self._harvest_until_s and self._harvest:
                self._harvest_w, self._harvest_until_s = self._harvest.power(until_s)

    def _settle(self) -> None:
        """Update every account to the present moment."""
        now = self.diary.now
        for draw in self._draws:
            self._charge(draw, now - draw.since_s)
        for category, running in self._running.items():
            if running:
                self._time_s[category] += now - self._busy_since_s[category]
                self._busy_since_s[category] = now
        if not self._draws:
            self._settle_idle()

    def _settle_idle(self) -> None:
        now = self.diary.now
        self._time_s["idle"] += now - self._idle.since_s
        self._charge(self._idle, now - self._idle.since_s)
        self._idle.since_s, self._idle.charged_j = now, 0.0

    def _charge(self, draw: Draw, duration_s: float) -> None:
        """Charge the energy of ``duration_s`` seconds since ``draw.since_s``, less the energy already charged."""
        taken_j = self.battery.take(draw.category, draw.power_w * duration_s - draw.charged_j)
        draw.charged_j += taken_j
        draw.total_j += taken_j

    def _active(self) -> list[Draw]:
        return self._draws or [self._idle]

    def _left_s(self) -> float:
        """Return the time until the battery is empty if no power changes, at the earliest if some will [s]."""
        if self.battery.empty:
            return 0.0
        power_w, due_j = self._due()
        if self.followed:  # nothing is due
            return self.battery.left_s(power_w, self._harvest_w)
        if self.diary.pending:  # what is booked for later ends without a call, and then the device may idle
            power_w, due_j = power_w + self._idle.power_w, due_j + self._owed_j
        return max(self.battery.remaining_j - due_j, 0.0) / power_w if power_w > 0 else math.inf

    def _due(self) -> tuple[float, float]:
        """Return the present power [W], and the energy that is not charged yet [J]."""
        now = self.diary.now
        power_w = due_j = 0.0
        for draw in self._active():
            power_w += draw.power_w
            due_j += draw.power_w * (now - draw.since_s) - draw.charged_j
        return power_w, due_j

    def _next_s(self) -> float:
        """Return the time until the battery is empty, or revives the device, if no power changes [s]."""
        if not self.off:
            return self._left_s()
        return self.battery.revives_in_s(self._harvest_w) if self.dead else math.inf

    def _arm(self) -> None:
        """Ensure that a timer fires no later than the battery is empty, or revives the device, or is harvested anew."""
        pending = self.diary.pending
        if self.hopeless or (pending and self.diary.catching_up):  # more is to be done at once
            return
        at_s = min(self.diary.now + self._next_s(), self._harvest_until_s)
        if not pending:
            self._empty_s = at_s
        if at_s < self._alarm_s:
            self._set_alarm(at_s)
        elif self.dead and at_s == math.inf:
            self.hopeless = True
            self._on_change()

    def _set_alarm(self, at_s: float) -> None:
        self._alarm_s = at_s
        alarm = self.env.event()
        alarm.callbacks = [lambda _: self._look(at_s)]
        succeed_at(alarm, max(at_s, self.env.now))

    def _look(self, at_s: float) -> None:
        """Handle the timer: die or revive if it is time, otherwise set the timer anew."""
        if self.hopeless or at_s != self._alarm_s:
            return  # a later timer replaces this one
        self._alarm_s = math.inf
        self._catch_up()
        now = self.env.now
        if self.diary.pending:  # the battery lasts until the last of it
            next_s = now + self._left_s()
            self._set_alarm(next_s if next_s > now else self.diary.last_s)
            return
        if now < self._empty_s:
            if self._empty_s < self._alarm_s:
                self._set_alarm(self._empty_s)
            return
        if now + self._next_s() > now:
            self._arm()
            return
        if self.dead:
            self.dead = False
            self._on_change()
            return
        planned = [d for d in self._draws if not math.isinf(d.end_s)]
        ending = [d.end_s for d in planned if d.end_s - now <= 1e-9 * (d.end_s - d.since_s)]
        if ending:
            # An activity ends in this very moment; its own event is in the queue already and comes first.
            self._set_alarm(now + (max(*ending, now) - now))
        else:
            self._die()

    def _die(self) -> None:
        """Divide the energy left among the running draws, in proportion to their uncharged energy, and die."""
        left_j = self.battery.remaining_j
        now = self.env.now
        due_j = [d.power_w * (now - d.since_s) - d.charged_j for d in self._active()]
        total_j = 0.0 if self.followed else sum(due_j)
        for draw, share_j in zip(self._active(), due_j, strict=True):
            taken_j = self.battery.take(draw.category, left_j * share_j / total_j if total_j > 0 else 0.0)
            draw.charged_j += taken_j
            draw.total_j += taken_j
        for category, running in self._running.items():
            if running:
                self._time_s[category] += now - self._busy_since_s[category]
        if not self._draws:
            self._time_s["idle"] += now - self._idle.since_s
        self._clear()
        self.dead = True
        comes = self._harvest is not None and self._harvest.can_come(now)
        self.hopeless = self.battery.revive_at is None or not (
            comes or self.battery.revives_in_s(0.0) < math.inf
        )
        self._on_change()
        self._arm()

    def _clear(self) -> None:
        """End all draws; they are charged."""
        self._draws.clear()
        self._running = dict.fromkeys(BUSY, 0)
        self.off = True
