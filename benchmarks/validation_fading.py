"""Figures of docs/validation.md on fading and rates."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy import integrate, special, stats

from netsim.core.registry import load
from netsim.world.radio.fading import BlockFading
from netsim.world.radio.mcs import LTE
from netsim.world.radio.path_loss import SPEED_OF_LIGHT_M_PER_S
from netsim.world.radio.rate import Rate

LINKS = np.arange(5000), np.arange(5000) + 5000


def fading_of(name: str, **options: Any) -> BlockFading:
    """The fading that a scenario calls ``name``, with mean power 1."""
    cls = load("channels", name)
    return cls(cls.Options(**{"normalisation": "unit_power", **options}), 0, SPEED_OF_LIGHT_M_PER_S)


def rate_of(name: str, **options: Any) -> Rate:
    """The rate that a scenario calls ``name``."""
    cls = load("rates", name)
    return cls(cls.Options(**options), 0)


def rice(k_db: float) -> Any:
    """Power of unit mean with a line of sight: non-central chi-squared."""
    k = 10 ** (k_db / 10)
    return stats.ncx2(2, 2 * k, scale=1 / (2 * (k + 1)))


CASES: dict[str, tuple[Any, Any]] = {
    "rayleigh": (fading_of("rayleigh"), stats.expon()),
    "rician, 3 dB": (fading_of("rician", k_db=3.0), rice(3.0)),
    "rician, 9 dB": (fading_of("rician", k_db=9.0), rice(9.0)),
    "nakagami, m = 0.5": (fading_of("nakagami", m=0.5), stats.gamma(0.5, scale=2)),
    "nakagami, m = 3": (fading_of("nakagami", m=3.0), stats.gamma(3, scale=1 / 3)),
    "jakes": (fading_of("jakes"), stats.expon()),
}
"""Fading and the law of its power gain."""


def fading() -> Figure:
    """Outage probability and ergodic capacity of each kind of fading, from many gains and in theory."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    levels_db, snrs_db = np.linspace(-30, 8, 200), np.arange(-10, 31, 4)
    for name, (channel, law) in CASES.items():
        power = channel.of_many(*LINKS, 4, 4 if name == "jakes" else 80).ravel()
        (line,) = left.semilogy(levels_db, law.cdf(10 ** (levels_db / 10)), lw=1, label=name)
        some = levels_db[::10]
        left.semilogy(some, [np.mean(power < 10 ** (x / 10)) for x in some], ".", color=line.get_color())
        if name == "jakes":
            continue
        snrs = 10 ** (snrs_db / 10)
        nats = [
            integrate.quad(
                lambda x, s=s, law=law: s * law.sf(x) / (1 + s * x), 0, 80, points=[1 / s, 1], limit=200
            )[0]
            for s in snrs
        ]
        awgn = np.log2(1 + snrs)
        right.plot(snrs_db, np.array(nats) / math.log(2) / awgn, lw=1, label=name)
        found = [np.log2(1 + s * power).mean() for s in snrs]
        right.plot(snrs_db, found / awgn, ".", color=line.get_color())
    closed = special.exp1(1 / snrs) * np.exp(1 / snrs) / math.log(2)
    right.plot(snrs_db, closed / awgn, "kx", ms=4, label="rayleigh, closed form")
    left.set(xlabel="level over the mean [dB]", ylabel="share of gains below", ylim=(2e-4, 1.5))
    right.set(xlabel="mean SNR [dB]", ylabel="ergodic capacity over that without fading")
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    return figure


