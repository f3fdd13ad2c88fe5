r"""DMML-KD and training balance: the paper's claims, its harder partitions, and ablations, several seeds, as tables.

    python benchmarks/reproduce_dmml_kd.py digits ravdess partitions ablations short

A study is a scenario in the paper's regime (30 to 36 iterations a round, a generator that is a few per cent of the
model) and cases of it. All cases of a seed have the same placement, fading, partition and first weights, so that
differences are paired. Runs that are there already are not run again, so the command can be stopped and given again.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import reproduce
import typer
from differences import draw
from reproduce_server import with_error

from analysis.runs.run import Run, load_run


@dataclass(frozen=True)
class Case:
    """One row of a study's table.

    Attributes:
        label: What the row is called.
        learner: Name of a learner.
        settings: key=value, besides those of the study.
        against: Label of the case that it is compared with; empty for none.
    """

    label: str
    learner: str
    settings: tuple[str, ...] = ()
    against: str = ""


@dataclass(frozen=True)
class Study:
    """A table: ``cases`` of ``scenario`` with ``settings``."""

    about: str
    scenario: str
    settings: tuple[str, ...]
    cases: tuple[Case, ...]


TABLE_2 = (
    "costs.stated={flops_per_iteration: {audio: 5.73e+10, visual: 5.82e+10}, common_flops: 4.92e+4, "
    "generator_forward_flops: 2.7e+6, generator_flops: 5.4e+6, bits: {audio: 8.94e+7, visual: 8.95e+7}, "
    "common_bits: 1.35e+6}"
)
"""The paper's costs, as in crema_12dev.yaml: what balance saves follows from the iterations that it leaves out."""
REGIME = ("rounds=30", "evaluation={every: 3}", "jobs.stacking=on", TABLE_2)
"""Twelve devices in one program; rounding is that of the stack, the same for all cases."""
DIGITS = ("learner.local_epochs=3", "learner.last_batch=drop", *REGIME)
"""200 samples a device: 3 · ⌊200/16⌋ = 36 iterations a round."""
RAVDESS = ("learner.local_epochs=6", *REGIME)
"""About 89 samples a device: 6 · ⌈89/16⌉ = 36 iterations a round."""


def mlps(features: int) -> str:
    """Return the setting of two MLPs with this number of features, half of them common, as in ResNet-18's 512."""
    return ", ".join(f"{m}: {{name: mlp, hidden: [64, {features}]}}" for m in ("audio", "visual")).join(
        ("learner.networks={", "}")
    )


WIDE, NARROW = mlps(512), mlps(32)
"""L̂ = 256 as in the paper, where the difference loss hardly counts, and 16, where it is 256 times as strong."""

GENERATOR = ("learner.generator_hidden=32", "learner.noise_size=16")
"""1 % of the numbers of two narrow MLPs."""
PER_ITERATION = "learner.variation=iteration"
RELATIVE = "learner.variation_reference=first"


def kd(label: str, *settings: str, against: str = "DMML-KD") -> Case:
    """Return a case of DMML-KD."""
    return Case(label, "dmml_kd", (*GENERATOR, *settings), against)


def balance(label: str, *settings: str, against: str = "DMML-KD") -> Case:
    """Return a case of DMML-KD with balance."""
    return Case(label, "dmml_kd_balance", (*GENERATOR, *settings), against)


BALANCE = (balance("balance, φ of a round"), balance("balance, φ per iteration", PER_ITERATION))
CLAIM = (
    Case("isolated", "isolated"),
    Case("DMML", "dmml", against="isolated"),
    kd("DMML-KD", against="DMML"),
    *BALANCE,
)
MORE = (
    *CLAIM,
    kd("DMML-KD, α_dif = 0", "learner.alpha_dif=0"),
    kd("DMML-KD, α_kd = 0", "learner.alpha_kd=0"),
    kd("F_cls only", "learner.alpha_kd=0", "learner.alpha_sim=0", "learner.alpha_dif=0"),
    balance("balance, φ per iteration, relative", PER_ITERATION, RELATIVE),
)


