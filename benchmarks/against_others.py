r"""The radio's models against other programs on the same links: the table of docs/validation.md.

    python -m venv peers
    peers/bin/pip install -c constraints.txt -e . 'sionna-no-rt==2.2.0' 'ns3==3.44.post0'
    peers/bin/python benchmarks/against_others.py

Each line is the largest difference over a grid of distances, heights and carriers, or between two distributions. What
is not installed is skipped. ns-3 compiles what it is asked for as it goes; it takes minutes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special, stats

from netsim.core.registry import load
from netsim.world.radio.fading import Rayleigh
from netsim.world.radio.jakes import Jakes
from netsim.world.radio.mcs import LTE, MCS
from netsim.world.radio.nakagami import Nakagami
from netsim.world.topology import Link

CARRIERS_HZ = (0.7e9, 2.6e9, 3.5e9, 28e9, 73e9)
DEVICES_M = {"umi": (1.5, 5.0, 12.5), "uma": (1.5, 5.0, 12.5), "inh": (1.0,), "inf": (1.5,)}
"""Heights of devices; up to 13 m nothing is drawn but the line of sight."""
BASES_M = {"umi": 10.0, "uma": 25.0, "inh": 3.0, "inf_sl": 1.5, "inf_dl": 1.5, "inf_sh": 8.0, "inf_dh": 8.0}
SPANS_M = {"umi": (10, 5000), "uma": (10, 5000), "inh": (2, 149), "inf": (2, 590)}


class Row(NamedTuple):
    """A line of the table: what was compared with whom, how far it is off at most, where, and in how many points."""

    peer: str
    model: str
    quantity: str
    largest: str
    where: str
    points: int


def distances_m(name: str) -> np.ndarray:
    """Distances over the ground at which a model of TR 38.901 is compared [m]."""
    return np.geomspace(*SPANS_M[name.split("_")[0]], 121)


def ours_db(
    name: str, distance_m: Sequence[float] | np.ndarray, carrier_hz: float, **options: Any
) -> np.ndarray:
    """Losses of links from devices to the server, as a scenario has them that names the model [dB]."""
    cls = load("path_losses", name)
    links = [Link((k, "server"), float(d), ((0.0, 0.0), (float(d), 0.0))) for k, d in enumerate(distance_m)]
    return np.array(cls(cls.Options(**options), 0).losses_db(links, carrier_hz))


def probability(name: str, distance_m: np.ndarray, **options: Any) -> np.ndarray:
    """Our probability of line of sight."""
    cls = load("path_losses", name)
    model = cls(cls.Options(**options), 0)
    links = [Link((k, "server"), float(d), ((0.0, 0.0), (float(d), 0.0))) for k, d in enumerate(distance_m)]
    return model.los_probability(model.paths(links, 3.5e9))


def largest(found: Iterator[tuple[float, str]]) -> tuple[float, str, int]:
    """The largest of differences by its size, where it is, and how many there are."""
    every = list(found)
    value, where = max(every, key=lambda one: abs(one[0]))
    return value, where, len(every)


def grid(
    name: str, theirs: Callable[[np.ndarray, float, float, float, bool], np.ndarray], los: bool
) -> Iterator[tuple[float, str]]:
    """Differences theirs - ours of one model's loss over all carriers, heights and distances [dB]."""
    d, base_m = distances_m(name), BASES_M[name]
    sight = {"los": "always" if los else "never", "shadowing": None}
    for carrier_hz, device_m in itertools.product(CARRIERS_HZ, DEVICES_M[name.split("_")[0]]):
        ours = ours_db(name, d, carrier_hz, device_height_m=device_m, extrapolate=True, **sight)
        for distance_m, off in zip(d, theirs(d, carrier_hz, base_m, device_m, los) - ours, strict=True):
            yield float(off), f"{carrier_hz / 1e9:g} GHz, {distance_m:.0f} m, {device_m:g} m high"


# Sionna


