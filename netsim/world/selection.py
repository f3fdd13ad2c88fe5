"""Which devices take part in a server's round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from netsim.core.options import NoOptions, Options
from netsim.core.streams import stream


class Candidate(NamedTuple):
    """What the server knows of a device before a round; it knows no future.

    Attributes:
        device: Its number.
        battery_j: Joules left [J]; infinite for mains power.
        power_gain: Power gain of its link when it was last used, path loss included; its mean if it never was.
        compute_s: How long it computed when it last took part [s]; None if it never did, or did not get to the end.
        upload_s: How long its last upload took [s]; None likewise.
        taken_part: In how many rounds it has taken part.
    """

    device: int
    battery_j: float
    power_gain: float
    compute_s: float | None
    upload_s: float | None
    taken_part: int


class Selection(ABC):
    """A policy that picks a round's participants."""

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any, seed: int) -> None:
        self.options = options
        self.seed = seed

    @abstractmethod
    def choose(self, candidates: Sequence[Candidate], count: int, round: int) -> Sequence[int]:
        """``count`` devices out of ``candidates``, which are at least as many, in the order of their numbers."""


class Uniform(Selection):
    """Every device with equal probability, without replacement (FedAvg)."""

    def choose(self, candidates: Sequence[Candidate], count: int, round: int) -> Sequence[int]:
        """From a stream of the round's own."""
        order = stream(self.seed, "selection", round).permutation(len(candidates))
        return [candidates[place].device for place in order[:count]]


class Fastest(Selection):
    """Those that took least time when they last took part; who never did comes first, in the order of numbers."""

    def choose(self, candidates: Sequence[Candidate], count: int, round: int) -> Sequence[int]:
        """By the last computing and upload time together."""

        def key(candidate: Candidate) -> tuple[float, int]:
            if candidate.taken_part == 0:
                return (-1.0, candidate.device)
            if candidate.compute_s is None or candidate.upload_s is None:
                return (float("inf"), candidate.device)
            return (candidate.compute_s + candidate.upload_s, candidate.device)

        return [candidate.device for candidate in sorted(candidates, key=key)[:count]]