def _partition(gamma: float, phi: float) -> tuple[Case, ...]:
    """Return the cases with modalities ``gamma`` and categories ``phi``, 0 for IID."""
    here = f"Γ = {gamma:g}, Φ = {phi or 'IID'}"
    split = f"partition={{name: {f'dominant, phi: {phi}' if phi else 'iid'}, gamma: {gamma}}}"
    dmml, distilled = f"DMML, {here}", f"DMML-KD, {here}"
    cases = (Case(dmml, "dmml", (split,)), kd(distilled, split, against=dmml))
    if not gamma:  # devices with one modality have nothing to balance
        return cases
    return (*cases, balance(f"balance, {here}", split, PER_ITERATION, against=distilled))


ABLATIONS = (
    Case("DMML", "dmml"),
    kd("DMML-KD", against="DMML"),
    kd("α_kd = 0", "learner.alpha_kd=0"),
    kd("F_cls only", "learner.alpha_kd=0", "learner.alpha_sim=0", "learner.alpha_dif=0"),
    kd("F_cls and F_kd", "learner.alpha_sim=0", "learner.alpha_dif=0"),
    *(kd(f"α_sim = {a:g}", f"learner.alpha_sim={a}") for a in (0, 0.1)),
    *(kd(f"α_dif = {a:g}", f"learner.alpha_dif={a}") for a in (0, 10)),
    kd("fedgen", "learner.distillation=fedgen"),
    kd("α_kd decays by 0.9", "learner.alpha_kd_decay=0.9"),
    kd("Adam reset", "learner.optimizer_state=reset"),
    *BALANCE,
    balance("balance, φ per iteration, relative", PER_ITERATION, RELATIVE),
)

STUDIES = {
    "digits": Study("AV-digits, two MLPs, L̂ = 256, Γ = 1, Φ = 0.3", "avdigits_12dev", (*DIGITS, WIDE), MORE),
    "ravdess": Study(
        "RAVDESS, two MLPs, L̂ = 256, actors as clients", "ravdess_12dev", (*RAVDESS, WIDE), CLAIM
    ),
    "partitions": Study(
        "AV-digits, two MLPs, L̂ = 256, devices that lack modalities",
        "avdigits_12dev",
        (*DIGITS, WIDE),
        tuple(
            itertools.chain.from_iterable(_partition(*case) for case in itertools.product((0.5, 0), (0, 0.5)))
        ),
    ),
    "ablations": Study(
        "AV-digits, two MLPs, L̂ = 16, what DMML-KD is made of", "avdigits_12dev", (*DIGITS, NARROW), ABLATIONS
    ),
    "short": Study(
        "AV-digits, two MLPs, L̂ = 16, one epoch a round",
        "avdigits_12dev",
        (*DIGITS, NARROW, "learner.local_epochs=1"),
        CLAIM[1:],
    ),
}


def joules(run: Run) -> float:
    """Energy a device [J]."""
    return float((run.summary or {})["energy_per_device_j"]["mean"])


def iterations(run: Run) -> str:
    """Mean iterations of a modality a round, over the devices that own it, in the last quarter of the rounds."""
    late = run.rounds[run.rounds["round"] > 0.75 * run.rounds["round"].max()]
    names = [name for name in late.columns if name.startswith("iterations_")]
    return ", ".join(f"{name.removeprefix('iterations_')} {late[name].mean():.1f}" for name in sorted(names))


def differences(study: Study, found: Mapping[str, Mapping[int, Run]]) -> dict[str, list[float]]:
    """By case and what it is compared with, the points of fused accuracy gained on each seed that both have."""
    gained = {}
    for case in study.cases:
        runs, other = found.get(case.label, {}), found.get(case.against, {})
        both = [seed for seed in runs if seed in other]
        if both:
            gained[f"{case.label} − {case.against}"] = [
                reproduce.late_accuracy(runs[seed])[""] - reproduce.late_accuracy(other[seed])[""]
                for seed in both
            ]
    return gained


