"""Figures of docs/validation.md on sharing the air: processor sharing, contention, interference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import simpy
from matplotlib.figure import Figure

from netsim.core.registry import load
from netsim.events import TransferRow
from netsim.world.devices import Battery, Device, Processor
from netsim.world.radio import Air, Radio
from netsim.world.radio.fading import NoFading, Rayleigh
from netsim.world.radio.losses import Losses


class Hall:
    """Devices in one room: 1 W, noise of 1 W in a band, and so SNR 1 without loss."""

    def __init__(
        self,
        access: str,
        count: int,
        losses_db: Any = None,
        fading: Any = None,
        bandwidth_hz: float = 1.0,
        **options: Any,
    ) -> None:
        self.env = simpy.Environment()
        self.rows: list[TransferRow] = []
        cls = load("accesses", access)
        pairs: dict[tuple[int, int], float] = {(a, b): 0.0 for b in range(count) for a in range(b)}
        self.radio = Radio(
            self.env,
            Air(bandwidth_hz, 1 / bandwidth_hz),
            fading or NoFading(None, 0),
            cls(cls.Options(**options), self.env),
            Losses(pairs | (losses_db or {})),  # type: ignore[arg-type]
            lambda batch: self.rows.extend(batch.rows()),
        )
        self.devices = [Device(self.env, k, Processor(), Battery(math.inf), 1.0) for k in range(count)]

    def send(
        self, at_s: float, sender: int, receiver: int, size_bits: float, kind: str = "model", round: int = 1
    ) -> None:
        """Send from ``at_s`` [s] on."""

        def life() -> Any:
            yield self.env.timeout(at_s)
            ends = self.devices[sender], self.devices[receiver]
            yield from self.radio.send(*ends, size_bits, round, kind)

        self.env.process(life())


SIZES = {
    "exponential": lambda draw, n: draw.exponential(size=n),
    "constant": lambda draw, n: np.ones(n),
    "hyperexponential": lambda draw, n: draw.exponential(np.where(draw.random(n) < 0.1, 5.5, 0.5)),
}
"""Sizes of mean 1 bit; the variance of the last is 5.5."""


def sojourns(access: str, sizes: Sequence[float], load_of: float, seed: int, **options: Any) -> np.ndarray:
    """Times and sizes [2, transfers] of Poisson arrivals at a band of 1 bit/s."""
    hall = Hall(access, 2, **options)
    starts_s = np.cumsum(np.random.default_rng(seed).exponential(1 / load_of, size=len(sizes)))
    for at_s, size_bits in zip(starts_s.tolist(), sizes, strict=True):
        hall.send(at_s, 0, 1, float(size_bits))
    hall.env.run()
    return np.array([(row.end_s - row.start_s, row.size_bits) for row in hall.rows]).T


def processor_sharing() -> Figure:
    """Mean sojourn times over load, over size at one load, and of turns over the length of a slot."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    loads, count = np.array([0.1, 0.3, 0.5, 0.6, 0.7]), 12_000
    for place, (name, sizes) in enumerate(SIZES.items()):
        means = []
        for k, load_of in enumerate(loads):
            times_s, _ = sojourns(
                "shared", sizes(np.random.default_rng(k), count), load_of, 10 * place + 100 + k
            )
            batches = times_s.reshape(24, -1).mean(axis=1)
            means.append((times_s.mean(), 2 * batches.std(ddof=1) / math.sqrt(24)))
        middle_s, error_s = np.transpose(means)
        left.errorbar(loads + 0.008 * (place - 1), middle_s, error_s, fmt=".", capsize=2, label=name)
    x = np.linspace(0.05, 0.74, 200)
    left.plot(x, 1 / (1 - x), "k--", lw=1, label="1 / (μ - λ)")
    left.set(xlabel="load λ, μ = 1", ylabel="mean time of a transfer [s]")
    for name in ("exponential", "hyperexponential"):
        times_s, bits = sojourns("shared", SIZES[name](np.random.default_rng(9), 15_000), 0.6, 5)
        edges = np.quantile(bits, np.linspace(0, 1, 16))
        inside = np.clip(np.searchsorted(edges, bits, side="right") - 1, 0, 14)
        points = [(bits[inside == b].mean(), times_s[inside == b].mean()) for b in range(15)]
        middle.plot(*np.transpose(points), ".", label=name)
    x = np.linspace(0, 8.2, 10)
    middle.plot(x, x / 0.4, "k--", lw=1, label="x / (1 - ρ)")
    middle.set(xlabel="size x [bit]", ylabel="mean time of transfers of this size [s]", title="load 0.6")
    slots_s = np.array([0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0])
    bits = SIZES["hyperexponential"](np.random.default_rng(3), 4000)
    exact = sojourns("shared", bits, 0.6, 8)[0].mean()
    turns = [
        sojourns("tdma", bits, 0.6, 8, slot_s=float(slot_s), per="device")[0].mean() for slot_s in slots_s
    ]
    right.semilogx(slots_s, turns, "o", ms=4, label="tdma")
    right.axhline(exact, color="k", ls="--", lw=1, label="shared: the limit of short slots")
    right.set(
        xlabel="length of a slot [s]",
        ylabel="mean time of a transfer [s]",
        title="hyperexponential, load 0.6",
    )
    for axis in (left, middle, right):
        axis.legend(fontsize=8)
    return figure


