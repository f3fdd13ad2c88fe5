"""Staleness: how much less a model counts for being late."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from netsim.core.options import Options

Staleness = Literal["constant", "polynomial", "exponential", "hinge"]


class StalenessOptions(Options):
    """Keys that say how much less a model counts for being late."""

    staleness: Staleness = Field(
        "polynomial", description="how much less a model counts for each version, or round, that it is late"
    )
    staleness_exponent: float = Field(
        0.5,
        ge=0,
        description="a of the polynomial (staleness + 1)^-a, and of the exponential e^(-a staleness)",
    )
    staleness_slope: float = Field(10.0, gt=0, description="a of the hinge 1/(a (staleness - b) + 1)")
    staleness_delay: int = Field(
        4, ge=0, description="b of the hinge: up to b versions, or rounds, cost nothing"
    )

    def factor(self, staleness: int) -> float:
        """Return what is left of the weight of a model that is so many versions, or rounds, late."""
        return staleness_factor(
            self.staleness, staleness, self.staleness_exponent, self.staleness_slope, self.staleness_delay
        )


def staleness_factor(kind: Staleness, staleness: int, exponent: float, slope: float, delay: int) -> float:
    """Compute s(t − τ) of FedAsync (Xie et al. 2019, Section 5.2); 1 for a model that is not stale.

    Args:
        kind: ``constant``: 1; ``polynomial``: (t − τ + 1)^−a; ``exponential``: e^(−a (t − τ)); ``hinge``: 1 up to b,
            then 1/(a (t − τ − b) + 1).
        staleness: t − τ, how many versions, or rounds, late it is.
        exponent: a of ``polynomial`` and ``exponential``.
        slope: a of ``hinge``.
        delay: b of ``hinge``.
    """
    forms: dict[Staleness, Callable[[], float]] = {
        "constant": lambda: 1.0,
        "polynomial": lambda: float((staleness + 1) ** -exponent),
        "exponential": lambda: math.exp(-exponent * staleness),
        "hinge": lambda: 1.0 if staleness <= delay else 1 / (slope * (staleness - delay) + 1),
    }
    return forms[kind]()
