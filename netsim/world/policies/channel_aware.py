"""Policy of transmit power by the channel."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from netsim.core.options import Options
from netsim.world.policies.policy import Policy, Sight
from netsim.world.radio.units import db_to_power


class ChannelAwareOptions(Options):
    """Block ``policies.tx_power`` with name ``channel_aware``."""

    snr_db: float = Field(10.0, ge=-100, le=100, description="SNR to arrive with, over the whole band [dB]")


class ChannelAware(Policy):
    r"""Truncated channel inversion: as much power as a stated SNR needs at the last known gain, up to all there is.

    It is :math:`p = \min(p_{max}, \gamma N_0 B / g^2)` for the SNR γ, noise power N₀ B and the power gain g² of the
    device's worst link (Goldsmith and Varaiya 1997).
    """

    Options: ClassVar[type[Options]] = ChannelAwareOptions
    options: ChannelAwareOptions

    def tx_power(self, sight: Sight) -> float:
        """Return the power that the worst link needs [W]."""
        worst = min(sight.power_gains.values(), default=0.0)
        needed = db_to_power(self.options.snr_db) * sight.noise_w
        return min(sight.tx_power_w, needed / worst) if worst > 0 else sight.tx_power_w
