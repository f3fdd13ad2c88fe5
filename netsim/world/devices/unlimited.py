"""A power meter of a device with unlimited power: without depletion there is less to compute."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import simpy

from netsim.world.devices.battery import Battery
from netsim.world.devices.coverage import Coverage
from netsim.world.devices.diary import Diary
from netsim.world.devices.meter import BUSY, Account, Draw


@dataclass(eq=False, slots=True)
class Booking:
    """Draws of equal power that begin together and have known ends.

    Attributes:
        category: Category of their energy.
        power_w: Power of each [W].
        since_s: Time at which they began [s].
        end_s: Time at which the last of them ends [s].
        durations_s: Duration of each [s].
        charged_j: Energy charged so far [J].
    """

    category: str
    power_w: float
    since_s: float
    end_s: float
    durations_s: Sequence[float]
    charged_j: float = 0.0


class UnlimitedMeter:
    """A meter that adds up the energy of a device with unlimited power.

    A draw with a known end is booked when it begins (:meth:`book`, :func:`receive_all`), so its end needs no event.
    Accounts are exact up to the present moment all the same. Other draws use ``start``, ``change`` and ``stop``, as on
    a :class:`~netsim.world.devices.meter.PowerMeter`.

    Computing and sending cost the sum of their draws. Receiving and idling cost their power times their time, for
    any number of simultaneous transfers.

    Attributes:
        battery: Energy spent [J]; up to date after a call of :meth:`account`.
        idle_power_w: Power while the device does nothing [W].
        rx_power_w: Power while it receives [W].
        dead: Always False, as are the others that tell of an empty battery.
    """

    dead = off = hopeless = followed = False

    def __init__(
        self, env: simpy.Environment, battery: Battery, idle_power_w: float, rx_power_w: float
    ) -> None:
        self.env = env
        self.diary = Diary(env)
        self.battery = battery
        # Overlapping receptions, as one interval; there are very many, so they are added up only when needed.
        self._reception_s = self._reception_end_s = -math.inf
        self.idle_power_w = idle_power_w
        self.rx_power_w = rx_power_w
        self._time = {category: Coverage(env.now) for category in BUSY}
        self._busy = Coverage(env.now)
        self._draws: list[Draw] = []
        self._bookings: list[Booking] = []

    def book(self, category: str, power_w: float, durations_s: Sequence[float], longest_s: float) -> None:
        """Draw ``power_w`` [W] from now on for each of ``durations_s`` [s] in parallel; the longest is given."""
        self._receive()
        now = self.diary.now
        end_s = now + longest_s
        self._bookings.append(Booking(category, power_w, now, end_s, durations_s))
        self._time[category].cover(now, end_s)
        self._busy.cover(now, end_s)

    def add(
        self, category: str, power_w: float, since_s: float, end_s: float, duration_s: float | None = None
    ) -> None:
        """Add a draw of ``power_w`` [W] that is over: from ``since_s`` to ``end_s`` [s], in the order of their times.

        ``duration_s`` is its length [s], if known more exactly than as a difference of the two.
        """
        self._receive()
        self._time[category].cover(since_s, end_s)
        self._busy.cover(since_s, end_s)
        if category != "receiving":  # that is charged by time, not by draw
            self.battery.spent_j[category] += power_w * (
                end_s - since_s if duration_s is None else duration_s
            )

    def start(self, category: str, power_w: float, duration_s: float = math.inf) -> Draw:
        """Begin to draw ``power_w`` [W] and return the draw; ``duration_s`` is not used here."""
        self._receive()
        now = self.diary.now
        draw = Draw(category, power_w, now)
        self._draws.append(draw)
        self._time[category].begin(now)
        self._busy.begin(now)
        return draw

    def change(self, draw: Draw, power_w: float, duration_s: float = math.inf) -> None:
        """Change the power of ``draw`` to ``power_w`` [W] from now on."""
        self.diary.catch_up()
        now = self.diary.now
        self._charge(draw, now - draw.since_s)
        draw.power_w, draw.since_s, draw.charged_j = power_w, now, 0.0

    def stop(self, draw: Draw, duration_s: float | None = None) -> float:
        """End ``draw`` and return its total energy [J].

        Args:
            draw: The draw to end.
            duration_s: Length of its last piece [s], if known more exactly than as a difference of two clock readings.
        """
        self._receive()
        now = self.diary.now
        self._charge(draw, now - draw.since_s if duration_s is None else duration_s)
        self._draws.remove(draw)
        self._time[draw.category].end(now)
        self._busy.end(now)
        return draw.total_j

    def book_sending(self, ends_s: Sequence[float], energies_j: Sequence[float]) -> None:
        """Send from now on, in parallel, until each of ``ends_s`` [s].

        Args:
            ends_s: End of each transfer [s].
            energies_j: Energies in the order in which events would charge them [J].
        """
        self.diary.note(max(ends_s), partial(self._pay, energies_j))
        for end_s in ends_s:
            self.diary.note(end_s, partial(self.stop, self.start("sending", 0.0)))

    def left_j(self) -> float:
        """Return the energy that is left: infinite."""
        return math.inf

    def account(self) -> Account:
        """Return time [s] and energy [J] by category up to now."""
        self._receive()
        now = self.diary.now
        for draw in self._draws:
            self._charge(draw, now - draw.since_s)
        if self._bookings:
            for booking in self._bookings:
                self._charge_booking(booking, now)
            self._bookings = [booking for booking in self._bookings if booking.end_s > now]
        compute_s, sending_s, receiving_s = (time.covered_s(now) for time in self._time.values())
        idle_s = self._busy.gaps_s(now)
        spent_j = self.battery.spent_j
        receiving_j = spent_j["receiving"] = self.rx_power_w * receiving_s
        idle_j = spent_j["idle"] = self.idle_power_w * idle_s
        return Account(
            compute_s, sending_s, receiving_s, idle_s,
            spent_j["compute"], spent_j["sending"], receiving_j, idle_j,
        )  # fmt: skip

    def _pay(self, energies_j: Sequence[float]) -> None:
        for energy_j in energies_j:
            self.battery.spent_j["sending"] += energy_j

    def _receive(self) -> None:
        """Count the receptions noted so far; activities that begin or end now come after them."""
        self.diary.catch_up()
        end_s = self._reception_end_s
        if end_s > -math.inf:
            self._time["receiving"].cover(self._reception_s, end_s)
            self._busy.cover(self._reception_s, end_s)
            self._reception_end_s = -math.inf

    def _charge_booking(self, booking: Booking, now: float) -> None:
        """Charge the energy of a booking up to now, less the energy charged for it before."""
        spent_s = booking.durations_s
        if booking.end_s > now:
            spent_s = [min(duration_s, now - booking.since_s) for duration_s in spent_s]
        due_j = booking.power_w * sum(spent_s) - booking.charged_j
        booking.charged_j += due_j
        self.battery.spent_j[booking.category] += due_j

    def _charge(self, draw: Draw, duration_s: float) -> None:
        """Charge the energy of ``duration_s`` seconds since ``draw.since_s``, less the energy already charged."""
        if draw.category == "receiving":
            return  # charged by time, not by draw
        due_j = draw.power_w * duration_s - draw.charged_j
        draw.charged_j += due_j
        draw.total_j += due_j
        self.battery.spent_j[draw.category] += due_j


def receive_all(meters: Iterable[UnlimitedMeter], now_s: float, ends_s: Iterable[float]) -> None:
    """Book receptions of several devices: they begin now and last until ``ends_s`` [s]."""
    for meter, end_s in zip(meters, ends_s, strict=True):
        if meter.diary.pending:
            meter._receive()
        if now_s > meter._reception_end_s:
            meter._receive()
            meter._reception_s, meter._reception_end_s = now_s, end_s
        elif end_s > meter._reception_end_s:
            meter._reception_end_s = end_s
