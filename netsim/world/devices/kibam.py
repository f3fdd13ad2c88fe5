"""A battery that recovers while it rests: the kinetic battery model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

from pydantic import Field

from netsim.world.devices.battery import Battery


class Kibam(Battery):
    r"""The kinetic battery model of Manwell and McGowan (1993), at constant voltage.

    A share c of the charge is available (:math:`y_1`), the rest is bound (:math:`y_2`). Their heights are
    :math:`h_1 = y_1/c` and :math:`h_2 = y_2/(1-c)`, and k (h2 - h1) flows from the bound to the available charge. The
    battery is empty when :math:`y_1 = 0`, be there bound charge or not, and full when :math:`h_1 = C`; then it takes
    in no more than flows on to the bound charge.

    With :math:`k' = k/(c(1-c))` the difference of heights δ = h2 - h1 at constant net power I obeys
    :math:`\delta' = I/c - k'\delta`, and :math:`h_1 = y_1 + y_2 - (1-c)\delta`; so times of constant power are exact,
    and times to empty are roots of one function.
    """

    class Options(Battery.Options):
        """Block ``devices.battery`` with name ``kibam``."""

        capacity_j: float = Field(gt=0, description="joules at the start, bound charge included [J]")
        available: float = Field(0.625, gt=0, lt=1, description="share c of the charge that is available")
        rate_per_s: float = Field(
            4.5e-5, gt=0, description="rate constant k of the flow between the two charges [1/s]"
        )

    plain: ClassVar[bool] = False

    def __init__(
        self,
        capacity_j: float,
        available: float = 0.625,
        rate_per_s: float = 4.5e-5,
        revive_at: float | None = None,
    ) -> None:
        super().__init__(capacity_j, revive_at)
        self._c = available
        self._k = rate_per_s / (available * (1 - available))
        self._gap_j = 0.0

    @property
    def level_j(self) -> float:
        """Return the height of the available charge [J]: the capacity when full, 0 when empty."""
        return self.remaining_j - (1 - self._c) * self._gap_j

    def take_at_once(self, category: str, energy_j: float) -> float:
        """Take ``energy_j`` from the available charge, or what is there if that is less; return it [J]."""
        taken_j = self.take(category, min(energy_j, self._c * self.level_j))
        self._gap_j += taken_j / self._c
        return taken_j

    def flow(self, load_w: float, harvest_w: float, duration_s: float) -> None:
        """Note constant powers, see :meth:`Battery.flow`, and how they move the two charges."""
        net_w, full_s = load_w - harvest_w, math.inf
        if net_w < 0:
            full_s = self._reaches_s(self.capacity_j, net_w)
        before_s = min(duration_s, full_s)
        self.harvested_j += harvest_w * duration_s
        self._gap_j = self._gap_after(net_w, before_s)
        if duration_s > full_s:  # h1 stays, and h2 comes up to it
            rest_s = duration_s - full_s
            closing_j = self._gap_j * math.expm1(-self._k * self._c * rest_s)
            self._gap_j += closing_j
            self.wasted_j += max(-net_w * rest_s - (1 - self._c) * closing_j, 0.0)

    def left_s(self, load_w: float, harvest_w: float = 0.0) -> float:
        """Return the time until it is empty if powers stay as they are [s]."""
        net_w = load_w - harvest_w
        if net_w <= 0:
            return math.inf
        if self.empty:
            return 0.0
        return _root(lambda s: self._level_after(net_w, s), 0.0, self.remaining_j / net_w)

    def revives_in_s(self, harvest_w: float) -> float:
        """Return the time until it is charged enough, without a load, if the power stays as it is [s]."""
        level_j = (self.revive_at or math.inf) * self.capacity_j
        if math.isinf(level_j) or (harvest_w <= 0 and self.remaining_j <= level_j * (1 + self.EMPTY)):
            return math.inf
        return 0.0 if self.level_j >= level_j else self._reaches_s(level_j, -harvest_w)

    def _gap_after(self, net_w: float, duration_s: float) -> float:
        steady_j = net_w / (self._c * self._k)
        return steady_j + (self._gap_j - steady_j) * math.exp(-self._k * duration_s)

    def _level_after(self, net_w: float, duration_s: float) -> float:
        return self.remaining_j - net_w * duration_s - (1 - self._c) * self._gap_after(net_w, duration_s)

    def _reaches_s(self, level_j: float, net_w: float) -> float:
        """Return when the height rises to ``level_j`` [J] while the battery is charged, or recovers [s].

        It may fall at first, as the available charge flows on to the bound one; its slope only grows.
        """
        steady_j, lowest_j = net_w / (self._c * self._k), net_w / (self._c * self._k * (1 - self._c))
        since_s = 0.0
        if self._gap_j < lowest_j < steady_j:
            since_s = math.log((self._gap_j - steady_j) / (lowest_j - steady_j)) / self._k
        elif self.level_j >= level_j * (1 - self.EMPTY):
            return 0.0
        until_s = 2 * since_s + 1.0
        while self._level_after(net_w, until_s) < level_j:
            until_s *= 2
        return _root(lambda s: self._level_after(net_w, s) - level_j, since_s, until_s)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where ``function`` changes its sign between ``low`` and ``high``, to the last digits."""
    from scipy.optimize import brentq

    if math.isinf(high):
        return high
    ends = function(low), function(high)
    if ends[0] * ends[1] >= 0:  # at an end, but for rounding
        return low if abs(ends[0]) < abs(ends[1]) else high
    return float(brentq(function, low, high, xtol=1e-12 * high, rtol=1e-15 * 8))
