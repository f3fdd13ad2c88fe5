"""Draws each model against its theory, the figures of docs/validation.md.

python benchmarks/validation.py --figures docs/figures

Theory is written out here once more, from the sources; simulation is what a scenario gets that names the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer
from matplotlib.figure import Figure
from scipy.stats import norm
from validation_access import contention, interference, processor_sharing
from validation_energy import FIGURES as ENERGY
from validation_fading import fading, jakes, schemes

from netsim.core.registry import load
from netsim.world.radio.path_loss import SPEED_OF_LIGHT_M_PER_S, PathLoss
from netsim.world.radio.shadowing import Shadowing, ShadowingOptions
from netsim.world.topology import Link

CARRIER_HZ, GHZ = 3.5e9, 3.5
DOTS: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 3}


def named(name: str, seed: int = 0, **options: Any) -> PathLoss:
    """The path loss that a scenario calls ``name``."""
    cls = load("path_losses", name)
    return cls(cls.Options(**options), seed)


def from_server(distances_m: Sequence[float] | np.ndarray) -> list[Link]:
    """Links of many devices to a server, as long as said."""
    return [Link((k, "server"), float(d), ((0.0, 0.0), (float(d), 0.0))) for k, d in enumerate(distances_m)]


def two_ray() -> Figure:
    """Exact sum and asymptotes of two rays, and free space."""
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    base_m, device_m, wavelength_m = 10.0, 1.5, SPEED_OF_LIGHT_M_PER_S / CARRIER_HZ
    d = np.geomspace(5, 20_000, 4000)
    direct, reflected = np.hypot(d, base_m - device_m), np.hypot(d, base_m + device_m)
    field = np.exp(-2j * np.pi * direct / wavelength_m) / direct
    field = field - np.exp(-2j * np.pi * reflected / wavelength_m) / reflected
    axis.semilogx(
        d, -20 * np.log10(wavelength_m / (4 * np.pi) * np.abs(field)), lw=0.8, label="theory: phasor sum"
    )
    axis.semilogx(
        d, 40 * np.log10(d) - 20 * np.log10(base_m * device_m), "k--", lw=0.8, label="40 log d - 20 log h1 h2"
    )
    some = np.geomspace(5, 20_000, 120)
    for form in ("exact", "asymptotic"):
        losses_db = named("two_ray", form=form).losses_db(from_server(some), CARRIER_HZ)
        axis.semilogx(some, losses_db, **DOTS, label=f"two_ray, form: {form}")
    axis.axvline(4 * np.pi * base_m * device_m / wavelength_m, color="gray", lw=0.6)
    axis.set(
        xlabel="distance [m]",
        ylabel="path loss [dB]",
        ylim=(50, 150),
        title="Two rays, 10 m and 1.5 m, 3.5 GHz",
    )
    axis.legend(fontsize=8)
    return figure


def log(x: np.ndarray) -> np.ndarray:
    """The tables' logarithm."""
    return np.log10(x)


def street_db(d: np.ndarray, base_m: float, c: float, slope: float, last: float) -> np.ndarray:
    """LOS of UMi and UMa as printed, in two branches."""
    d3, breakpoint_m = np.hypot(d, base_m - 1.5), 4 * (base_m - 1) * 0.5 * CARRIER_HZ / SPEED_OF_LIGHT_M_PER_S
    far = c + 40 * log(d3) + 20 * math.log10(GHZ) - last * math.log10(breakpoint_m**2 + (base_m - 1.5) ** 2)
    return np.where(d <= breakpoint_m, c + slope * log(d3) + 20 * math.log10(GHZ), far)


