"""Small-scale fading: changes of a link's gain over time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from netsim.core.arrays import Floats, Whole
from netsim.core.options import NoOptions, Options
from netsim.core.philox import Draws


class Channel(ABC):
    """A fading model: the power gain of a link at a moment, relative to path loss.

    Attributes:
        Options: The model of the scenario's block.
        seed: The run's seed.
        carrier_hz: The carrier, for models of moving devices [Hz].
    """

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any, seed: int, carrier_hz: float = 2.6e9) -> None:
        self.options = options
        self.seed = seed
        self.carrier_hz = carrier_hz

    @property
    def mean_power(self) -> float:
        """Return the mean of the power gain, E[g²] / 10^(-PL/10)."""
        return 1.0

    @property
    def rare_power(self) -> float:
        """Return the power gain exceeded in one of a million blocks; a link that needs more is given up."""
        return math.inf

    @property
    def steady(self) -> bool:
        """Return whether gains hold for a whole round of the sender; ``power`` then ignores the clock."""
        return False

    @abstractmethod
    def power(self, sender: int, receiver: int, round: int, now_s: float) -> tuple[float, float]:
        """Return the power gain of the link now, relative to path loss, and the time until which it holds [s]."""

    def block(self, round: int, now_s: float) -> tuple[int, float] | None:
        """Return the block of the present gains, and the time until which it lasts [s]; None: there are no blocks.

        Gains hold for a block and are known ahead (:meth:`powers`). On a steady channel a round is a block.
        """
        return (round, math.inf) if self.steady else None

    def powers(self, senders: Whole, receivers: Whole, block: int) -> tuple[int, Floats]:
        """Return the gains of several links for some blocks, as ``power`` gives them.

        Args:
            senders: Number of each link's sender.
            receivers: Number of each link's receiver.
            block: One of the blocks.

        Returns:
            The first of these blocks, and the gains [blocks, links].
        """
        links = zip(senders.tolist(), receivers.tolist(), strict=True)
        return block, np.array([[self.power(*link, block, 0.0)[0] for link in links]])


class NoFading(Channel):
    """No fading: path loss alone."""

    steady = True
    rare_power = 1.0

    def power(self, sender: int, receiver: int, round: int, now_s: float) -> tuple[float, float]:
        """Return 1, which holds for ever."""
        return 1.0, math.inf


class BlockFading(Channel):
    r"""Fading whose gain holds for a round or for a coherence time; derive from it and say what a gain is.

    Its mean power depends on the normalisation: ``mean_amplitude`` (the DMML-KD paper: the *amplitude* has mean
    :math:`10^{-PL/20}`) or ``unit_power`` (most other work: :math:`E[g^2] = 10^{-PL/10}`).

    A gain is a function of the run's seed, the link's ends and the number of the round or of the coherence time
    (:class:`netsim.core.philox.Draws`), not of the order of calls. With ``reciprocal`` both directions share it.
    """

    class Options(Options):
        """Options of all fading in blocks."""

        normalisation: Literal["mean_amplitude", "unit_power"] = Field(
            "mean_amplitude",
            description="what the path loss is the mean of: the amplitude (paper), or the power",
        )
        coherence_time_s: float | None = Field(
            None, gt=0, description="time for which a gain holds [s]; null: one gain per round (paper)"
        )
        reciprocal: bool = Field(True, description="the same gain in both directions")

    options: BlockFading.Options
    CHUNK = 64
    MANY = 256
    """Links from which on it is faster to draw for all of them at once than for one after the other."""

    def __init__(self, options: Any, seed: int, carrier_hz: float = 2.6e9) -> None:
        super().__init__(options, seed, carrier_hz)
        self._draws = Draws(seed, "fading")
        self._chunks: dict[tuple[int, int], dict[int, Floats]] = {}

    @abstractmethod
    def of_one(self, a: int, b: int, first: int, count: int) -> Floats:
        """Return the power gains of the link a, b in ``count`` blocks from ``first`` on; it divides by four [count]."""

    @abstractmethod
    def of_many(self, a: Whole, b: Whole, first: int, count: int) -> Floats:
        """Return the same of many links at once [count, links]; ``count`` divides by four, too."""

    @property
    @abstractmethod
    def power_of_unit_amplitude(self) -> float:
        """Return the mean of the power if that of the amplitude is 1, E[g²] / E[g]²."""

    @property
    def coherence_s(self) -> float | None:
        """Return the time for which a gain holds [s]; None for a round."""
        return self.options.coherence_time_s

    @property
    def steady(self) -> bool:
        """Return whether there is no coherence time."""
        return self.coherence_s is None

    @cached_property
    def mean_power(self) -> float:
        """Return 1 for ``unit_power``, and more for ``mean_amplitude``: 4/π with Rayleigh fading."""
        return self.power_of_unit_amplitude if self.options.normalisation == "mean_amplitude" else 1.0

    def power(self, sender: int, receiver: int, round: int, now_s: float) -> tuple[float, float]:
        """Return the gain in the block of ``round``, or of ``now_s`` if there is a coherence time."""
        block, until_s = self.block(round, now_s)
        place = block % self.CHUNK
        return float(self._chunk(sender, receiver, block - place)[place]), until_s

    def block(self, round: int, now_s: float) -> tuple[int, float]:
        """Return the round, or the number of the coherence time if there is one, and its end [s]."""
        coherence_s = self.coherence_s
        if coherence_s is None:
            return round, math.inf
        block = int(now_s // coherence_s)
        until_s = (block + 1) * coherence_s
        if until_s <= now_s:  # rounding: now_s is the boundary itself
            return block + 1, (block + 2) * coherence_s
        return block, until_s

    def powers(self, senders: Whole, receivers: Whole, block: int) -> tuple[int, Floats]:
        """Return the gains of some blocks: a chunk of them for few links or a coherence time, else four for many."""
        if len(senders) < self.MANY:
            first = block - block % self.CHUNK
            links = zip(senders.tolist(), receivers.tolist(), strict=True)
            chunks = [self._chunk(*link, first) for link in links]
            return first, np.ascontiguousarray(np.reshape(chunks, (-1, self.CHUNK)).T)
        if self.options.reciprocal:
            senders, receivers = np.minimum(senders, receivers), np.maximum(senders, receivers)
        count = 4 if self.steady else self.CHUNK
        first = block - block % count
        return first, self.of_many(senders, receivers, first, count)

    def _chunk(self, sender: int, receiver: int, first: int) -> Floats:
        """Return the gains of one link in the blocks from ``first`` on [CHUNK]."""
        swapped = self.options.reciprocal and sender > receiver
        owner = (receiver, sender) if swapped else (sender, receiver)
        known = self._chunks.setdefault(owner, {})
        if first not in known:
            if len(known) > 1:  # both ends of a link may be in different chunks
                del known[min(known)]
            known[first] = self.of_one(*owner, first, self.CHUNK)
        return known[first]


class IndependentBlocks(BlockFading):
    """Fading whose blocks are independent of each other: one uniform draw each, of which a gain is made."""

    @abstractmethod
    def quantiles(self, uniform: Floats) -> Floats:
        """Return the power gains that exceed a share ``uniform`` of all gains."""

    def of_one(self, a: int, b: int, first: int, count: int) -> Floats:
        """Return the gains of one link's own draws [count]."""
        return self.quantiles(self._draws.of_one(a, b, first, count))

    def of_many(self, a: Whole, b: Whole, first: int, count: int) -> Floats:
        """Return the same of many links [count, links]."""
        return self.quantiles(self._draws.of_many(a, b, first, count))


class Rayleigh(IndependentBlocks):
    r"""Rayleigh block fading, drawn per round or per coherence time.

    The power gain is exponential. With ``mean_amplitude`` :math:`E[g^2] = (4/\pi) 10^{-PL/10}`, 1.05 dB more power
    than with ``unit_power``.
    """

    class Options(BlockFading.Options):
        """Block ``radio.channel`` with name ``rayleigh``."""

    power_of_unit_amplitude = 4 / math.pi

    @property
    def rare_power(self) -> float:
        """Return 13.8 times the mean, since the gain is exponential."""
        return self.mean_power * math.log(1e6)

    def quantiles(self, uniform: Floats) -> Floats:
        """Return the quantiles of the exponential distribution."""
        return -self.mean_power * np.log1p(-uniform)
