"""Differential privacy of what devices send: its options and its accountant, without PyTorch."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

from pydantic import Field

from netsim.core.options import Options

ORDERS = (*(1 + k / 10 for k in range(1, 100)), *(float(k) for k in range(11, 64)), 128.0, 256.0, 512.0)
"""Orders α of the divergences from which the best ε is taken; where samples are drawn, whole ones alone."""


class PrivacyOptions(Options):
    """The Gaussian mechanism: what counts is shortened to a norm, and noise is added."""

    clip: float = Field(
        gt=0, description="C, longest change of a device, or longest gradient of a sample (L2 norm)"
    )
    noise_multiplier: float = Field(gt=0, description="z: the noise on a sum has the standard deviation z·C")
    mode: Literal["update", "sample"] = Field(
        default="update",
        description="whose part is hidden: update (all that a device has: the change of a round is shortened, and the "
        "device adds noise to it), or sample (one of its samples: DP-SGD, in each step)",
    )
    delta: float = Field(
        default=1e-5, gt=0, lt=1, description="δ of (ε, δ)-privacy; below 1/samples is usual"
    )

    def epsilon(self, releases: int, share: float) -> float:
        """Return ε after so many noisy sums, each over a random ``share`` of what they could be over."""
        return epsilon(share, self.noise_multiplier, releases, self.delta)


@lru_cache(maxsize=1024)
def epsilon(share: float, noise_multiplier: float, releases: int, delta: float) -> float:
    """Compute ε of a sampled Gaussian mechanism that is used ``releases`` times.

    Divergences add up over uses. Each order α gives an ε, ε(α) + log((α − 1)/α) − (log δ + log α)/(α − 1) (Canonne,
    Kamath & Steinke 2020, Proposition 12); the smallest holds.

    Args:
        share: q, the probability with which each sample is drawn.
        noise_multiplier: z, standard deviation of the noise over the norm that one sample can have.
        releases: Uses.
        delta: δ.
    """
    if not releases:
        return 0.0
    found = [
        releases * divergence(share, noise_multiplier, order)
        + math.log((order - 1) / order)
        - (math.log(delta) + math.log(order)) / (order - 1)
        for order in ORDERS
        if share == 1.0 or order.is_integer()
    ]
    return max(0.0, min(found))


@lru_cache(maxsize=4096)
def divergence(share: float, noise_multiplier: float, order: float) -> float:
    """Compute the Rényi divergence ε(α) of one use (Mironov, Talwar & Zhang 2019, Section 3.3).

    It is log(Σ_k C(α, k) (1 − q)^(α − k) q^k exp((k² − k)/(2 z²)))/(α − 1), and α/(2 z²) for q = 1.

    Args:
        share: q.
        noise_multiplier: z.
        order: α; a whole number for q < 1.
    """
    if share == 1.0:
        return order / (2 * noise_multiplier**2)
    alpha = int(order)
    terms = [
        math.lgamma(alpha + 1)
        - math.lgamma(k + 1)
        - math.lgamma(alpha - k + 1)
        + k * math.log(share)
        + (alpha - k) * math.log1p(-share)
        + (k * k - k) / (2 * noise_multiplier**2)
        for k in range(alpha + 1)
    ]
    most = max(terms)
    return (most + math.log(math.fsum(math.exp(term - most) for term in terms))) / (alpha - 1)
