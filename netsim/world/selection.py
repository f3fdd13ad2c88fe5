"""Selection of the devices that take part in a server's round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from netsim.core.options import NoOptions, Options
from netsim.core.streams import stream


class Candidate(NamedTuple):
    """The server's knowledge of a device before a round; it does not include the future.

    Attributes:
        device: Its number.
        battery_j: Joules left [J]; infinite for unlimited power.
        power_gain: Power gain of its link when it was last used, path loss included; its mean if it never was.
        compute_s: Computing time when it last took part [s]; None if it never did, or did not complete it.
        upload_s: Time of its last upload [s]; None likewise.
        taken_part: Number of rounds in which it has taken part.
        age: Rounds since an upload of it was last used, this one included; all rounds until now if none ever was.
    """

    device: int
    battery_j: float
    power_gain: float
    compute_s: float | None
    upload_s: float | None
    taken_part: int
    age: int


class Selection(ABC):
    """A policy that picks a round's participants."""

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any, seed: int) -> None:
        self.options = options
        self.seed = seed

    @abstractmethod
    def choose(self, candidates: Sequence[Candidate], count: int, round: int) -> Sequence[int]:
        """Return ``count`` devices of ``candidates``, which are at least as many and in the order of their numbers."""


class Uniform(Selection):
    """Uniform selection: every device with equal probability, without replacement (FedAvg)."""

    def choose(self, candidates: Sequence[Candidate], count: int, round: int) -> Sequence[int]:
        """Draw the devices from the round's own stream."""
        order = stream(self.seed, "selection", round).permutation(len(candidates))
        return [candidates[place].device for place in order[:count]]


class Fastest(Selection):
    """Selection of the devices that took least time when they last took part; devices that never did come first."""

    def choose(self, candidates: Sequence[Candidate], count: int, round: int) -> Sequence[int]:
        """Choose by the sum of the last computing and upload times."""

        def key(candidate: Candidate) -> tuple[float, int]:
            if candidate.taken_part == 0:
                return (-1.0, candidate.device)
            if candidate.compute_s is None or candidate.upload_s is None:
                return (float("inf"), candidate.device)
            return (candidate.compute_s + candidate.upload_s, candidate.device)

        return [candidate.device for candidate in sorted(candidates, key=key)[:count]]


class ChannelAware(Selection):
    """Selection of the devices with the best channels, by their last known gains (Amiri et al. 2021)."""

    def choose(self, candidates: Sequence[Candidate], count: int, round: int) -> Sequence[int]:
        """Choose by the power gain of the uplink, then by number."""
        order = sorted(candidates, key=lambda candidate: (-candidate.power_gain, candidate.device))
        return [candidate.device for candidate in order[:count]]


class AgeOfUpdate(Selection):
    """Selection of the devices whose last used update is oldest (Yang et al. 2020); among equals the best channels."""

    def choose(self, candidates: Sequence[Candidate], count: int, round: int) -> Sequence[int]:
        """Choose by age, then by the power gain of the uplink, then by number."""
        order = sorted(candidates, key=lambda one: (-one.age, -one.power_gain, one.device))
        return [candidate.device for candidate in order[:count]]
