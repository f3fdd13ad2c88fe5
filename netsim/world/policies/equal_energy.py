"""Policy by which each round may cost the same energy."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from pydantic import Field

from netsim.core.options import Options
from netsim.world.policies.policy import Policy, Sight


class EqualEnergyOptions(Options):
    """Block ``policies.<decision>`` with name ``equal_energy``."""

    joules: float | None = Field(
        None,
        gt=0,
        description="energy of a round's computation [J]; null: the energy left in equal parts for the rounds left",
    )


class EqualEnergy(Policy):
    r"""The same energy of computing in each round: what is stated, or the battery's rest in equal parts.

    With E joules for a round, it is the highest frequency f at which C FLOPs cost at most E:
    :math:`\varepsilon f^2 C / e + P_0 C / (f e) \le E` (DMML-KD, eq. 20, and static power), so without static power
    :math:`f = \sqrt{E e / (\varepsilon C)}`. If there is none, it is the cheapest one. Steps are as many as E pays for,
    each at what one has cost in the last round; the first round has the learner's own number.
    """

    Options: ClassVar[type[Options]] = EqualEnergyOptions
    options: EqualEnergyOptions

    def _joules(self, sight: Sight) -> float:
        left = max(
            sight.rounds - sight.round + 1, 1
        )  # turns of an asynchronous server may be more than its rounds
        return self.options.joules or sight.battery_j / left

    def cpu_frequency(self, sight: Sight) -> float:
        """Return the highest frequency at which the computation costs at most E [Hz]."""
        joules, processor, cycles = self._joules(sight) * (1 + 1e-12), sight.processor, sight.cycles
        capacitance_f, static_w = processor.effective_capacitance_f, processor.static_power_w

        def cost_j(hz: float) -> float:
            return cycles * (capacitance_f * hz**2 + static_w / hz)

        if cost_j(sight.top_hz) <= joules:
            return sight.top_hz
        if sight.frequencies_hz is not None:
            fitting = [hz for hz in sight.frequencies_hz if cost_j(hz) <= joules]
            return max(fitting, default=min(sight.frequencies_hz, key=cost_j))
        if not capacitance_f:
            return sight.top_hz  # the faster, the cheaper
        roots = np.roots([capacitance_f, 0.0, -joules / cycles, static_w])
        real = roots[np.isreal(roots)].real
        cheapest_hz = (static_w / (2 * capacitance_f)) ** (1 / 3)
        return min(max(float(real.max()), cheapest_hz), sight.top_hz)

    def iterations(self, sight: Sight) -> int | None:
        """Return the number of steps that E pays for, at least 1."""
        last, joules = sight.last, self._joules(sight)
        if last is None or not last.iterations or not last.compute_j or math.isinf(joules):
            return None
        return max(1, math.floor(joules / last.compute_j * last.iterations * (1 + 1e-12)))