def jakes() -> Figure:
    """Gains over time, their correlation, and how often and how long they are below a level; unit Doppler frequency."""
    figure, (over_time, correlation, crossings) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    spacing, blocks, links = 0.005, 512, 4000
    moving = fading_of("jakes", speed_m_per_s=1.0, coherence_time_s=spacing)
    power = moving.of_many(np.arange(links), np.arange(links) + links, 0, blocks)
    for link in range(3):
        over_time.plot(np.arange(blocks) * spacing, 10 * np.log10(power[:, link]), lw=0.8)
    over_time.set(xlabel="time [1/f_D]", ylabel="power gain [dB]", ylim=(-35, 10))
    lags = np.arange(0, 320, 8)
    found = [np.mean((power[: blocks - lag] - 1) * (power[lag:] - 1)) for lag in lags]
    tau = np.linspace(0, 1.6, 300)
    correlation.plot(tau, special.j0(2 * np.pi * tau) ** 2, lw=1, label="J0²(2π f_D τ)")
    correlation.plot(lags * spacing, found, ".", label="4,000 links, 512 blocks")
    correlation.set(xlabel="lag τ [1/f_D]", ylabel="covariance of the power gain")
    rho = np.geomspace(0.05, 2, 60)
    rates = math.sqrt(2 * math.pi) * rho * np.exp(-(rho**2))
    crossings.loglog(rho, rates, lw=1, label="crossings a Doppler period")
    crossings.loglog(rho, -np.expm1(-(rho**2)) / rates, lw=1, label="mean fade [1/f_D]")
    for number, level in enumerate(np.geomspace(0.05, 2, 12)):
        below = power < level**2
        each = (below[:-1] & ~below[1:]).sum() / (links * (blocks - 1) * spacing)
        labels = ("simulated", "simulated") if not number else (None, None)
        crossings.loglog(level, each, ".", color="tab:blue", label=labels[0])
        crossings.loglog(level, below.mean() / each, ".", color="tab:orange", label=labels[1])
    crossings.set(xlabel="level ρ over the rms amplitude")
    for axis in (correlation, crossings):
        axis.legend(fontsize=8)
    return figure


def schemes() -> Figure:
    """Rates over SNR; block error rates of the schemes; what repetitions leave of the rate, and how many are lost."""
    figure, (rates, errors, goodput) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    snrs_db = np.linspace(-9, 26, 700)
    snrs = (10 ** (snrs_db / 10)).tolist()
    mcs = rate_of("mcs")
    rates.plot(snrs_db, rate_of("shannon").rates_bps(1.0, snrs), lw=1, label="shannon")
    gap = rate_of("shannon", gap_db=3.0, cap_bps_per_hz=5.5547)
    rates.plot(snrs_db, gap.rates_bps(1.0, snrs), lw=1, label="shannon, gap 3 dB, cap 5.55 bit/s/Hz")
    rates.plot(snrs_db, mcs.rates_bps(1.0, snrs), lw=1, label="mcs (LTE)")
    rates.set(xlabel="SNR [dB]", ylabel="rate [bit/s/Hz]")
    for scheme, (_, snr_db, spread_db) in enumerate(LTE):
        x = np.linspace(snr_db - 2.5, snr_db + 2, 60)
        q = stats.norm.isf(0.1) + (x - snr_db) / spread_db
        errors.semilogy(x, stats.norm.sf(q), lw=0.8, color=f"C{scheme % 10}")
    errors.semilogy(snrs_db, [mcs.loss(snr) for snr in snrs], "k.", ms=1.5, label="mcs, target 0.1")
    errors.set(xlabel="SNR [dB]", ylabel="block error rate", ylim=(1e-5, 1.2))
    count, runs = 40, 400
    for repeats in (0, 1, 3):
        chances, lost, share = np.linspace(0.02, 0.6, 12), [], []
        for p in chances:
            through = on_air = broken = 0.0
            for number in range(runs):
                blocks = mcs_blocks(count, repeats, number)
                left = float(40 * count)
                while left:
                    left = blocks.sent(0.0, {0: p})
                through += blocks.arrived_bits()
                on_air += blocks.arrived_bits() + blocks.lost_bits()
                broken += blocks.arrived_bits() < 40 * count
            lost.append(broken / runs)
            share.append(through / on_air)
        p = np.linspace(0.01, 0.62, 100)
        (line,) = goodput.plot(p, 1 - (1 - p ** (repeats + 1)) ** count, lw=1, label=f"{repeats} repetitions")
        goodput.plot(chances, lost, "o", ms=4, color=line.get_color())
        goodput.plot(chances, share, "x", ms=4, color=line.get_color())
    goodput.plot(p, 1 - p, "k--", lw=0.8, label="1 - p")
    goodput.set(
        xlabel="block error rate p",
        ylabel="share lost of messages of 40 blocks (o);\nof bits that arrive (x)",
    )
    for axis in (rates, errors, goodput):
        axis.legend(fontsize=8)
    return figure


def mcs_blocks(count: int, repeats: int, number: int) -> Any:
    """The blocks of a message, as a transfer has them."""
    rate = rate_of("mcs", block_bits=40.0, retransmissions=repeats)
    return rate.blocks(40.0 * count, 1, "model", number, 1, 1)
