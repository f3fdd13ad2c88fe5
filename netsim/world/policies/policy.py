"""The contract of a policy: what a scheduler decides before a device's round, and what it can know then."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from netsim.core.options import NoOptions, Options
from netsim.world.devices.processor import Processor


class Last(NamedTuple):
    """The last round that a device has ended and in which it computed.

    Attributes:
        round: Its number.
        flops: FLOPs of its computation.
        iterations: Its local steps; 0 where the learner counts none.
        compute_s: Time of computing [s].
        sending_s: Time of sending [s].
        compute_j: Energy of computing [J].
        energy_j: Energy of the whole round [J].
    """

    round: int
    flops: float
    iterations: int
    compute_s: float
    sending_s: float
    compute_j: float
    energy_j: float


@dataclass(frozen=True)
class Sight:
    """A device as a policy sees it when a round of it begins; it does not include the future, and no model.

    Attributes:
        device: Its number.
        round: Its round t, from 1.
        rounds: Rounds of the run.
        battery_j: Joules left [J]; infinite for unlimited power.
        processor: The processor, as the scenario states it.
        flops: FLOPs of this round's computation; None where they are not decided yet.
        tx_power_w: The transmit power that the scenario states, which is the most that it can send with [W].
        power_gains: Power gain of its link to each neighbour, or to the server, path loss included, when it was last
            used; its mean if it never was.
        noise_w: Noise power in the whole band [W].
        last: Its last round; None before its first.
    """

    device: int
    round: int
    rounds: int
    battery_j: float
    processor: Processor
    flops: float | None
    tx_power_w: float
    power_gains: Mapping[int, float]
    noise_w: float
    last: Last | None

    @property
    def cycles(self) -> float:
        """Return the cycles of this round's computation; 0 where it is not decided yet."""
        return (self.flops or 0.0) / self.processor.flops_per_cycle

    @property
    def frequencies_hz(self) -> tuple[float, ...] | None:
        """Return the frequencies that it can run at, ascending [Hz]; None: any up to :attr:`top_hz`."""
        return self.processor.frequencies_hz

    @property
    def top_hz(self) -> float:
        """Return the highest frequency that it can run at [Hz]."""
        return self.processor.highest_hz


class Link(NamedTuple):
    """A link between two devices that are there, as a scheduler sees it.

    Attributes:
        a: The device with the lower number.
        b: The device with the higher number.
        joules_per_bit: Energy of a bit from ``a`` to ``b`` and one back, at the last known gains [J/bit].
    """

    a: int
    b: int
    joules_per_bit: float


class Policy(ABC):  # noqa: B024 (it decides what it overrides)
    """Decides for each device and round. A policy has a method for each of its decisions; others it does not make.

    Args:
        options: Its block of the scenario.
        seed: The run's seed; draw with :func:`netsim.core.streams.stream`.
    """

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any, seed: int) -> None:
        self.options = options
        self.seed = seed

    def tx_power(self, sight: Sight) -> float:
        """Return the transmit power of this round, up to ``sight.tx_power_w`` [W]."""
        raise NotImplementedError

    def iterations(self, sight: Sight) -> int | None:
        """Return the most local steps of this round, at least 1; None: as many as the learner makes by itself."""
        raise NotImplementedError

    def cpu_frequency(self, sight: Sight) -> float:
        """Return the clock frequency of this round's computation, of ``sight.flops`` FLOPs [Hz]."""
        raise NotImplementedError

    def links(self, links: Sequence[Link], round: int) -> Iterable[tuple[int, int]]:
        """Return which of ``links``, as pairs of devices, are used in ``round``."""
        raise NotImplementedError

    @classmethod
    def decisions(cls) -> list[str]:
        """Return what it decides: keys of the scenario's block ``policies``."""
        return [name for name in DECISIONS if getattr(cls, name) is not getattr(Policy, name)]


DECISIONS = ("tx_power", "iterations", "cpu_frequency", "links")
"""What a policy can decide, in the order in which a device is told."""
