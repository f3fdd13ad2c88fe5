"""Methods with fused modalities or distillation: this version against another, and two cores against one.

    python benchmarks/fusion.py --before ../before

First FedProx, FedNova, FedAtt and FedHGB on UTD-MHAD as fedhgb_utd.yaml has it, but for its networks, which are MLPs
here. Then the shipped scenarios of MHD, FedMD and FedZKT, on two cores and on one. All with few rounds, in turns, so
that a slow moment of the machine meets all of them; ratios are those of each turn. Seconds are from the first event to
the last, without reading the data.
"""

from __future__ import annotations

import argparse
import os
import runpy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from measured import ratios, run, spread
from versions import HERE, Version, add_before, version

SHIPPED = runpy.run_path(str(HERE / "tests" / "scenarios" / "shipped.py"))
MLP = "{name: mlp, hidden: [128]}"
FUSION = ("fedprox", "fednova", "fedatt", "fedhgb")
DISTILLATION = {
    "mhd_fashion": ("data.root={root}",),
    "fedmd_fashion": ("data.root={root}", "learner.public.root={root}"),
    "fedzkt_fashion": ("data.root={root}",),
}
AUTO = "jobs={device: cpu}"
ONE_CORE = "jobs={device: cpu, threads: 1, executor: inline}"

Way = Callable[[str, tuple[str, ...]], float]
"""Runs a shipped scenario with settings; returns seconds."""


def way(which: Version, jobs: str, cores: int) -> Way:
    """Return a way to run a scenario: in one version, on so many cores."""
    numbers = sorted(os.sched_getaffinity(0))[:cores]

    def seconds(scenario: str, settings: tuple[str, ...]) -> float:
        path = which.folder / "scenarios" / f"{scenario}.yaml"
        return float(run(path, jobs, *settings, version=which, cores=numbers).metadata["wall_s"])

    return seconds


def measure(
    scenario: str, settings: tuple[str, ...], ways: Mapping[str, Way], repeats: int
) -> dict[str, list[float]]:
    """Return the seconds of each way, in turns, in the other order every second turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats):
        for name in list(ways) if turn % 2 else reversed(ways):
            found[name].append(ways[name](scenario, settings))
    return found


def main() -> None:
    """Print a table of each kind."""
    parser = argparse.ArgumentParser(description="Methods with fused modalities or distillation.")
    add_before(parser)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20, help="of the methods on UTD-MHAD")
    parser.add_argument("--distillation-rounds", type=int, default=6)
    parser.add_argument("--only", default="", help="only methods and scenarios whose name has this in it")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        after = version(HERE, scratch / "after")
        before = version(words.before, scratch / "before", old=True)
        print(
            f"after: {after.commit}, before: {before.commit}; median (lowest to highest) of {words.repeats} turns"
        )
        fused(words, {"before": way(before, AUTO, 2), "after": way(after, AUTO, 2)})
        distilled(
            words,
            {
                "before": way(before, AUTO, 2),
                "after": way(after, AUTO, 2),
                "one core": way(after, ONE_CORE, 1),
            },
        )


def fused(words: argparse.Namespace, ways: Mapping[str, Way]) -> None:
    """Print the table of the methods on UTD-MHAD, if its data is here."""
    root, methods = SHIPPED["DATA"]["fedhgb_utd"], [one for one in FUSION if words.only in one]
    if not methods:
        return
    if not root.is_dir():
        print("\nUTD-MHAD is not here; NETSIM_DATA names the folder that holds it. Left out.")
        return
    print(f"\n{words.rounds} rounds on UTD-MHAD, MLPs\n\n| method | before [s] | after [s] | times faster |")
    print("| --- | --- | --- | --- |")
    for method in methods:
        settings = [f"learner.name={method}", f"rounds={words.rounds}", f"data.root={root}"]
        settings += [f"learner.networks.{modality}={MLP}" for modality in ("inertial", "skeleton", "depth")]
        found = measure("fedhgb_utd", tuple(settings), ways, words.repeats)
        print(
            f"| {method} | {spread(found['before'])} | {spread(found['after'])} "
            f"| {ratios(found['before'], found['after'])} |",
            flush=True,
        )


def distilled(words: argparse.Namespace, ways: Mapping[str, Way]) -> None:
    """Print the table of the methods that distil."""
    scenarios = [one for one in DISTILLATION if words.only in one]
    if not scenarios:
        return
    print(
        f"\n{words.distillation_rounds} rounds of the shipped scenarios; Fashion-MNIST, or digits in its place\n"
    )
    print(
        "| scenario | before [s] | after [s] | times faster | after, one core [s] | two cores against one |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for scenario in scenarios:
        roots = (text.format(root=SHIPPED["DATA_FOLDER"]) for text in DISTILLATION[scenario])
        settings = (f"rounds={words.distillation_rounds}", *roots)
        found = measure(scenario, settings, ways, words.repeats)
        print(
            f"| {scenario} | {spread(found['before'])} | {spread(found['after'])} "
            f"| {ratios(found['before'], found['after'])} | {spread(found['one core'])} "
            f"| {ratios(found['one core'], found['after'])} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
