"""Path loss: the mean loss of a link, constant during a run."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from netsim.core.options import NoOptions, Options
from netsim.world.radio.shadowing import Shadowing, ShadowingOptions
from netsim.world.topology.topology import Link

SPEED_OF_LIGHT_M_PER_S = 299_792_458.0


def free_space_db(distance_m: float, carrier_hz: float, constant_db: float = 32.4) -> float:
    r"""Compute the free-space path loss :math:`PL = c_0 + 20 \log_{10} f_{GHz} + 20 \log_{10} d_m` [dB].

    Args:
        distance_m: Distance [m].
        carrier_hz: Carrier frequency [Hz].
        constant_db: :math:`c_0`; 32.4 is 3GPP's rounding (TR 37.885 V2V highway line of sight, and the DMML-KD
            paper, Section V-A), :func:`friis_constant_db` is exact and 0.048 dB more.
    """
    return constant_db + 20 * math.log10(carrier_hz / 1e9) + 20 * math.log10(distance_m)


def friis_constant_db() -> float:
    """Return the exact constant of free space for f in GHz and d in m: 20 log10(4π·1e9/c) = 32.4478 dB."""
    return 20 * math.log10(4 * math.pi * 1e9 / SPEED_OF_LIGHT_M_PER_S)


def log_distance_db(
    distance_m: float, reference_loss_db: float, exponent: float, reference_m: float
) -> float:
    r"""Compute the log-distance path loss :math:`PL = PL_0 + 10 n \log_{10}(d / d_0)` [dB]."""
    return reference_loss_db + 10 * exponent * math.log10(distance_m / reference_m)


def heights_m(link: Link, base_m: float, device_m: float) -> tuple[float, float]:
    """Return the antenna heights of a link's base and of its other end [m].

    The edge server is the base. Of two devices the one with the lower number counts as the base, at a device's height.
    """
    return (base_m if link.ends[1] == "server" else device_m), device_m


class PathLoss(ABC):
    """A model of the path loss of a link: of its distance, its positions, or chance (shadowing, line of sight).

    It is called once for each link, as a run begins. Its random draws come from streams of ``seed`` with the names of
    the link's ends, ``stream(self.seed, "shadowing", *link.ends)``. Then the loss depends neither on other devices nor
    on the order of calls, and uplink and downlink have the same shadowing.

    Attributes:
        Options: The model of the scenario's block.
        seed: The run's seed.
    """

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any, seed: int) -> None:
        self.options = options
        self.seed = seed

    @abstractmethod
    def loss_db(self, link: Link, carrier_hz: float) -> float:
        """Return the path loss of ``link`` at ``carrier_hz`` [Hz], equal in both directions [dB]; inf: no signal."""

    def losses_db(self, links: Sequence[Link], carrier_hz: float) -> Sequence[float]:
        """Return the path loss of each link, as ``loss_db`` does; for models that compute many at once [dB]."""
        return [self.loss_db(link, carrier_hz) for link in links]


class Shadowed(PathLoss):
    """A mean loss and, if the scenario says so, log-normal shadowing; derive from it and say what the mean is."""

    class Options(Options):
        """Options of all path losses with shadowing."""

        shadowing: ShadowingOptions | None = Field(
            None, description="log-normal shadowing; `{}`: 4 dB, correlated over 10 m; null: none"
        )

    options: Shadowed.Options

    def __init__(self, options: Any, seed: int) -> None:
        super().__init__(options, seed)
        self._shadowing = Shadowing(options.shadowing, seed) if options.shadowing is not None else None

    @abstractmethod
    def mean_db(self, link: Link, carrier_hz: float) -> float:
        """Return the loss of ``link`` without its shadowing [dB]."""

    def loss_db(self, link: Link, carrier_hz: float) -> float:
        """Return mean and shadowing [dB]."""
        return self.losses_db([link], carrier_hz)[0]

    def losses_db(self, links: Sequence[Link], carrier_hz: float) -> Sequence[float]:
        """Return mean and shadowing of each link [dB]."""
        means_db = [self.mean_db(link, carrier_hz) for link in links]
        if self._shadowing is None:
            return means_db
        return (np.array(means_db) + self._shadowing.values_db(links)).tolist()


class OverDistance(Shadowed):
    """A path loss that depends on the distance alone; a distance below ``minimum_m`` counts as ``minimum_m``."""

    class Options(Shadowed.Options):
        """Options of all path losses over distance."""

        minimum_m: float = Field(1.0, gt=0, description="shorter distances count as this [m]")

    options: OverDistance.Options

    def mean_db(self, link: Link, carrier_hz: float) -> float:
        """Return the loss at the link's distance [dB]."""
        return self.at_db(max(link.distance_m, self.options.minimum_m), carrier_hz)

    @abstractmethod
    def at_db(self, distance_m: float, carrier_hz: float) -> float:
        """Return the path loss [dB] at ``distance_m`` [m] and ``carrier_hz`` [Hz]."""


class FreeSpace(OverDistance):
    """Free space, 20 dB per decade of distance and of frequency (the paper's)."""

    class Options(OverDistance.Options):
        """Block ``radio.path_loss`` with name ``free_space``."""

        form: Literal["3gpp", "friis"] = Field("3gpp", description="constant 32.4 dB (the paper's), or exact")

    options: FreeSpace.Options

    def at_db(self, distance_m: float, carrier_hz: float) -> float:
        """Return the loss of :func:`free_space_db` [dB]."""
        constant_db = 32.4 if self.options.form == "3gpp" else friis_constant_db()
        return free_space_db(distance_m, carrier_hz, constant_db)


class LogDistance(OverDistance):
    """Log-distance: a loss at a reference distance and an exponent."""

    class Options(OverDistance.Options):
        """Block ``radio.path_loss`` with name ``log_distance``."""

        exponent: float = Field(3.0, gt=0, description="path-loss exponent n")
        reference_m: float = Field(1.0, gt=0, description="reference distance d0 [m]")
        reference_loss_db: float | None = Field(
            None, description="loss at d0 [dB]; default: free space there"
        )

    options: LogDistance.Options

    def at_db(self, distance_m: float, carrier_hz: float) -> float:
        """Return the loss of :func:`log_distance_db` [dB]."""
        o = self.options
        reference_db = o.reference_loss_db
        if reference_db is None:
            reference_db = free_space_db(o.reference_m, carrier_hz)
        return log_distance_db(distance_m, reference_db, o.exponent, o.reference_m)
