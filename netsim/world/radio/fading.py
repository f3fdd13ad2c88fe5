"""Small-scale fading: how a link's gain changes from moment to moment."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from netsim.core.options import NoOptions, Options
from netsim.core.streams import stream


class Channel(ABC):
    """Turns a link and a moment into a power gain relative to path loss."""

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any, seed: int) -> None:
        self.options = options
        self.seed = seed

    @property
    def mean_power(self) -> float:
        """Mean of the power gain, E[g²] / 10^(-PL/10)."""
        return 1.0

    @property
    def rare_power(self) -> float:
        """Power gain that is exceeded in less than one of a million blocks; a link that needs more is given up."""
        return math.inf

    @property
    def steady(self) -> bool:
        """Whether gains hold for a whole round of the sender: ``power`` then says "for ever" and looks at no clock."""
        return False

    @abstractmethod
    def power(self, sender: int, receiver: int, round: int, now_s: float) -> tuple[float, float]:
        """Power gain of the link now, relative to path loss, and the time until which it holds [s]."""

    def powers(self, sender: int, receivers: tuple[int, ...], round: int) -> tuple[int, NDArray[np.float64]]:
        """Power gains of several links of one sender, as ``power`` gives them, for some rounds; for steady channels.

        Returns:
            The first of those rounds, and the gains [rounds, receivers]; ``round`` is among them.
        """
        return round, np.array([[self.power(sender, receiver, round, 0.0)[0] for receiver in receivers]])


class NoFading(Channel):
    """No fading: path loss alone."""

    steady = True
    rare_power = 1.0

    def power(self, sender: int, receiver: int, round: int, now_s: float) -> tuple[float, float]:
        """One, for ever."""
        return 1.0, math.inf


class Rayleigh(Channel):
    r"""Rayleigh block fading, drawn per round or per coherence time.

    The power gain is exponential. Its mean says what the path loss normalises: ``mean_amplitude`` (the DMML-KD paper:
    the *amplitude* has mean :math:`10^{-PL/20}`, so :math:`E[g^2] = (4/\pi) 10^{-PL/10}`, 1.05 dB more power) or
    ``unit_power`` (most other work: :math:`E[g^2] = 10^{-PL/10}`).

    A link's gains come from its own stream, in blocks, so they are a function of link and time and not of who asked
    first; with ``reciprocal`` both directions share them.
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
        """Without a coherence time."""
        return self.options.coherence_time_s is None

    @property
    def mean_power(self) -> float:
        """4/π for ``mean_amplitude``, 1 for ``unit_power``."""
        return 4 / math.pi if self.options.normalisation == "mean_amplitude" else 1.0

    @property
    def rare_power(self) -> float:
        """13.8 times the mean: the gain is exponential."""
        return self.mean_power * math.log(1e6)

    def power(self, sender: int, receiver: int, round: int, now_s: float) -> tuple[float, float]:
        """An exponential draw for the block that ``round``, or ``now_s``, falls into."""
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

    def powers(self, sender: int, receivers: tuple[int, ...], round: int) -> tuple[int, NDArray[np.float64]]:
        """The draws of the chunk of rounds that ``round`` is in."""
        number = round // self.CHUNK
        chunks = [self._chunk(sender, receiver, number) for receiver in receivers]
        return number * self.CHUNK, np.stack(chunks, axis=1)

    def _chunk(self, sender: int, receiver: int, number: int) -> NDArray[np.float64]:
        """Draws of one link for the blocks of chunk ``number`` [CHUNK]."""
        link = (sender, receiver)
        if self.options.reciprocal and sender > receiver:
            link = (receiver, sender)
        known = self._chunks.get(link)
        if known is None or known[0] != number:
            rng = stream(self.seed, "fading", *link, number)
            known = self._chunks[link] = (number, rng.exponential(self.mean_power, self.CHUNK))
        return known[1]
