"""Log-normal shadowing, correlated in space: a field that is a function of the positions of a link's ends alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from netsim.core.options import Options
from netsim.core.streams import stream
from netsim.world.topology.topology import Link

Decibels = NDArray[np.float64]

WAVES = 512
"""Waves of the field. The autocorrelation that one seed has over the plane is off by 1 / sqrt(2 WAVES) = 0.03 (rms)."""

AT_ONCE = 64
"""Links computed together, so that their waves stay in a processor's cache."""


class ShadowingOptions(Options):
    """Block ``shadowing`` of a path loss: a normal number of decibels beside the mean loss."""

    sigma_db: float | None = Field(
        None,
        ge=0,
        description="standard deviation [dB]; null: TR 38.901's, 4 dB for laws that are not its own",
    )
    decorrelation_m: float | None = Field(
        None,
        ge=0,
        description="way of one end after which the correlation is 1/e [m]; 0: every link has its own draw; null: "
        "TR 38.901's, 10 m for laws that are not its own",
    )


class Shadowing:
    r"""Shadowing of links, by default of standard deviation 4 dB and decorrelation distance 10 m.

    It is a sum of :math:`N` = :data:`WAVES` plane waves over the positions :math:`a, b` of both ends,
    :math:`T(a, b) = \sqrt{2/N} \sum_n \cos(k_n \cdot a + l_n \cdot b + \varphi_n)`, whose random :math:`k_n, l_n,
    \varphi_n` come from the stream ``"shadowing"`` of the run's seed. The lengths of :math:`k_n` and :math:`l_n` are
    drawn from the spectrum of Gudmundson's exponential (Electronics Letters 27(23), 1991), their directions uniformly.
    So T has mean 0, variance 1 and correlation :math:`e^{-(|\Delta a| + |\Delta b|) / d}` (both ends: Wang, Tameh and
    Nix, IEEE Trans. Vehicular Technology 57(2), 2008). The value of a link is
    :math:`\sigma (T(a, b) + T(b, a)) / \sqrt{2 + 2 e^{-2|a - b|/d}}`, which is the same in both directions.

    So the same seed and positions have the same value, whoever else is there and whatever was asked before; a device
    that moves and comes back finds the value that it left. With a decorrelation distance of 0 a link's draw is its own,
    from the stream ``("shadowing", *ends)``, and does not change with its positions.
    """

    SIGMA_DB, DECORRELATION_M = 4.0, 10.0

    def __init__(self, options: ShadowingOptions, seed: int) -> None:
        self.options = options
        self.seed = seed

    def values_db(
        self,
        links: Sequence[Link],
        sigma_db: Decibels | float = SIGMA_DB,
        decorrelation_m: NDArray[np.float64] | float = DECORRELATION_M,
    ) -> Decibels:
        """Return the shadowing of each link [links] [dB].

        Args:
            links: The links.
            sigma_db: Standard deviation where the options have none, [links] or one for all [dB].
            decorrelation_m: Decorrelation distance where the options have none, likewise [m].
        """
        given = self.options
        sigma_db = sigma_db if given.sigma_db is None else given.sigma_db
        decorrelation_m = decorrelation_m if given.decorrelation_m is None else given.decorrelation_m
        if given.decorrelation_m == 0:
            own = [stream(self.seed, "shadowing", *link.ends).standard_normal() for link in links]
            return sigma_db * np.array(own)
        places = np.array([link.positions_m for link in links]).reshape(-1, 2, 2)
        places /= np.reshape(decorrelation_m, (-1, 1, 1))
        parts = [self._unit(places[first : first + AT_ONCE]) for first in range(0, len(places), AT_ONCE)]
        return sigma_db * np.concatenate([np.zeros(0), *parts])

    @cached_property
    def _waves(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return wave vectors k, l of both ends for a decorrelation distance of 1 [2, 2, WAVES], and phases [WAVES].

        The isotropic spectrum of exp(-r) in the plane falls like (1 + k²)^(-3/2), so P(|k| < x) = 1 - 1/sqrt(1 + x²).
        """
        rng = stream(self.seed, "shadowing")
        length = np.sqrt((1 - rng.random((2, WAVES))) ** -2 - 1)
        angle, phase = 2 * np.pi * rng.random((2, WAVES)), 2 * np.pi * rng.random(WAVES)
        return np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1), phase

    def _unit(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the field of variance 1 at pairs of places [links, 2, 2], in decorrelation distances [links].

        The cosines of both directions are 2 cos((k + l)(a + b)/2 + phase) cos((k - l)(a - b)/2).
        """
        (k, j), phase = self._waves
        middle, half = (places[:, 0] + places[:, 1]) / 2, (places[:, 0] - places[:, 1]) / 2
        product = np.cos(_along(middle, k + j) + phase) * np.cos(_along(half, k - j))
        apart = 2 * np.hypot(*half.T)
        return 2 * product.sum(axis=1) / np.sqrt(WAVES * (1 + np.exp(-2 * apart)))


def _along(places: NDArray[np.float64], waves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places [links, 2] times waves [2, WAVES]; the last bits of a matrix product depend on how many links."""
    return places[:, :1] * waves[0] + places[:, 1:] * waves[1]
