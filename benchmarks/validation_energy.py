"""Figures of docs/validation.md about energy and waiting; ``benchmarks/validation.py`` draws them with the others."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

from netsim.world.devices import Battery, Processor
from netsim.world.devices.harvest import DAY_S, Solar
from netsim.world.devices.kibam import Kibam
from netsim.world.devices.peukert import Peukert
from netsim.world.devices.stragglers import Exponential


def batteries() -> Figure:
    """The kinetic model against its equations under a load with pauses, and lifetimes over power of three batteries."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    capacity_j, c, k = 7200.0, 0.625, 4.5e-5
    battery, now_s, dots = Kibam(capacity_j, c, k), 0.0, []
    pieces = [(0.96, 3000.0), (0.0, 2500.0), (0.96, 2000.0), (0.0, 3000.0), (0.5, 2500.0)]

    def slopes(time_s: float, y: np.ndarray) -> list[float]:
        ends_s = np.cumsum([length_s for _, length_s in pieces])
        load_w = pieces[min(int(np.searchsorted(ends_s, time_s, side="right")), len(pieces) - 1)][0]
        flow = k * (y[1] / (1 - c) - y[0] / c)
        return [flow - load_w, -flow]

    for load_w, length_s in pieces:
        for _ in range(10):
            battery.flow(load_w, 0.0, length_s / 10)
            battery.take("compute", load_w * length_s / 10)
            now_s += length_s / 10
            dots.append((now_s, battery.level_j * c, battery.remaining_j - battery.level_j * c))
    found = solve_ivp(slopes, (0, now_s), [c * capacity_j, (1 - c) * capacity_j], rtol=1e-9, max_step=20)
    for row, name in enumerate(("available", "bound")):
        left.plot(found.t / 60, found.y[row], lw=1, label=f"{name}: its equations, integrated")
        left.plot(*np.array(dots)[:, [0, row + 1]].T * [[1 / 60], [1]], "k.", ms=3)
    left.set(xlabel="time [min]", ylabel="charge [J]", title="0.96 W, rest, 0.96 W, rest, 0.5 W; dots: kibam")
    powers_w = np.geomspace(0.05, 5, 60)
    cases = {
        "linear": (Battery(capacity_j), capacity_j / powers_w),
        "peukert, k = 1.2, rated 0.1 W": (
            Peukert(capacity_j, 0.1, 1.2),
            np.minimum(capacity_j / 0.1 * (0.1 / powers_w) ** 1.2, capacity_j / powers_w),
        ),
        "kibam": (Kibam(capacity_j, c, k), None),
    }
    for label, (one, theory_s) in cases.items():
        (line,) = right.loglog(
            powers_w, [one.left_s(power_w) / 60 for power_w in powers_w], ".", ms=3, label=label
        )
        if theory_s is not None:
            right.loglog(powers_w, theory_s / 60, color=line.get_color(), lw=0.8)
    right.loglog(0.96, 91, "k+", ms=10, label="published: 91 min at 0.96 W")
    right.set(xlabel="power [W]", ylabel="time to empty [min]")
    for axis in (left, right):
        axis.legend(fontsize=8)
    return figure


def sun_and_clock() -> Figure:
    """A solar day's power and energy, and the energy of a computation over clock frequency."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    hours = np.linspace(0, 24, 1500)
    peak_w, rise_h, set_h = 2.0, 6.0, 18.0
    sine = np.where(
        (hours > rise_h) & (hours < set_h), np.sin(np.pi * (hours - rise_h) / (set_h - rise_h)), 0
    )
    left.plot(hours, peak_w * sine, lw=1, label="half a sine")
    for options, label in (
        ({"step_s": 1800.0}, "solar, steps of 30 min"),
        ({"cloudy": 0.4}, "solar, 40 % cloudy"),
    ):
        harvest = Solar(Solar.Options(**options), 0, 0)  # type: ignore[arg-type]
        powers_w = [harvest.power(hour * 3600)[0] for hour in hours]
        left.plot(hours, powers_w, lw=0.8, drawstyle="steps-post", label=label)
    now_s = total_j = 0.0
    clear = Solar(Solar.Options(), 0, 0)
    while now_s < DAY_S:
        power_w, until_s = clear.power(now_s)
        total_j, now_s = total_j + power_w * (until_s - now_s), until_s
    left.set(
        xlabel="time of day [h]",
        ylabel="power [W]",
        title=f"a clear day: {total_j:.1f} J, (2/π) · 2 W · 12 h = {2 / math.pi * 2 * 12 * 3600:.1f} J",
    )
    frequencies_hz = np.geomspace(1e8, 4e9, 50)
    for static_w in (0.0, 0.1, 1.0):
        energy_j = static_w * 1e9 / frequencies_hz + 1e-28 * 1e9 * frequencies_hz**2
        (line,) = right.loglog(frequencies_hz / 1e9, energy_j, lw=0.8)
        found = [
            Processor(
                frequency_hz=f, flops_per_cycle=1, effective_capacitance_f=1e-28, static_power_w=static_w
            ).energy_j(1e9)
            for f in frequencies_hz
        ]
        right.loglog(
            frequencies_hz / 1e9, found, ".", ms=3, color=line.get_color(), label=f"P0 = {static_w:g} W"
        )
        if static_w:
            right.axvline((static_w / 2e-28) ** (1 / 3) / 1e9, color=line.get_color(), lw=0.6, ls=":")
    right.set(xlabel="clock [GHz]", ylabel="energy of 1e9 cycles [J]", title="dotted: f* = (P0 / 2ε)^(1/3)")
    for axis in (left, right):
        axis.legend(fontsize=8)
    return figure


def stragglers() -> Figure:
    """Mean time of the slowest of K exponential devices, and the harmonic numbers."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    rule = Exponential(Exponential.Options(mean=1.0, minimum=0.0), 64, 0)
    draws = np.array([[rule.factor(device, round) for device in range(64)] for round in range(2000)])
    counts = np.arange(1, 65)
    slowest = [draws[:, :count].max(axis=1) for count in counts]
    axis.plot(counts, np.cumsum(1 / counts), "k--", lw=0.8, label="H_K")
    errors = [2 * values.std() / math.sqrt(len(values)) for values in slowest]
    axis.errorbar(
        counts, [values.mean() for values in slowest], errors, fmt=".", ms=3, lw=0.6, label="2,000 rounds"
    )
    axis.set(
        xlabel="devices K", ylabel="mean factor of the slowest", title="barrier over K exponential stragglers"
    )
    axis.legend(fontsize=8)
    return figure


FIGURES = {one.__name__: one for one in (batteries, sun_and_clock, stragglers)}