F = 20 * math.log10(GHZ)
TABLE: dict[str, tuple[float, float, Callable[..., Any], Callable[..., Any]]] = {
    "umi": (
        10,
        5000,
        lambda d, d3: street_db(d, 10.0, 32.4, 21, 9.5),
        lambda d3: 35.3 * log(d3) + 22.4 + 21.3 * math.log10(GHZ),
    ),
    "uma": (
        10,
        5000,
        lambda d, d3: street_db(d, 25.0, 28.0, 22, 9.0),
        lambda d3: 13.54 + 39.08 * log(d3) + F,
    ),
    "inh": (
        1,
        149,
        lambda d, d3: 32.4 + 17.3 * log(d3) + F,
        lambda d3: 38.3 * log(d3) + 17.3 + 24.9 * math.log10(GHZ),
    ),
    **{
        f"inf_{hall}": (1, 590, lambda d, d3: 31.84 + 21.5 * log(d3) + 0.95 * F, nlos)
        for hall, nlos in {
            "sl": lambda d3: 33 + 25.5 * log(d3) + F,
            "dl": lambda d3: np.maximum(18.6 + 35.7 * log(d3), 33 + 25.5 * log(d3)) + F,
            "sh": lambda d3: 32.4 + 23 * log(d3) + F,
            "dh": lambda d3: 33.63 + 21.9 * log(d3) + F,
        }.items()
    },
}
"""By name: shortest and longest distance [m], LOS and NLOS of Table 7.4.1-1."""
BASE_M = {"umi": 8.5, "uma": 23.5, "inh": 2.0, "inf_sl": 0.0, "inf_dl": 0.0, "inf_sh": 6.5, "inf_dh": 6.5}
"""Heights of bases above devices [m]."""


def tr38901() -> Figure:
    """Losses of links with drawn line of sight on the curves of LOS and NLOS."""
    figure, axes = plt.subplots(2, 4, figsize=(12, 5.5), layout="constrained")
    for name, axis in zip(TABLE, axes.flat, strict=False):
        low, high, los, nlos = TABLE[name]
        d = np.geomspace(low, high, 400)
        d3 = np.maximum(np.hypot(d, BASE_M[name]), 1.0)
        los_db = los(d, d3)
        axis.semilogx(d, los_db, lw=1, label="LOS")
        axis.semilogx(d, np.maximum(los_db, nlos(d3)), lw=1, label="max(LOS, NLOS)")
        some = np.geomspace(low, high, 150)
        axis.semilogx(
            some,
            named(name, shadowing=None).losses_db(from_server(some), CARRIER_HZ),
            "k",
            **DOTS,
            label="drawn",
        )
        axis.semilogx(
            some,
            named(name).losses_db(from_server(some), CARRIER_HZ),
            color="tab:gray",
            alpha=0.5,
            **DOTS,
            label="and shadowed",
        )
        axis.set_title(name, fontsize=10)
    axes[0, 0].legend(fontsize=7)
    axes[-1, -1].axis("off")
    figure.supxlabel("distance over the ground [m]")
    figure.supylabel("path loss at 3.5 GHz [dB]")
    return figure


