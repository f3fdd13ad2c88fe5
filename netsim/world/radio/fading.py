"""Small-scale fading: changes of a link's gain over time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from netsim.core.options import NoOptions, Options
from netsim.core.streams import stream, streams


class Channel(ABC):
    """A fading model: the power gain of a link at a moment, relative to path loss."""

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any, seed: int) -> None:
        self.options = options
        self.seed = seed

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

    def powers(self, links: Sequence[tuple[int, int]], round: int) -> tuple[int, NDArray[np.float64]]:
        """Return the gains of several links for some rounds, as ``power`` gives them (steady channels).

        Args:
            links: Sender and receiver of each.
            round: One of the rounds.

        Returns:
            The first of these rounds, and the gains [rounds, links].
        """
        return round, np.array([[self.power(*link, round, 0.0)[0] for link in links]])


class NoFading(Channel):
    """No fading: path loss alone."""

    steady = True
    rare_power = 1.0

    def power(self, sender: int, receiver: int, round: int, now_s: float) -> tuple[float, float]:
        """Return 1, which holds for ever."""
        return 1.0, math.inf


class Rayleigh(Channel):
    r"""Rayleigh block fading, drawn per round or per coherence time.

    The power gain is exponential. Its mean depends on the normalisation: ``mean_amplitude`` (the DMML-KD paper:
    the *amplitude* has mean :math:`10^{-PL/20}`, so :math:`E[g^2] = (4/\pi) 10^{-PL/10}`, 1.05 dB more power) or
    ``unit_power`` (most other work: :math:`E[g^2] = 10^{-PL/10}`).

    A link's gains come from its own stream, in blocks, so they depend on link and time, not on the order of calls. With
    ``reciprocal`` both directions share them.
    """

    class Options(Options):
        """Block ``radio.channel`` with name ``rayleigh``."""

        normalisation: Literal["mean_amplitude", "unit_power"] = Field(
            "mean_amplitude",
            description="what the path loss is the mean of: the amplitude (paper), or the power",
        )
        coherence_time_s: float | None = Field(
            None, gt=0, description="time for which a gain holds [s]; null: one gain per round (paper)"
        )
        reciprocal: bool = Field(True, description="the same gain in both directions")

    options: Rayleigh.Options
    CHUNK = 64

    def __init__(self, options: Any, seed: int) -> None:
        super().__init__(options, seed)
        self._chunks: dict[tuple[int, int], tuple[int, NDArray[np.float64]]] = {}

    @property
    def steady(self) -> bool:
        """Return whether there is no coherence time."""
        return self.options.coherence_time_s is None

    @property
    def mean_power(self) -> float:
        """Return 4/π for ``mean_amplitude``, 1 for ``unit_power``."""
        return 4 / math.pi if self.options.normalisation == "mean_amplitude" else 1.0

    @property
    def rare_power(self) -> float:
        """Return 13.8 times the mean, since the gain is exponential."""
        return self.mean_power * math.log(1e6)

    def power(self, sender: int, receiver: int, round: int, now_s: float) -> tuple[float, float]:
        """Return an exponential draw for the block of ``round``, or of ``now_s`` if there is a coherence time."""
        coherence_s = self.options.coherence_time_s
        if coherence_s is None:
            block, until_s = round, math.inf
        else:
            block = int(now_s // coherence_s)
            until_s = (block + 1) * coherence_s
            if until_s <= now_s:  # rounding: now_s is the boundary itself
                block, until_s = block + 1, (block + 2) * coherence_s
        number, place = divmod(block, self.CHUNK)
        return float(self._chunk(sender, receiver, number)[place]), until_s

    def powers(self, links: Sequence[tuple[int, int]], round: int) -> tuple[int, NDArray[np.float64]]:
        """Return the draws of the chunk of rounds that contains ``round``."""
        number = round // self.CHUNK
        owners = [self._owner(*link) for link in links]
        missing = list(dict.fromkeys(owner for owner in owners if not self._has(owner, number)))
        drawing = streams(self.seed, [("fading", *owner, number) for owner in missing])
        for owner, rng in zip(missing, drawing, strict=True):
            self._draw(owner, number, rng)
        chunks = np.array([self._chunks[owner][1] for owner in owners]).reshape(-1, self.CHUNK)
        return number * self.CHUNK, np.ascontiguousarray(chunks.T)

    def _chunk(self, sender: int, receiver: int, number: int) -> NDArray[np.float64]:
        """Return the draws of one link for the blocks of chunk ``number`` [CHUNK]."""
        owner = self._owner(sender, receiver)
        if not self._has(owner, number):
            self._draw(owner, number, stream(self.seed, "fading", *owner, number))
        return self._chunks[owner][1]

    def _owner(self, sender: int, receiver: int) -> tuple[int, int]:
        """Return the link whose draws this one has: with ``reciprocal`` the one from the lower number."""
        swapped = self.options.reciprocal and sender > receiver
        return (receiver, sender) if swapped else (sender, receiver)

    def _has(self, owner: tuple[int, int], number: int) -> bool:
        known = self._chunks.get(owner)
        return known is not None and known[0] == number

    def _draw(self, owner: tuple[int, int], number: int, rng: np.random.Generator) -> None:
        self._chunks[owner] = (number, rng.exponential(self.mean_power, self.CHUNK))
