"""FedHGB where its rule can be seen: a client measures on ten held-out samples or more, and gains in its rounds.

    python benchmarks/reproduce_fedhgb.py table                     # all worlds: minutes to an hour on one core
    python benchmarks/reproduce_fedhgb.py table --worlds halves --workers 2
    python benchmarks/reproduce_fedhgb.py premise                   # several modalities against the best single one
    python benchmarks/reproduce_fedhgb.py rules                     # FedNova and FedAtt beside FedAvg
    python benchmarks/reproduce_fedhgb.py steps                     # FedNova beside FedAvg weighed by n/‖a‖
    python benchmarks/reproduce_fedhgb.py estimates                 # what clients with right and wrong labels measure

Ten clients, all in every round; everybody's labels are right, or those of three clients are random. The step size,
FedAvg's best, and FedHGB's lift are chosen on seeds that the tables do not use. Runs of one seed have the same
placement, partition, wrong clients and first weights, so differences are paired. Runs that are there are not run again:
a command can be stopped and given again.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import reproduce
import typer
from differences import draw

from analysis.runs.run import load_run

app = typer.Typer(add_completion=False)
SEEDS = (0, 1, 2, 3, 4)
OTHER_SEEDS = (100, 101)
"""For choices only."""
RATES = (0.03, 0.1, 0.2)
LIFTS = (0.03, 0.1, 0.3)


class World(NamedTuple):
    """A scenario, what is changed in it, and its modalities."""

    scenario: str
    settings: tuple[str, ...]
    modalities: tuple[str, ...]


TEN = ("devices.count=10", "protocol.participants=10")
COMMON = (
    "evaluation.every=2",
    "jobs.stacking=on",
    "jobs.executor.name=inline",
    "learner.validation_share=0.3",
)
WORLDS = {
    "halves": World("fedhgb_fashion", ("rounds=40", "partition.min_samples=60"), ("left", "right")),
    "actors": World(
        "fedhgb_ravdess",
        (
            *TEN,
            "rounds=40",
            "partition={name: natural}",
            "data.audio_shape=[32, 24]",
            "learner.networks={audio: {name: mlp, hidden: [64]}, visual: {name: mlp, hidden: [64]}}",
            "learner.head_hidden=64",
            "learner.local_epochs=1",
        ),
        ("audio", "visual"),
    ),
    "utd": World(
        "fedhgb_utd",
        (
            *TEN,
            "rounds=40",
            "partition={name: dirichlet, concentration: 0.5, case: A, min_samples: 34}",
            "learner.local_epochs=2",
            "learner.modalities=[inertial, skeleton]",
            "learner.networks={inertial: {name: mlp, hidden: [64]}, skeleton: {name: mlp, hidden: [64]}}",
            "learner.head_hidden=64",
        ),
        ("inertial", "skeleton"),
    ),
}
LABELS = {
    "clean": "partition.wrong_labels=null",
    "wrong": "partition.wrong_labels={devices: 3}",
}

MEASURED = ("learner.measured_share=1.0",)
EXPECTED = (*MEASURED, "learner.blending_estimate=expected")
LIFTED = "FedHGB, expected, lift"
METHODS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "FedAvg": ("fedavg", ()),
    "FedAvg, fused loss only": ("fedavg", ("learner.losses=fused",)),
    "FedAvg, equal weights": ("fedavg", ("learner.aggregation_weights=uniform",)),
    "M-GB": ("mgb", MEASURED),
    "C-GB": ("cgb", MEASURED),
    "FedHGB": ("fedhgb", MEASURED),
    "M-GB, expected": ("mgb", EXPECTED),
    "C-GB, expected": ("cgb", EXPECTED),
    "FedHGB, expected": ("fedhgb", EXPECTED),
    LIFTED: ("fedhgb", EXPECTED),
}
RULES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "FedAvg": METHODS["FedAvg"],
    "FedNova": ("fednova", ()),
    "FedAtt": ("fedatt", ()),
}
"""Rules of averaging that the paper compares with."""


class Case(NamedTuple):
    """A run: its world, folder name, learner, settings and seed."""

    world: str
    name: str
    learner: str
    settings: tuple[str, ...]
    seed: int


def run(case: Case, runs: Path) -> Path:
    """Do one run, unless it is there."""
    world = WORLDS[case.world]
    settings = (*COMMON, *world.settings, *case.settings)
    folder = runs / case.world
    return reproduce.run(world.scenario, case.learner, case.seed, settings, folder, case.name, here=True)


class Study:
    """Runs cases in worker processes, and reads what came of them."""

    def __init__(self, runs: Path, workers: int) -> None:
        self._runs, self._workers = runs, workers

    def run(self, cases: Iterable[Case]) -> dict[Case, Path]:
        """Do all runs that are missing; return their folders. One that diverges does not take the others with it."""
        wanted = list(cases)
        folders = reproduce.together(run, [(one, self._runs) for one in wanted], self._workers)
        found = {one: folder for one, folder in zip(wanted, folders, strict=True) if folder}
        print(reproduce.core_minutes(found.values()), file=sys.stderr)
        return found

    def accuracies(self, cases: Iterable[Case]) -> dict[Case, float]:
        """Accuracy of the fused head, mean over the last quarter of the evaluated rounds [%]."""
        return {case: late_accuracy(folder) for case, folder in self.run(cases).items()}


@cache
def late_accuracy(folder: Path) -> float:
    """Accuracy of the fused head, mean over the last quarter of the evaluated rounds [%]."""
    return float(reproduce.late_accuracy(load_run(folder))[""])


@cache
def mean_metric(folder: Path, name: str) -> float:
    """Mean over rounds of a metric of the server; NaN where the method does not have it."""
    metrics = load_run(folder).metrics
    return float(metrics[metrics.name == name].value.mean())


def slug(method: str) -> str:
    """Name of a method in folders."""
    return method.lower().replace(", ", "-").replace(" ", "-")


def case(world: str, method: str, labels: str, seed: int, rate: float, lift: float = 0.0) -> Case:
    """A run of a method in a world; ``lift`` is for the one that has it."""
    learner, settings = (METHODS | RULES)[method]
    lifted = (f"learner.lift={lift}",) if method == LIFTED else ()
    return Case(
        world,
        f"{labels}-{slug(method)}{lift if lifted else ''}-rate{rate}",
        learner,
        (LABELS[labels], f"learner.learning_rate={rate}", *settings, *lifted),
        seed,
    )


def best(found: Mapping[Case, float], choices: Mapping[float, Sequence[Case]]) -> float:
    """Return the choice with the highest mean accuracy; one of which a run diverged is none."""
    means = {
        choice: np.mean([found[one] for one in cases])
        for choice, cases in choices.items()
        if all(one in found for one in cases)
    }
    print({choice: round(float(mean), 1) for choice, mean in means.items()}, file=sys.stderr)
    return max(means, key=lambda choice: means[choice])


def chosen(study: Study, world: str) -> tuple[float, float]:
    """Choose FedAvg's best step size, and then the best lift over both kinds of labels, on other seeds."""
    rates = {rate: [case(world, "FedAvg", "clean", seed, rate) for seed in OTHER_SEEDS] for rate in RATES}
    rate = best(study.accuracies(itertools.chain(*rates.values())), rates)
    lifts = {
        lift: [case(world, LIFTED, kind, seed, rate, lift) for kind in LABELS for seed in OTHER_SEEDS]
        for lift in LIFTS
    }
    return rate, best(study.accuracies(itertools.chain(*lifts.values())), lifts)


