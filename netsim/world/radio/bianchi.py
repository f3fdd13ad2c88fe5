"""Saturation throughput of carrier sense multiple access with collision avoidance (IEEE 802.11's DCF).

G. Bianchi, "Performance Analysis of the IEEE 802.11 Distributed Coordination Function", IEEE JSAC 18(3), 2000. All
stations hear each other and always have a packet to send; the channel loses nothing but what collides. Here stations
may have different rates: each wins the channel equally often, so the slowest sets the pace of all (Heusse, Rousseau,
Berger-Sabbatel and Duda 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from pydantic import Field

from netsim.core.options import Options


class Contention(Options):
    """Parameters of the contention; the defaults are the paper's (Table II: frequency hopping at 1 Mbit/s)."""

    slot_s: float = Field(50e-6, gt=0, description="length of an empty slot, σ [s]")
    sifs_s: float = Field(28e-6, ge=0, description="time between a frame and its answer, SIFS [s]")
    difs_s: float = Field(128e-6, ge=0, description="idle time before a station counts down, DIFS [s]")
    propagation_s: float = Field(1e-6, ge=0, description="propagation delay, δ [s]")
    payload_bits: float = Field(8184.0, gt=0, description="payload of a packet [bit]")
    header_s: float = Field(400e-6, ge=0, description="duration of a packet's headers, PHY and MAC [s]")
    ack_s: float = Field(240e-6, ge=0, description="duration of an acknowledgement of a packet [s]")
    rts_s: float = Field(288e-6, ge=0, description="duration of a request to send [s]")
    cts_s: float = Field(240e-6, ge=0, description="duration of a clear to send [s]")
    window: int = Field(32, ge=2, le=2**20, description="smallest contention window, W [slots]")
    stages: int = Field(3, ge=0, le=20, description="number of times that the window doubles, m")
    handshake: bool = Field(
        False, description="whether packets are announced (RTS/CTS); otherwise basic access"
    )


@lru_cache
def attempt_probability(stations: int, window: int, stages: int) -> float:
    r"""Solve for the probability that a station begins to send in a slot, τ (eqs. 7 and 9).

    .. math::
        \tau = \frac{2}{1 + W + p W \sum_{i=0}^{m-1} (2p)^i}, \qquad p = 1 - (1 - \tau)^{n-1}

    The first falls and the second rises in τ, so there is one solution.

    Args:
        stations: Number of stations that contend, n.
        window: Smallest contention window, W [slots].
        stages: Number of times that it doubles, m.
    """
    from scipy import optimize  # takes longer to import than a scenario to check

    def surplus(tau: float) -> float:
        p = 1 - (1 - tau) ** (stations - 1)
        return tau - 2 / (1 + window + p * window * sum((2 * p) ** i for i in range(stages)))

    return float(optimize.brentq(surplus, 0.0, 1.0, xtol=1e-15, rtol=1e-14))


class Throughput(NamedTuple):
    """The part of a channel that contention leaves.

    Attributes:
        rate_bps: Payload bits that every station gets through [bit/s].
        duty: The part of the time in which each station sends, collisions included.
    """

    rate_bps: float
    duty: list[float]


def throughput(payload_s: Sequence[float], options: Contention) -> Throughput:
    r"""Compute what each station gets through, given how long its payload takes [s].

    The mean time between two moments at which counters change is
    :math:`E = (1-\tau)^n \sigma + \tau(1-\tau)^{n-1} \sum_i T_i^s + C` (the denominator of eq. 13), and station i gets
    :math:`\tau (1-\tau)^{n-1} P / E`. The time of collisions C is summed over their longest packet.

    Args:
        payload_s: Time of each station's payload at its rate [s].
        options: Times of the rest, and the window.
    """
    count = len(payload_s)
    tau = attempt_probability(count, options.window, options.stages)
    packet_s = [options.header_s + own_s for own_s in payload_s]
    answered_s = options.sifs_s + options.propagation_s
    after_s = options.propagation_s + options.difs_s
    announced_s = options.rts_s + options.cts_s + 2 * answered_s if options.handshake else 0.0
    success_s = [announced_s + own_s + answered_s + options.ack_s + after_s for own_s in packet_s]
    first_s = [options.rts_s] * count if options.handshake else packet_s
    alone = tau * (1 - tau) ** (count - 1)
    mean_s = (1 - tau) ** count * options.slot_s + alone * sum(success_s)
    for shorter, own_s in enumerate(
        sorted(first_s)
    ):  # the longest of a collision: no longer one, some shorter one
        silent = (1 - tau) ** (count - 1 - shorter)
        mean_s += tau * silent * (1 - (1 - tau) ** shorter) * (own_s + after_s)
    collides = tau - alone
    sends_s = [
        alone * (own_s + (options.rts_s if options.handshake else 0.0)) + collides * lost_s
        for own_s, lost_s in zip(packet_s, first_s, strict=True)
    ]
    return Throughput(alone * options.payload_bits / mean_s, [own_s / mean_s for own_s in sends_s])
