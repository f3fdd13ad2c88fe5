"""A battery that gives less at a high rate: Peukert's law."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field

from netsim.world.devices.battery import Battery


class Peukert(Battery):
    r"""A battery after Peukert (1897): at power P it lasts :math:`(C/P_n) (P_n/P)^k` seconds.

    :math:`C` is the capacity at the rated power :math:`P_n`. Above it the battery loses
    :math:`P ((P/P_n)^{k-1} - 1)` W inside, which is counted as wasted. Below it the law would give more than the
    capacity, so the battery is linear there.
    """

    class Options(Battery.Options):
        """Block ``devices.battery`` with name ``peukert``."""

        capacity_j: float = Field(gt=0, description="joules at the start, drawn at the rated power [J]")
        rated_power_w: float = Field(gt=0, description="power P_n at which it gives its capacity [W]")
        exponent: float = Field(1.2, ge=1, description="Peukert's exponent k; 1: linear")

    plain: ClassVar[bool] = False

    def __init__(
        self, capacity_j: float, rated_power_w: float, exponent: float = 1.2, revive_at: float | None = None
    ) -> None:
        super().__init__(capacity_j, revive_at)
        self.rated_power_w = rated_power_w
        self.exponent = exponent

    def _drain_w(self, net_w: float) -> float:
        """Return what leaves the battery at a power of ``net_w`` [W]."""
        return net_w * max(net_w / self.rated_power_w, 1.0) ** (self.exponent - 1) if net_w > 0 else net_w

    def flow(self, load_w: float, harvest_w: float, duration_s: float) -> None:
        """Note constant powers, see :meth:`Battery.flow`, and what they lose inside."""
        super().flow(load_w, harvest_w, duration_s)
        net_w = load_w - harvest_w
        self.wasted_j += (self._drain_w(net_w) - net_w) * duration_s

    def left_s(self, load_w: float, harvest_w: float = 0.0) -> float:
        """Return the time until it is empty if powers stay as they are [s]."""
        drain_w = self._drain_w(load_w - harvest_w)
        return self.remaining_j / drain_w if drain_w > 0 else math.inf