def best_rate(study: Study, world: str, name: str, settings: Sequence[str], rates: Sequence[float]) -> float:
    """Choose FedAvg's best step size among ``rates`` under ``settings``, on other seeds."""
    cases = {
        rate: [
            Case(
                world,
                f"{name}-rate{rate:g}",
                "fedavg",
                (LABELS["clean"], *settings, f"learner.learning_rate={rate:g}"),
                seed,
            )
            for seed in OTHER_SEEDS
        ]
        for rate in rates
    }
    return best(study.accuracies(itertools.chain(*cases.values())), cases)


def named(cases: Mapping[tuple[str, int], Case], found: Mapping[Case, float]) -> dict[str, dict[int, float]]:
    """Return what was ``found`` by name and seed; a name of which all runs diverged has nothing."""
    by_name: dict[str, dict[int, float]] = {name: {} for name, _ in cases}
    for (name, seed), one in cases.items():
        if one in found:
            by_name[name][seed] = found[one]
    return by_name


def spread(values: Sequence[float], sign: str = "", digits: int = 1) -> str:
    """Mean ± standard error."""
    array = np.array(values)
    return f"{array.mean():{sign}.{digits}f} ± {array.std(ddof=1) / len(array) ** 0.5:.{digits}f}"


def paired(found: Mapping[int, float], other: Mapping[int, float]) -> str:
    """Mean ± standard error of the differences on the same seeds."""
    both = differences(found, other)
    return spread(both, "+") if len(both) > 1 else "-"


