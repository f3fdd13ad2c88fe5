r"""DMML-KD and training balance: the paper's claims, its harder partitions, and ablations, several seeds, as tables.

    python benchmarks/reproduce_dmml_kd.py mlps resnets ravdess partitions ablations

A study is a scenario in the paper's regime (30 to 36 iterations a round, a generator that is a few per cent of the
model) and cases of it. All cases of a seed have the same placement, fading, partition and first weights, so that
differences are paired. Runs that are there already are not run again, so the command can be stopped and given again.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import reproduce
import typer
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
MLPS = (*DIGITS, "learner.networks={audio: {name: mlp}, visual: {name: mlp}}")
RAVDESS = ("learner.local_epochs=6", *REGIME)
"""About 89 samples a device: 6 · ⌈89/16⌉ = 36 iterations a round; a ResNet for sound, an MLP for action units."""

GENERATOR = ("learner.generator_hidden=32", "learner.noise_size=16")
"""3 % of the numbers of two small ResNets, 1 % of those of two MLPs."""
PER_ITERATION = "learner.variation=iteration"
RELATIVE = "learner.variation_reference=first"


def kd(label: str, *settings: str, against: str = "DMML-KD") -> Case:
    """Return a case of DMML-KD."""
    return Case(label, "dmml_kd", (*GENERATOR, *settings), against)


def balance(label: str, *settings: str, against: str = "DMML-KD") -> Case:
    """Return a case of DMML-KD with balance."""
    return Case(label, "dmml_kd_balance", (*GENERATOR, *settings), against)


CLAIM = (
    Case("DMML", "dmml"),
    kd("DMML-KD", against="DMML"),
    balance("balance, φ of a round"),
    balance("balance, φ per iteration", PER_ITERATION),
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
    kd("DMML-KD", against=""),
    kd("α_kd = 0", "learner.alpha_kd=0"),
    kd("F_cls only", "learner.alpha_kd=0", "learner.alpha_sim=0", "learner.alpha_dif=0"),
    *(kd(f"α_sim = {a:g}", f"learner.alpha_sim={a}") for a in (0, 0.1, 10)),
    *(kd(f"α_dif = {a:g}", f"learner.alpha_dif={a}") for a in (0, 10, 100)),
    kd("fedgen", "learner.distillation=fedgen"),
    kd("α_kd decays by 0.9", "learner.alpha_kd_decay=0.9"),
    kd("Adam reset", "learner.optimizer_state=reset"),
)

STUDIES = {
    "mlps": Study("AV-digits, two MLPs, Γ = 1, Φ = 0.3", "avdigits_12dev", MLPS, CLAIM),
    "resnets": Study("AV-digits, two small ResNets, Γ = 1, Φ = 0.3", "avdigits_12dev", DIGITS, CLAIM),
    "ravdess": Study("RAVDESS, unlike networks, actors as clients", "ravdess_12dev", RAVDESS, CLAIM),
    "partitions": Study(
        "AV-digits, two MLPs, devices that lack modalities",
        "avdigits_12dev",
        MLPS,
        tuple(
            itertools.chain.from_iterable(_partition(*case) for case in itertools.product((0.5, 0), (0, 0.5)))
        ),
    ),
    "ablations": Study("AV-digits, two MLPs, what DMML-KD is made of", "avdigits_12dev", MLPS, ABLATIONS),
}


def joules(run: Run) -> float:
    """Energy a device [J]."""
    return float((run.summary or {})["energy_per_device_j"]["mean"])


def iterations(run: Run) -> str:
    """Mean iterations of a modality a round, over the devices that own it, in the last quarter of the rounds."""
    late = run.rounds[run.rounds["round"] > 0.75 * run.rounds["round"].max()]
    names = [name for name in late.columns if name.startswith("iterations_")]
    return ", ".join(f"{name.removeprefix('iterations_')} {late[name].mean():.1f}" for name in sorted(names))


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
        cells += [f"{np.mean([joules(run) for run in runs.values()]):.3g}", iterations(runs[min(runs)])]
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


def main(
    studies: Annotated[list[str], typer.Argument(help=f"Some of {', '.join(STUDIES)}.")],
    seeds: Annotated[int, typer.Option(help="How many.")] = 5,
    first_seed: Annotated[int, typer.Option(help="The lowest; settings were chosen on seeds from 100.")] = 0,
    runs: Annotated[Path, typer.Option(help="Where the run folders go.")] = Path("runs/reproduction"),
    workers: Annotated[int, typer.Option(help="Runs at a time.")] = os.cpu_count() or 1,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, passed on.")] = None,
    tables_only: Annotated[bool, typer.Option(help="Run nothing; tables of what is there.")] = False,
) -> None:
    """Run what is missing, seed by seed, and print tables."""
    for name in studies:
        if name not in STUDIES:
            raise SystemExit(f"{name}: no such study; there are {', '.join(STUDIES)}")

    def run(key: tuple[str, int, Case]) -> Path | None:
        name, seed, case = key
        folder = f"{name}-{case.label.translate(str.maketrans('', '', ' ,=.'))}"
        there = runs / STUDIES[name].scenario / f"{folder}-seed{seed}"
        if tables_only:
            return there if reproduce.finished(there) else None
        chosen = [*STUDIES[name].settings, *case.settings, *(settings or ())]
        return reproduce.run(STUDIES[name].scenario, case.learner, seed, chosen, runs, folder)

    keys = [
        (name, seed, case)
        for name in studies
        for seed in range(first_seed, first_seed + seeds)
        for case in STUDIES[name].cases
    ]
    with ThreadPoolExecutor(workers) as pool:
        folders = list(pool.map(run, keys))
    for name in studies:
        found: dict[str, dict[int, Run]] = {}
        for (study, seed, case), folder in zip(keys, folders, strict=True):
            if study == name and folder:
                found.setdefault(case.label, {})[seed] = load_run(folder)
        print(table(STUDIES[name], found))


if __name__ == "__main__":
    typer.run(main)