def sionna_rows() -> Iterator[Row]:
    """TR 38.901 and Rayleigh fading in Sionna."""
    import torch
    from sionna.phy.channel import RayleighBlockFading
    from sionna.phy.channel.tr38901 import PanelArray
    from sionna.phy.channel.tr38901.inf_scenario import InFScenario
    from sionna.phy.channel.tr38901.inh_scenario import InHScenario
    from sionna.phy.channel.tr38901.uma_scenario import UMaScenario
    from sionna.phy.channel.tr38901.umi_scenario import UMiScenario

    def scenario(
        name: str, d: np.ndarray, carrier_hz: float, base_m: float, device_m: float, los: Any
    ) -> Any:
        array = PanelArray(1, 1, "single", "V", "omni", carrier_hz, precision="double")
        rest = (array, array, "uplink")
        made: dict[str, Callable[[], Any]] = {
            "umi": lambda: UMiScenario(carrier_hz, "low", *rest, precision="double"),
            "uma": lambda: UMaScenario(carrier_hz, "low", *rest, precision="double"),
            "inh": lambda: InHScenario(carrier_hz, "mixed", *rest, precision="double"),
            "inf": lambda: InFScenario(carrier_hz, name[-2:], *rest, precision="double"),
        }
        found = made[name.split("_")[0]]()
        ends = torch.tensor(np.stack([d, 0 * d, 0 * d + device_m], axis=-1))[None]
        base = torch.tensor([[[0.0, 0.0, base_m]]], dtype=torch.float64)
        still, turned = torch.zeros_like(ends), torch.zeros_like(base)
        indoors = torch.full((1, len(d)), name.startswith("in"))
        found.set_topology(ends, base, still, turned, still, indoors, los)
        return found

    for name in BASES_M:

        def theirs(
            d: np.ndarray, carrier_hz: float, base_m: float, device_m: float, los: bool, name: str = name
        ) -> np.ndarray:
            return scenario(name, d, carrier_hz, base_m, device_m, los).basic_pathloss.numpy().reshape(-1)

        for los in (True, False):
            off, where, points = largest(grid(name, theirs, los))
            yield Row("Sionna", name, "LOS" if los else "NLOS", f"{off:.1e} dB", where, points)
        d, device_m = distances_m(name), DEVICES_M[name.split("_")[0]][0]
        them = scenario(name, d, 3.5e9, BASES_M[name], device_m, True)
        off, where, points = largest(
            zip(
                them.los_probability.numpy().reshape(-1) - probability(name, d),
                (f"{one:.1f} m" for one in d),
                strict=True,
            )
        )
        yield Row("Sionna", name, "probability of LOS", f"{off:.1e}", where, points)
        cls = load("path_losses", name)
        deviations = [
            10 * float(scenario(name, d, 3.5e9, BASES_M[name], device_m, los).lsp_log_std[0, 0, 0, 3])
            for los in (True, False)
        ]
        off = max((a - b for a, b in zip(deviations, cls.SIGMA_DB, strict=True)), key=abs)
        yield Row("Sionna", name, "σ of shadowing", f"{off:.1e} dB", "LOS and NLOS", 2)

    torch.manual_seed(0)
    taps, _ = RayleighBlockFading(1, 1, 1, 1)(20_000, 1)
    powers = taps.abs().square().numpy().reshape(-1)
    yield fading_row("Sionna", "rayleigh", powers, ours_gains(Rayleigh, {}))


# ns-3


