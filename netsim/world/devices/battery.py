"""Batteries: how much is left, and how long it lasts."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from pydantic import Field

from netsim.core import options

Joules = Annotated[float, Field(gt=0, allow_inf_nan=True)]


class Battery:
    """A linear battery: what is drawn is gone, whatever the power; it neither leaks nor recovers.

    The account of every battery is capacity - remaining = spent - harvested + wasted. A meter tells a battery that is
    harvested into, or that is not linear, of each time of constant power (:meth:`flow`), and then takes what each
    activity has drawn. Other batteries are sums of what is taken.

    Attributes:
        plain: Whether the time to empty depends on the sum of what is drawn only, so that there is no flow to follow.
        capacity_j: Joules at the start, and at most [J]; infinite for unlimited power.
        revive_at: Share of the capacity at which a device that died comes back; None: never.
        spent_j: Joules taken out so far, by category of consumption [J].
        harvested_j: Joules that a harvester has given so far [J].
        wasted_j: Joules of these that found the battery full, and joules lost in the battery itself [J].
    """

    class Options(options.Options):
        """Block ``devices.battery`` with name ``linear``."""

        capacity_j: Joules = Field(math.inf, description="joules at the start [J]; .inf for unlimited power")
        revive_at: float | None = Field(
            None,
            gt=0,
            le=1,
            description="share of the capacity at which a device that died comes back; null: it stays dead",
        )

    EMPTY: ClassVar[float] = 1e-12
    """A remainder below this share of the capacity counts as empty: it is a rounding error."""
    plain: ClassVar[bool] = True

    def __init__(self, capacity_j: float, revive_at: float | None = None) -> None:
        self.capacity_j = capacity_j
        self.revive_at = revive_at
        self.spent_j = {"compute": 0.0, "sending": 0.0, "receiving": 0.0, "idle": 0.0}
        self.harvested_j = self.wasted_j = 0.0

    @property
    def remaining_j(self) -> float:
        """Return the energy left [J]: the capacity less the energy of each category, and what was stored since."""
        if self.capacity_j == math.inf:
            return math.inf
        return max(self.capacity_j - sum(self.spent_j.values()) + (self.harvested_j - self.wasted_j), 0.0)

    @property
    def level_j(self) -> float:
        """Return the energy that can be drawn at once [J]: here all that is left."""
        return self.remaining_j

    @property
    def empty(self) -> bool:
        """Return whether nothing can be drawn."""
        return not math.isinf(self.capacity_j) and self.level_j <= self.EMPTY * self.capacity_j

    def take(self, category: str, energy_j: float) -> float:
        """Take out ``energy_j``, or the energy left if that is less; return the energy taken [J]."""
        taken_j = min(energy_j, self.remaining_j)
        self.spent_j[category] += taken_j
        return taken_j

    def take_at_once(self, category: str, energy_j: float) -> float:
        """Take out ``energy_j`` in no time, or the energy left if that is less; return the energy taken [J]."""
        return self.take(category, energy_j)

    def flow(self, load_w: float, harvest_w: float, duration_s: float) -> None:
        """Note constant powers over ``duration_s`` [s] that are over, before the load's energy is taken.

        Args:
            load_w: Power drawn [W].
            harvest_w: Power harvested [W]; it feeds the load first, and what finds the battery full is wasted.
            duration_s: Length [s]; the battery did not run empty in it.
        """
        room_j = self.capacity_j - self.remaining_j
        self.harvested_j += harvest_w * duration_s
        self.wasted_j += max((harvest_w - load_w) * duration_s - room_j, 0.0)

    def left_s(self, load_w: float, harvest_w: float = 0.0) -> float:
        """Return the time until it is empty if powers stay as they are [s]."""
        net_w = load_w - harvest_w
        return self.remaining_j / net_w if net_w > 0 else math.inf

    def revives_in_s(self, harvest_w: float) -> float:
        """Return the time until an empty one is charged enough, without a load, if the power stays as it is [s]."""
        missing_j = (self.revive_at or math.inf) * self.capacity_j - self.remaining_j
        return max(missing_j, 0.0) / harvest_w if harvest_w > 0 else math.inf if missing_j > 0 else 0.0