PAYLOAD_S, SLOT_S = 8184e-6, 50e-6
TIMES_S = {False: (8982e-6, 8713e-6), True: (9568e-6, 417e-6)}
"""Bianchi's times of a success and of a collision, without and with RTS/CTS."""


def bianchi(stations: int, window: int, stages: int, handshake: bool) -> float:
    """Equations 7, 9 and 13 of the paper, by bisection."""
    low, high = 0.0, 0.99
    for _ in range(100):
        tau = (low + high) / 2
        p = 1 - (1 - tau) ** (stations - 1)
        rest = (1 - 2 * p) * (window + 1) + p * window * (1 - (2 * p) ** stages)
        low, high = (tau, high) if tau < 2 * (1 - 2 * p) / rest else (low, tau)
    success_s, collision_s = TIMES_S[handshake]
    some = 1 - (1 - tau) ** stations
    one = stations * tau * (1 - tau) ** (stations - 1)
    return one * PAYLOAD_S / ((1 - some) * SLOT_S + one * success_s + (some - one) * collision_s)


def counters(stations: int, window: int, stages: int, handshake: bool, packets: int = 20_000) -> float:
    """A simulation of backoff counters, slot by slot: the part of the time that carries payload."""
    draw = np.random.default_rng(stations)
    stage, counter = np.zeros(stations, dtype=int), draw.integers(0, window, size=stations)
    time_s, delivered = 0.0, 0
    while delivered < packets:
        idle = counter.min()
        counter -= idle
        sending = np.flatnonzero(counter == 0)
        counter[counter > 0] -= 1
        alone = len(sending) == 1
        time_s += idle * SLOT_S + TIMES_S[handshake][not alone]
        delivered += alone
        stage[sending] = 0 if alone else np.minimum(stage[sending] + 1, stages)
        counter[sending] = draw.integers(0, window * 2 ** stage[sending])
    return delivered * PAYLOAD_S / time_s


def contention() -> Figure:
    """Saturation throughput over the number of stations."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    many = list(range(2, 51))
    some = [2, 3, 5, 8, 12, 20, 30, 50]
    for axis, handshake in ((left, False), (right, True)):
        for color, (window, stages) in zip(("C0", "C1", "C2"), ((32, 3), (32, 5), (128, 3)), strict=True):
            case = (window, stages, handshake)
            axis.plot(
                many, [bianchi(n, *case) for n in many], color, lw=1, label=f"W = {window}, m = {stages}"
            )
            found = []
            for n in some:  # SNR 1 on 1 MHz: 1 Mbit/s; one second of everybody
                hall = Hall(
                    "csma", n + 1, bandwidth_hz=1e6, window=window, stages=stages, handshake=handshake
                )
                for sender in range(n):
                    hall.send(0.0, sender, n, 1e6 / n)
                hall.env.run()
                found.append(1 / hall.rows[-1].end_s)
            axis.plot(some, found, color, ls="", marker="o", ms=4)
            axis.plot(some, [counters(n, *case) for n in some], color, ls="", marker="x", ms=6)
        axis.set(xlabel="stations", title="RTS/CTS" if handshake else "basic access")
    left.set(ylabel="part of the time that carries payload")
    right.plot([], [], "ko", ms=4, label="transfers with csma")
    right.plot([], [], "kx", ms=6, label="counters slot by slot")
    right.legend(fontsize=8)
    return figure


def interference() -> Figure:
    """Distribution of the SINR of a Rayleigh link among Rayleigh interferers on its channel."""
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    signal, rounds = 10.0, 4000
    t_db = np.linspace(-30, 22, 300)
    t = 10 ** (t_db / 10)
    for powers in ([], [1.0], [1.0, 1.0, 3.0]):
        losses = {(0, 1): -10 * math.log10(signal)}
        losses |= {(1, 2 + i): -10 * math.log10(power) for i, power in enumerate(powers)}
        fading = Rayleigh(Rayleigh.Options(normalisation="unit_power"), 3)
        hall = Hall("reuse", 3 + len(powers), losses, fading)
        for round in range(rounds):
            hall.send(float(round), 0, 1, 1e-9, "signal", round)
            for i in range(len(powers)):
                hall.send(float(round), 2 + i, 2 + len(powers), 1e-9, "noise", round)
        hall.env.run()
        sinr_db = np.sort([row.snr_db for row in hall.rows if row.kind == "signal"])
        below = 1 - np.exp(-t / signal) * np.prod([1 / (1 + t * power / signal) for power in powers], axis=0)
        (line,) = axis.plot(sinr_db, np.arange(1, rounds + 1) / rounds, lw=2, alpha=0.6)
        line.set_label(f"mean SNR 10, interferers {', '.join(f'{p:g}' for p in powers) or 'none'}")
        axis.plot(t_db, below, "k--", lw=0.9)
    axis.plot([], [], "k--", lw=0.9, label="1 - exp(-t N/S) Π 1/(1 + t I/S)")
    axis.set(xlabel="SINR at the start of a transfer [dB]", ylabel="share of transfers below", xlim=(-30, 22))
    axis.legend(fontsize=8)
    return figure