def ns3_rows() -> Iterator[Row]:
    """Path losses, line of sight, shadowing, fading and block error rates in ns-3."""
    from ns import ns  # type: ignore[import-not-found]

    def made(name: str, **attributes: Any) -> Any:
        found = ns.CreateObject[getattr(ns, name)]()
        for key, value in attributes.items():
            kind = (
                ns.BooleanValue
                if isinstance(value, bool)
                else ns.DoubleValue
                if isinstance(value, float)
                else ns.TimeValue
            )
            found.SetAttribute(key, kind(value))
        return found

    def placed(x_m: float, height_m: float, node: bool = False) -> Any:
        found = ns.CreateObject[ns.ConstantPositionMobilityModel]()
        found.SetPosition(ns.Vector(x_m, 0.0, height_m))
        if node:
            owner = ns.CreateObject[ns.Node]()
            owner.AggregateObject(found)
            kept.append(owner)
        return found

    kept: list[Any] = []
    base, end = placed(0.0, 0.0), placed(0.0, 0.0)

    def over(model: Any, d: np.ndarray, base_m: float, device_m: float) -> np.ndarray:
        base.SetPosition(ns.Vector(0.0, 0.0, base_m))
        found = []
        for one in d:
            end.SetPosition(ns.Vector(float(one), 0.0, device_m))
            found.append(-model.CalcRxPower(0.0, base, end))
        return np.array(found)

    # Free space, two rays, log-distance: theirs with their own distance, which is that between the antennas.
    d = np.geomspace(1, 10_000, 121)
    simple: dict[str, tuple[str, dict[str, Any], Callable[[float], Any], float]] = {
        "free_space, form: 3gpp": (
            "free_space",
            {},
            lambda hz: made("FriisPropagationLossModel", Frequency=hz),
            0.0,
        ),
        "free_space, form: friis": (
            "free_space",
            {"form": "friis"},
            lambda hz: made("FriisPropagationLossModel", Frequency=hz),
            0.0,
        ),
        "two_ray, form: asymptotic": (
            "two_ray",
            {"form": "asymptotic", "base_height_m": 1.5, "device_height_m": 1.5},
            lambda hz: made("TwoRayGroundPropagationLossModel", Frequency=hz),
            1.5,
        ),
        "log_distance": (
            "log_distance",
            {"exponent": 3.2, "reference_m": 1.0, "reference_loss_db": 40.0},
            lambda hz: made(
                "LogDistancePropagationLossModel", Exponent=3.2, ReferenceDistance=1.0, ReferenceLoss=40.0
            ),
            0.0,
        ),
    }
    for model, (name, options, them, height_m) in simple.items():

        def differences() -> Iterator[tuple[float, str]]:
            for carrier_hz in CARRIERS_HZ:
                off = over(them(carrier_hz), d, height_m, height_m) - ours_db(name, d, carrier_hz, **options)  # noqa: B023
                yield from zip(off, (f"{carrier_hz / 1e9:g} GHz, {one:.0f} m" for one in d), strict=True)

        off, where, points = largest(differences())
        yield Row("ns-3", model, "loss", f"{off:.2g} dB", where, points)

    classes = {
        "umi": "ThreeGppUmiStreetCanyonPropagationLossModel",
        "uma": "ThreeGppUmaPropagationLossModel",
        "inh": "ThreeGppIndoorOfficePropagationLossModel",
    }
    conditions = {
        "umi": "ThreeGppUmiStreetCanyonChannelConditionModel",
        "uma": "ThreeGppUmaChannelConditionModel",
        "inh": "ThreeGppIndoorMixedOfficeChannelConditionModel",
    }
    sights = {True: made("AlwaysLosChannelConditionModel"), False: made("NeverLosChannelConditionModel")}
    for name, cls_name in classes.items():

        def theirs(
            d: np.ndarray,
            carrier_hz: float,
            base_m: float,
            device_m: float,
            los: bool,
            cls_name: str = cls_name,
        ) -> np.ndarray:
            model = made(cls_name, Frequency=carrier_hz, ShadowingEnabled=False)
            model.SetChannelConditionModel(sights[los])
            return over(model, d, base_m, device_m)

        for los in (True, False):
            off, where, points = largest(grid(name, theirs, los))
            yield Row("ns-3", name, "LOS" if los else "NLOS", f"{off:.2g} dB", where, points)
        # Draws of many nodes at some distances.
        condition, count, device_m = made(conditions[name]), 1000, DEVICES_M[name][0]
        at_m = np.array([10.0, 30.0, 60.0, 120.0] if name == "inh" else [20.0, 50.0, 100.0, 200.0, 400.0])
        station = placed(0.0, BASES_M[name], node=True)
        ends = [[placed(one, device_m, node=True) for _ in range(count)] for one in at_m]
        shares = [
            np.mean([condition.GetChannelCondition(station, one).IsLos() for one in own]) for own in ends
        ]
        expected = probability(name, at_m)
        z = (np.array(shares) - expected) / np.sqrt(expected * (1 - expected) / count)
        off, where, points = largest(zip(z, (f"{one:g} m" for one in at_m), strict=True))
        yield Row("ns-3", name, "share in sight", f"{off:.1f} standard errors", where, points * count)
        for carrier_hz, los in itertools.product((3.5e9, 28e9), (True, False)):
            model = made(cls_name, Frequency=carrier_hz, ShadowingEnabled=True)
            model.SetChannelConditionModel(sights[los])
            spread = np.std([-model.CalcRxPower(0.0, station, one) for one in ends[2]], ddof=1)
            sigma = load("path_losses", name).SIGMA_DB[0 if los else 1]
            yield Row(
                "ns-3",
                name,
                f"σ of shadowing, {'LOS' if los else 'NLOS'}",
                f"{spread - sigma:+.2f} dB",
                f"{carrier_hz / 1e9:g} GHz; {spread:.2f} ± {sigma / math.sqrt(2 * count):.2f}, ours {sigma:g} dB",
                count,
            )

    a, b = placed(0.0, 0.0), placed(10.0, 0.0)
    for m in (0.75, 1.5, 4.0):
        model = made("NakagamiPropagationLossModel", m0=m, m1=m, m2=m)
        powers = np.array([10 ** (model.CalcRxPower(0.0, a, b) / 10) for _ in range(20_000)])
        yield fading_row("ns-3", f"nakagami, m = {m:g}", powers, ours_gains(Nakagami, {"m": m}))

    yield from jakes_rows(ns, made, a, b)
    yield from scheme_rows(ns)


