"""Step sizes by round: a factor on the optimizer's step size, found by name and without PyTorch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import ClassVar

from pydantic import Field, PositiveInt

import netsim.core.options
from learners.choice import Choice
from netsim.core.options import NoOptions
from netsim.core.registry import load


class Schedule(ABC):
    """A factor on the step size; the scenario's step size is that of factor 1.

    Attributes:
        Options: The model of the schedule's block in the scenario.
    """

    Options: ClassVar[type[netsim.core.options.Options]] = NoOptions

    def __init__(self, options: netsim.core.options.Options) -> None:
        self.options = options

    @abstractmethod
    def factor(self, done: int, rounds: int, unit: int = 1) -> float:
        """Return the factor after ``done`` rounds, or after so many steps, of which ``unit`` make a round.

        Args:
            done: Rounds, or steps, that are over: 0 in the first.
            rounds: Rounds of the run.
            unit: Steps of a round, where ``done`` counts steps.
        """


class Constant(Schedule):
    """The same step size in every round."""

    def factor(self, done: int, rounds: int, unit: int = 1) -> float:
        """Return 1."""
        return 1.0


class Steps(Schedule):
    """Multiplied by a factor after every so many rounds."""

    class Options(netsim.core.options.Options):
        """Block of schedule ``step``."""

        every: PositiveInt = Field(description="rounds between two changes")
        factor: float = Field(default=0.1, gt=0, description="what the step size is multiplied by")

    options: Steps.Options

    def factor(self, done: int, rounds: int, unit: int = 1) -> float:
        """Return factor^⌊t/every⌋."""
        return float(self.options.factor ** (done // (self.options.every * unit)))


class Cosine(Schedule):
    """Half a cosine from the step size down to a part of it (Loshchilov & Hutter 2017, eq. 5, without restarts)."""

    class Options(netsim.core.options.Options):
        """Block of schedule ``cosine``."""

        least: float = Field(
            default=0.0, ge=0, le=1, description="part of the step size that is left after the last round"
        )

    options: Cosine.Options

    def factor(self, done: int, rounds: int, unit: int = 1) -> float:
        """Return least + (1 − least)(1 + cos(π t/T))/2."""
        least = self.options.least
        return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * done / (rounds * unit)))


class Inverse(Schedule):
    """Falls like 1/t: 1/(1 + decay · t) after t rounds, as in proofs for strongly convex losses (Li et al. 2020)."""

    class Options(netsim.core.options.Options):
        """Block of schedule ``inverse``."""

        decay: float = Field(
            default=1.0, ge=0, description="how fast: the factor of round t is 1/(1 + decay (t − 1))"
        )

    options: Inverse.Options

    def factor(self, done: int, rounds: int, unit: int = 1) -> float:
        """Return 1/(1 + decay t)."""
        return 1 / (1 + self.options.decay * done / unit)


class ScheduleChoice(Choice):
    """A schedule by name, with its options beside it: ``{name: step, every: 10}``."""

    KIND: ClassVar[str] = "schedules"

    def factor(self, done: int, rounds: int, unit: int = 1) -> float:
        """Return the factor on the step size; see :meth:`Schedule.factor`."""
        schedule = load(self.KIND, self.name)
        found: Schedule = schedule(schedule.Options.model_validate(self.options))
        return float(found.factor(done, rounds, unit))

    def factors(self, rounds: int) -> Callable[[int], float]:
        """Return :meth:`factor` of rounds that are done, of ``rounds``; each is computed once, not for every device."""
        return cache(lambda done: self.factor(done, rounds))


class WarmUp(Schedule):
    """Grows evenly in the first rounds, 1/n in the first of n; then another schedule, whose first round is the next."""

    class Options(netsim.core.options.Options):
        """Block of schedule ``warm_up``."""

        rounds: PositiveInt = Field(default=5, description="rounds in which the step size grows")
        then: ScheduleChoice = Field(
            default=ScheduleChoice.model_construct(name="constant"),
            description="the schedule of the rounds after",
        )

    options: WarmUp.Options

    def factor(self, done: int, rounds: int, unit: int = 1) -> float:
        """Return (t + 1)/n in the first n rounds, and the other schedule's factor for the T − n rounds after."""
        growing = self.options.rounds * unit
        if done < growing:
            return (done + 1) / growing
        return self.options.then.factor(done - growing, max(1, rounds - self.options.rounds), unit)