def differences(found: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """Return the differences on the seeds that both have."""
    return [found[seed] - other[seed] for seed in found if seed in other]


Runs = Annotated[Path, typer.Option(help="Where the run folders go.")]
Workers = Annotated[int, typer.Option(help="Runs at a time.")]
Worlds = Annotated[str, typer.Option(help="Names, separated by commas.")]
RUNS, ALL = Path("runs/fedhgb"), ",".join(WORLDS)


@app.command()
def table(
    runs: Runs = RUNS,
    workers: Workers = 1,
    worlds: Worlds = ALL,
    figure: Annotated[Path | None, typer.Option(help="Where a figure of all differences goes.")] = None,
) -> None:
    """Compare all methods with right and with wrong labels."""
    study = Study(runs, workers)
    gained: dict[str, dict[str, list[float]]] = {}
    for world in worlds.split(","):
        rate, lift = chosen(study, world)
        cases = {
            (method, kind, seed): case(world, method, kind, seed, rate, lift)
            for seed in SEEDS
            for kind in LABELS
            for method in METHODS
        }
        folders = study.run(cases.values())
        found = {key: folders[one] for key, one in cases.items() if one in folders}
        print(f"\n{world}: step size {rate:g}, lift {lift:g}\n")
        print(
            "| method | labels | seeds | accuracy [%] | - FedAvg | - M-GB | - C-GB | effective clients | ΔG ≤ 0 [%] |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for kind, method in itertools.product(LABELS, METHODS):
            own = {seed: folder for (m, k, seed), folder in found.items() if (m, k) == (method, kind)}
            if len(own) < 2:
                continue
            accuracy = {
                name: {
                    seed: late_accuracy(folder)
                    for (m, k, seed), folder in found.items()
                    if (m, k) == (name, kind)
                }
                for name in (method, "FedAvg", "M-GB", "C-GB")
            }
            others = [
                paired(accuracy[method], accuracy[name]) if name != method else ""
                for name in ("FedAvg", "M-GB", "C-GB")
            ]
            gained.setdefault(f"{world}, {kind} labels", {}).update(
                {
                    f"{method} − {name}": differences(accuracy[method], accuracy[name])
                    for name in ("FedAvg", "M-GB", "C-GB")
                    if method == "FedHGB" or (name == "FedAvg" and name != method)
                }
            )
            blends = METHODS[method][0] != "fedavg"
            effective = (
                [mean_metric(folder, "effective_clients") for folder in own.values()] if blends else []
            )
            lost = (
                [100 * mean_metric(folder, "not_generalising") for folder in own.values()] if blends else []
            )
            print(
                f"| {method} | {kind} | {len(own)} | {spread(list(accuracy[method].values()))} | {' | '.join(others)} "
                f"| {spread(effective) if effective else ''} | {spread(lost) if lost else ''} |",
                flush=True,
            )
    if figure:
        draw(gained, "fused accuracy").savefig(figure, dpi=110)


@app.command()
def premise(runs: Runs = RUNS, workers: Workers = 1, worlds: Worlds = ALL) -> None:
    """Compare FedAvg on all modalities with FedAvg on one, as it is and with five times the epochs; right labels."""
    study = Study(runs, workers)
    print(
        "| world | epochs | step size | FedAvg | fused loss only | single | best single - FedAvg | - fused loss only |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for world in worlds.split(","):
        rate, _ = chosen(study, world)
        epochs = 2 if world == "utd" else 1
        for times in (1, 5):
            if times > 1:
                more = [f"learner.local_epochs={times * epochs}"]
                rate = best_rate(study, world, f"epochs{times * epochs}", more, (rate, rate / 3, rate / 10))
            cases = {}
            for seed in SEEDS:
                for name in ("FedAvg", "FedAvg, fused loss only", *WORLDS[world].modalities):
                    one = case(world, name if name in METHODS else "FedAvg", "clean", seed, rate)
                    alone = () if name in METHODS else (f"learner.modalities=[{name}]",)
                    cases[name, seed] = one._replace(
                        name=f"{one.name}-{'' if name in METHODS else name}-epochs{times * epochs}",
                        settings=(*one.settings, *alone, f"learner.local_epochs={times * epochs}"),
                    )
            found = study.accuracies(cases.values())
            by_name = named(cases, found)
            single = {m: by_name[m] for m in WORLDS[world].modalities}
            top = max(single, key=lambda m: np.mean(list(single[m].values())))
            alone = ", ".join(f"{m} {spread(list(values.values()))}" for m, values in single.items())
            several = [by_name["FedAvg"], by_name["FedAvg, fused loss only"]]
            print(
                f"| {world} | {times * epochs} | {rate:.2g} | {' | '.join(spread(list(v.values())) for v in several)} "
                f"| {alone} | {' | '.join(paired(single[top], v) for v in several)} |",
                flush=True,
            )


@app.command()
def rules(runs: Runs = RUNS, workers: Workers = 1, worlds: Worlds = ALL) -> None:
    """Compare FedNova and FedAtt with FedAvg at its best step size; right labels."""
    study = Study(runs, workers)
    print("| world | method | seeds | accuracy [%] | - FedAvg |")
    print("| --- | --- | --- | --- | --- |")
    for world in worlds.split(","):
        rate, _ = chosen(study, world)
        cases = {
            (method, seed): case(world, method, "clean", seed, rate) for method in RULES for seed in SEEDS
        }
        by_method = named(cases, study.accuracies(cases.values()))
        for method, found in by_method.items():
            against = "" if method == "FedAvg" else paired(found, by_method["FedAvg"])
            shown = spread(list(found.values())) if len(found) > 1 else "diverged"
            print(f"| {world} | {method} | {len(found)} | {shown} | {against} |", flush=True)


@app.command()
def steps(runs: Runs = RUNS, workers: Workers = 1, worlds: Worlds = ALL) -> None:
    """Compare FedNova with FedAvg weighed by n/‖a‖ and by n, one to nine epochs drawn for each client and round."""
    study = Study(runs, workers)
    print(
        "| world | momentum | step size | FedAvg | per step | FedNova | per step - FedAvg | FedNova - per step |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    ways = {
        "samples": ("fedavg", ()),
        "per_step": ("fedavg", ("learner.aggregation_weights=per_step",)),
        "fednova": ("fednova", ()),
    }
    for world, momentum in itertools.product(worlds.split(","), (0.9, 0.0)):
        rate, _ = chosen(study, world)
        drawn = (f"learner.momentum={momentum}", "learner.epochs_range=[1, 9]")
        if not momentum:  # a gradient's whole effect with momentum is 1/(1 - 0.9)
            rate = best_rate(study, world, "steps-momentum0", drawn, (rate, 3 * rate, 10 * rate))
        shared = (LABELS["clean"], f"learner.learning_rate={rate:g}", *drawn)
        cases = {
            (way, seed): Case(
                world,
                f"steps-{way}-momentum{momentum}-rate{rate:g}",
                learner,
                (*shared, *settings),
                seed,
            )
            for way, (learner, settings) in ways.items()
            for seed in SEEDS
        }
        found = study.accuracies(cases.values())
        by_way = named(cases, found)
        columns = [
            spread(list(values.values())) if len(values) > 1 else "diverged" for values in by_way.values()
        ]
        print(
            f"| {world} | {momentum} | {rate:.2g} | {' | '.join(columns)} "
            f"| {paired(by_way['per_step'], by_way['samples'])} | {paired(by_way['fednova'], by_way['per_step'])} |",
            flush=True,
        )


@app.command()
def estimates(runs: Runs = RUNS, workers: Workers = 1, worlds: Worlds = ALL) -> None:
    """Compare what clients with right and with random labels measure, over the fused head: ΔG, ΔO and their ratio."""
    study = Study(runs, workers)
    print(
        "| world | method | labels | mean ΔG | ΔG ≤ 0 [%] | mean ΔO² | mean ΔG / mean ΔO² | \\|ΔO\\| < 0.1 [%] |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for world, method in itertools.product(worlds.split(","), ("FedHGB", "FedHGB, expected")):
        rate, _ = chosen(study, world)
        found: dict[str, list[tuple[float, ...]]] = {"right": [], "random": []}
        for folder in study.run(case(world, method, "wrong", seed, rate) for seed in SEEDS).values():
            one = load_run(folder)
            wrong = {int(device) for device in one.metadata["data"]["wrong_labels"]}
            metrics = one.metrics[one.metrics.modality == ""]
            for labels, own in metrics.groupby(metrics.device.isin(wrong)):
                gain = own[own.name == "generalisation"].value
                gap = own[own.name == "overfitting"].value
                square = float((gap**2).mean())
                lost, near = 100 * (gain <= 0).mean(), 100 * (gap.abs() < 0.1).mean()
                found["random" if labels else "right"].append(
                    (float(gain.mean()), lost, square, float(gain.mean()) / square, near)
                )
        for labels, rows in found.items():
            digits = (2, 0, 3, 1, 0)
            shown = [
                spread(column, digits=count)
                for column, count in zip(zip(*rows, strict=True), digits, strict=True)
            ]
            print(f"| {world} | {method} | {labels} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    app()