def jakes_rows(ns: Any, made: Callable[..., Any], a: Any, b: Any) -> Iterator[Row]:
    """Autocorrelation of the power of ns-3's Jakes fading over time, and ours over many links, against J0²."""
    doppler_hz, count, steps = 80.0, 1500, 16
    lag_s = np.arange(steps) / (steps * doppler_hz)
    ns.Config.SetDefault("ns3::JakesProcess::DopplerFrequencyHz", ns.DoubleValue(doppler_hz))
    # Every model is one link; all are looked at as time goes on.
    models = [made("JakesPropagationLossModel") for _ in range(count)]
    powers = np.empty((steps, count))
    for place in range(steps):
        powers[place] = [10 ** (model.CalcRxPower(0.0, a, b) / 10) for model in models]
        ns.Simulator.Stop(ns.Seconds(1 / (steps * doppler_hz)))
        ns.Simulator.Run()
    options = Jakes.Options(
        speed_m_per_s=doppler_hz * 0.1, normalisation="unit_power", coherence_time_s=lag_s[1]
    )
    channel = Jakes(options, 0, 299_792_458.0 / 0.1)
    ends = np.arange(count)
    first, own = channel.powers(ends, ends + count, 0)
    expected = special.j0(2 * math.pi * doppler_hz * lag_s) ** 2
    for peer, gains in (("ns-3", powers), ("ours", own[-first : steps - first])):
        correlation = np.array([np.corrcoef(gains[0], one)[0, 1] for one in gains])
        place = int(np.abs(correlation - expected).argmax())
        yield Row(
            peer,
            "jakes",
            "correlation of power less J0²",
            f"{correlation[place] - expected[place]:+.3f}",
            f"lag {lag_s[place] * doppler_hz:.2f} / f_D; standard error up to {1 / math.sqrt(count):.3f}",
            steps * count,
        )
        yield Row(
            peer, "jakes", "mean power", f"{gains.mean() - 1:+.3f}", "over links and times", steps * count
        )


def scheme_rows(ns: Any) -> Iterator[Row]:
    """SNRs at which a tenth of the code blocks of LTE is lost in ns-3, at the schemes of our table."""
    bits = 6144
    model = ns.LteSpectrumValueHelper.GetSpectrumModel(100, 25)
    one, amc = ns.SpectrumValue(model), ns.CreateObject[ns.LteAmc]()
    blocks, history = ns.cppyy.gbl.std.vector[int](range(25)), ns.HarqProcessInfoList_t()

    def loss(snr_db: float, mcs: int) -> float:
        for place in range(25):
            one[place] = 10 ** (snr_db / 10)
        return float(ns.LteMiErrorModel.GetTbDecodificationStats(one, blocks, bits // 8, mcs, history).tbler)

    ours, off = MCS(MCS.Options(block_bits=bits), 0), []
    for cqi, (efficiency, snr_db, _) in enumerate(LTE, start=1):
        mcs = amc.GetMcsFromCqi(cqi)
        theirs_db = optimize.brentq(lambda x: loss(x, mcs) - 0.1, snr_db - 15, snr_db + 15, xtol=0.01)  # noqa: B023
        off.append((theirs_db - snr_db, f"CQI {cqi}, {efficiency} bit/s/Hz, MCS {mcs}"))
    for difference, where in off:
        yield Row("ns-3", "mcs", "SNR of a tenth of blocks lost", f"{difference:+.1f} dB", where, 1)
    assert ours.lossy


# Distributions


def ours_gains(cls: Any, options: dict[str, Any]) -> np.ndarray:
    """Gains of 20,000 rounds of one link."""
    channel = cls(cls.Options(normalisation="unit_power", **options), 0)
    return np.array([channel.power(0, 1, t, 0.0)[0] for t in range(20_000)])


def fading_row(peer: str, model: str, theirs: np.ndarray, ours: np.ndarray) -> Row:
    """Compare two samples of power gains."""
    found = stats.ks_2samp(theirs, ours)
    return Row(
        peer,
        model,
        "distribution of the power gain",
        f"{found.statistic:.4f}",
        f"Kolmogorov-Smirnov, p = {found.pvalue:.2f}; means {theirs.mean():.3f} and {ours.mean():.3f}",
        len(theirs),
    )


PEERS = {"sionna": ("sionna-no-rt", sionna_rows), "ns3": ("ns3", ns3_rows)}


def main() -> None:
    """Print the table of all peers that are installed."""
    parser = argparse.ArgumentParser(description="Models against other programs on the same links.")
    parser.add_argument("peers", nargs="*", help=f"of {', '.join(PEERS)}; all unless said")
    for name in parser.parse_args().peers or PEERS:
        package, rows = PEERS[name]
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            print(f"{package} is not installed; see the top of this file\n")
            continue
        print(f"{package} {version}\n\n| program | model | quantity | theirs - ours | where | points |")
        print("| --- | --- | --- | --- | --- | --- |")
        for row in rows():
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
        print()


if __name__ == "__main__":
    main()