def line_of_sight() -> Figure:
    """Shares of 1,000 links in sight at each distance, and the probabilities of Table 7.4.2-1."""
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")

    def street(far_m: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda d: np.where(d <= 18, 1, 18 / d + np.exp(-d / far_m) * (1 - 18 / d))

    def office(first: float, second: float, near_m: float, far_m: float, share: float) -> Callable[..., Any]:
        near = lambda d: np.where(d <= first, 1, np.exp(-(d - first) / near_m))  # noqa: E731
        return lambda d: np.where(d <= second, near(d), share * np.exp(-(d - second) / far_m))

    cases: list[tuple[str, dict[str, Any], float, Callable[..., Any]]] = [
        ("umi", {}, 10, street(36)),
        ("uma", {}, 10, street(63)),
        ("inh", {"office": "open"}, 1, office(5, 49, 70.8, 211.7, 0.54)),
        ("inh", {"office": "mixed"}, 1, office(1.2, 6.5, 4.7, 32.6, 0.32)),
        ("inf_sl", {}, 1, lambda d: 0.8 ** (d / 10)),
        ("inf_sh", {}, 1, lambda d: 0.8 ** (d / 10 * 0.5 / 6.5)),
        ("inf_dh", {}, 1, lambda d: 0.4 ** (d / 2 * 4.5 / 6.5)),
    ]
    for name, options, low, probability in cases:
        d = np.linspace(low, 140, 600)
        (line,) = axis.plot(d, probability(d), lw=1, label=" ".join([name, *options.values()]))
        in_sight = []
        for distance_m in np.linspace(low, 140, 25):
            links = from_server([distance_m] * 1000)
            drawn, (always_db,), (never_db,) = (
                named(name, los=los, shadowing=None, **options).losses_db(some, CARRIER_HZ)
                for los, some in (("draw", links), ("always", links[:1]), ("never", links[:1]))
            )
            if always_db != never_db:
                in_sight.append((distance_m, np.mean(np.array(drawn) == always_db)))
        axis.plot(*np.transpose(in_sight), color=line.get_color(), **DOTS | {"markersize": 5})
    axis.set(xlabel="distance over the ground [m]", ylabel="probability of line of sight")
    axis.set_title("Lines: Table 7.4.2-1; dots: shares of 1,000 links", fontsize=10)
    figure.legend(fontsize=8, loc="outside right center")
    return figure


def shadowing() -> Figure:
    """Distribution of the shadowing of 4,000 links, and its correlation along the way of one end."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    rng = np.random.default_rng(0)
    ends = rng.random((4000, 2, 2)) * 5000

    def values(seed: int, moved: float) -> np.ndarray:
        places = ends + np.array([[moved, 0], [0, 0]])
        links = [Link((k, k + 1), 1.0, (tuple(a), tuple(b))) for k, (a, b) in enumerate(places)]
        return Shadowing(ShadowingOptions(sigma_db=6, decorrelation_m=10), seed).values_db(links) / 6

    ways = np.array([0, 1, 2, 3, 5, 7, 10, 14, 20, 28, 40])
    found = np.array([[np.mean(values(seed, 0) * values(seed, way)) for way in ways] for seed in range(8)])
    left.plot(np.sort(values(0, 0)) * 6, np.linspace(0, 1, 4000), label="4,000 links of one seed")
    x = np.linspace(-20, 20, 200)
    left.plot(x, norm.cdf(x / 6), "k--", label="normal, 6 dB")
    left.set(xlabel="shadowing [dB]", ylabel="share of links below")
    right.plot(ways, found.T, color="tab:blue", alpha=0.25, lw=0.8)
    right.plot(ways, found.mean(axis=0), "o", label="mean of eight seeds (thin: each)")
    way = np.linspace(0, 40, 200)
    right.plot(way, np.exp(-way / 10), "k--", label="exp(-d / 10 m)")
    right.set(xlabel="way of one end [m]", ylabel="correlation")
    for axis in (left, right):
        axis.legend(fontsize=8)
    return figure


def mobile(name: str, count: int, seed: int = 0, **options: Any) -> Any:
    """Devices that move as a scenario says that calls a model ``name``; placed uniformly on 100 m by 100 m."""
    cls = load("mobilities", name)
    return cls(cls.Options(**options), np.random.default_rng(seed).random((count, 2)) * 100, seed)


def mobility() -> Figure:
    """Speeds and distances from the centre under random waypoint, memory of Gauss-Markov, shadowing along a way."""
    figure, ((speeds, places), (memory, way)) = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    low, high, count = 0.5, 8.0, 20_000
    walkers = mobile("random_waypoint", count, diameter_m=100, speed_mps=(low, high))
    v, r = np.linspace(low, high, 200), np.linspace(0, 1, 200)
    angle = np.linspace(0, math.pi, 400)
    ring = np.trapezoid(np.sqrt(1 - np.outer(r, np.cos(angle)) ** 2), angle)
    speeds.plot(v, 1 / v / math.log(high / low), "k--", label="1 / (v ln(b/a))")
    places.plot(50 * r, 45 / 32 * r * (1 - r**2) * ring / 50, "k--", label="Hyytiä et al. 2006")
    places.plot(50 * r, 2 * r / 50, color="gray", lw=0.8, label="uniform")
    for time_s in (0.0, 500.0):
        found = np.hypot(*walkers.positions_m(time_s).T)
        for axis, values in ((speeds, walkers.speeds_mps()), (places, found)):
            share, edges = np.histogram(values, 40, density=True)
            axis.plot((edges[1:] + edges[:-1]) / 2, share, **DOTS, label=f"at {time_s:.0f} s")
    speeds.axvline(walkers.speeds_mps().mean(), color="tab:orange", lw=0.8, label="mean at 500 s")
    speeds.axvline((high - low) / math.log(high / low), color="k", lw=0.8, ls=":", label="(b - a) / ln(b/a)")
    speeds.set(xlabel="speed [m/s]", ylabel="density", title="random_waypoint: speed")
    places.set(xlabel="distance from the centre [m]", ylabel="density", title="random_waypoint: position")
    lags = np.arange(21)
    for alpha in (0.5, 0.85, 0.95):
        model = mobile("gauss_markov", 4000, area_m=(0, 0, 100, 100), alpha=alpha, sigma_mps=1, speed_mps=0)
        found = []
        for step in lags:
            model.positions_m(float(step))
            found.append(model.velocity_mps.ravel())
        (line,) = memory.plot(lags, alpha**lags, "--", lw=0.8, label=f"{alpha}ⁿ")
        memory.plot(lags, [np.mean(found[0] * late) for late in found], color=line.get_color(), **DOTS)
    memory.set(xlabel="steps n", ylabel="correlation of velocities", title="gauss_markov: memory")
    ways, both = np.linspace(0, 40, 14), []
    for seed in range(8):
        still, begin = np.random.default_rng(seed).random((2, 2000, 2)) * 5000
        losses = Shadowing(ShadowingOptions(sigma_db=1, decorrelation_m=10), seed)
        along = [
            losses.values_db(
                [Link((k, k + 2000), 1.0, (tuple(a), (b[0] + moved, b[1]))) for k, (a, b) in pairs]
            )
            for moved in ways
            for pairs in [list(enumerate(zip(still, begin, strict=True)))]
        ]
        both.append([np.mean(along[0] * late) for late in along])
    way.plot(ways, np.transpose(both), color="tab:blue", alpha=0.25, lw=0.8)
    way.plot(ways, np.mean(both, axis=0), "o", label="mean of eight seeds (thin: each)")
    way.plot(ways, np.exp(-ways / 10), "k--", label="exp(-d / 10 m)")
    way.set(xlabel="way of a device [m]", ylabel="correlation of shadowing", title="shadowing along a way")
    for axis in (speeds, places, memory, way):
        axis.legend(fontsize=8)
    return figure


FIGURES = {one.__name__: one for one in (two_ray, tr38901, line_of_sight, shadowing, mobility)}
FIGURES |= {one.__name__: one for one in (fading, jakes, schemes)}
FIGURES |= {one.__name__: one for one in (processor_sharing, contention, interference)}
FIGURES |= ENERGY


def main(
    figures: Annotated[Path, typer.Option(help="folder for validation_<model>.png")] = Path("docs/figures"),
    only: Annotated[str, typer.Option(help="names of figures, with commas; all unless said")] = "",
) -> None:
    """Draw the figures."""
    for name in only.split(",") if only else FIGURES:
        path = figures / f"validation_{name}.png"
        figure = FIGURES[name]()
        figure.savefig(path, dpi=110)
        plt.close(figure)
        typer.echo(path)


if __name__ == "__main__":
    typer.run(main)
