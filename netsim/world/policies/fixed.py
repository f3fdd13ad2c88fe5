"""Policy that decides the same in each round."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from netsim.core.options import Options
from netsim.world.policies.policy import Policy, Sight


class FixedOptions(Options):
    """Block ``policies.<decision>`` with name ``fixed``."""

    value: float | tuple[float, ...] = Field(
        description="frequency [Hz], transmit power [W] or most local steps; a list has one for each device, and "
        "begins anew where there are more devices"
    )


class Fixed(Policy):
    """The same value in each round, for all devices or for each."""

    Options: ClassVar[type[Options]] = FixedOptions
    options: FixedOptions

    def _value(self, sight: Sight) -> float:
        value: Any = self.options.value
        return value[sight.device % len(value)] if isinstance(value, tuple) else value

    def tx_power(self, sight: Sight) -> float:
        """Return the value [W]."""
        return self._value(sight)

    def cpu_frequency(self, sight: Sight) -> float:
        """Return the value [Hz]."""
        return self._value(sight)

    def iterations(self, sight: Sight) -> int:
        """Return the value, if it is a whole number."""
        value = self._value(sight)
        return int(value) if value == int(value) else value  # type: ignore[return-value] # refused, with its name