def table(study: Study, found: Mapping[str, Mapping[int, Run]]) -> str:
    """A study's runs by case and seed; differences are of the same seeds."""
    heads = (
        "fused [%]",
        "audio [%]",
        "visual [%]",
        "joules a device",
        "iterations, seed 0",
        "difference [points]",
    )
    rows = [f"{study.about}\n", f"| case | seeds | {' | '.join(heads)} | joules against it |"]
    rows.append("| --- " * (len(heads) + 3) + "|")
    for case in study.cases:
        runs = found.get(case.label)
        if not runs:
            continue
        late = {seed: reproduce.late_accuracy(run) for seed, run in runs.items()}
        cells = [
            with_error([row[m] for row in late.values() if m in row], 1) for m in ("", "audio", "visual")
        ]
        cells += [f"{np.mean([joules(run) for run in runs.values()]):,.0f}", iterations(runs[min(runs)])]
        other = found.get(case.against, {})
        both = [seed for seed in runs if seed in other]
        if both:
            gained = [late[seed][""] - reproduce.late_accuracy(other[seed])[""] for seed in both]
            saved = [100 * (joules(runs[seed]) / joules(other[seed]) - 1) for seed in both]
            cells += [f"{case.against}: {with_error(gained, 1)}", f"{with_error(saved, 1)} %"]
        else:
            cells += ["", ""]
        rows.append(f"| {case.label} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def place(study: str, seed: int, case: Case, runs: Path) -> Path:
    """Return the folder of a run."""
    name = f"{study}-{case.label.translate(str.maketrans('', '', ' ,=.'))}"
    return runs / STUDIES[study].scenario / f"{name}-seed{seed}"


def run(study: str, seed: int, case: Case, settings: Sequence[str], runs: Path) -> Path:
    """One run, unless it is there."""
    chosen = [*STUDIES[study].settings, *case.settings, *settings]
    name = place(study, seed, case, runs).name.rpartition("-seed")[0]
    return reproduce.run(STUDIES[study].scenario, case.learner, seed, chosen, runs, name, here=True)


def main(
    studies: Annotated[list[str], typer.Argument(help=f"Some of {', '.join(STUDIES)}.")],
    seeds: Annotated[int, typer.Option(help="How many.")] = 5,
    first_seed: Annotated[int, typer.Option(help="The lowest; settings were chosen on seeds from 100.")] = 0,
    runs: Annotated[Path, typer.Option(help="Where the run folders go.")] = Path("runs/reproduction"),
    workers: Annotated[int, typer.Option(help="Runs at a time.")] = os.cpu_count() or 1,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, passed on.")] = None,
    tables_only: Annotated[bool, typer.Option(help="Run nothing; tables of what is there.")] = False,
    figure: Annotated[Path | None, typer.Option(help="Where a figure of all differences goes.")] = None,
) -> None:
    """Run what is missing, seed by seed, and print tables."""
    for name in studies:
        if name not in STUDIES:
            raise SystemExit(f"{name}: no such study; there are {', '.join(STUDIES)}")

    keys = [
        (name, seed, case)
        for name in studies
        for seed in range(first_seed, first_seed + seeds)
        for case in STUDIES[name].cases
    ]
    if tables_only:
        there = [place(*key, runs) for key in keys]
        folders = [folder if reproduce.finished(folder) else None for folder in there]
    else:
        folders = reproduce.together(run, [(*key, settings or [], runs) for key in keys], workers)
    print(reproduce.core_minutes(folder for folder in folders if folder))
    gained = {}
    for name in studies:
        found: dict[str, dict[int, Run]] = {}
        for (study, seed, case), folder in zip(keys, folders, strict=True):
            if study == name and folder:
                found.setdefault(case.label, {})[seed] = load_run(folder)
        print(table(STUDIES[name], found))
        gained[STUDIES[name].about] = differences(STUDIES[name], found)
    if figure:
        draw(gained, "fused accuracy").savefig(figure, dpi=110)


if __name__ == "__main__":
    typer.run(main)
