r"""Learning by distillation: the claims of MHD and FedZKT, study by study, several seeds, as tables.

    python benchmarks/reproduce_distillation.py heads graphs collapse public losses participation long
    python benchmarks/reproduce_distillation.py worlds --figure docs/figures/distillation_worlds.png

A study is a list of cases: a scenario, a learner and settings. Runs of the same seed have the same placement, fading
and partition. Runs that are there already are not run again, so the command can be stopped and given again.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import reproduce
import typer
from differences import draw
from reproduce_server import with_error

from analysis.compare import compare, comparison_figure
from analysis.runs.run import Run, load_run


@dataclass(frozen=True)
class Case:
    """One row of a study's table.

    Attributes:
        label: What the row is called.
        scenario: Name of a scenario, without .yaml.
        learner: Name of a learner.
        settings: key=value, besides those of the study.
    """

    label: str
    scenario: str
    learner: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """A table.

    Attributes:
        about: Its heading.
        cases: Its rows.
        columns: Heading and metric of each column; the metric is the mean over devices at the end, in percent.
        settings: key=value, for all cases.
        claims: Differences that the paper's claims are about: two cases, each with its column.
    """

    about: str
    cases: tuple[Case, ...]
    columns: dict[str, str]
    settings: tuple[str, ...] = field(default=())
    claims: tuple[tuple[tuple[str, str], tuple[str, str]], ...] = field(default=())


HEADS = ("main", "aux1", "aux2", "aux3", "aux4")
BETAS = {
    **{f"β_sh {head}": f"beta_sh_{head}" for head in HEADS},
    **{f"β_priv {head}": f"beta_priv_{head}" for head in HEADS},
}
ZKT = {"global model": "accuracy", "devices": "accuracy_devices", "devices, own training": "accuracy_local"}
SKEWS = {
    "5 classes": ("partition={name: classes_per_device, classes: 5}",),
    "β = 0.5": ("partition={name: dirichlet, concentration: 0.5, min_samples: 20}",),
}
FASHION, DIGITS = "fashion_mnist", "mnist"


def _in_turn(*ends: tuple[str, str]) -> tuple[tuple[tuple[str, str], tuple[str, str]], ...]:
    """Return each case and column against the one before it."""
    return tuple((after, before) for before, after in itertools.pairwise(ends))


def _on(private: str) -> tuple[str, ...]:
    """FedZKT on ``private``, which is IID."""
    return f"data.name={private}", "learner.l2=0"


def _swapped(private: str) -> tuple[str, ...]:
    """FedMD on ``private`` with the other set as the public one."""
    public = DIGITS if private == FASHION else FASHION
    return (f"data.name={private}", f"learner.public.name={public}")


ALIKE = (
    "devices.count=8",
    "devices.classes={}",
    "topology.links.range_m=500",
    "data.train_samples=5000",
    "partition.primary=3",
    "partition.assignment=random",
    "learner.networks={image: {name: cnn, channels: [8, 16], hidden: 32}}",
    "learner.embedding_size=null",
    "learner.graph=complete",
    "rounds=30",
    "evaluation={every: 10}",
    "jobs.stacking=on",
)
"""The setting of MHD's Section 4.2: eight clients with the same network, primary labels at random."""
RESIDUAL = (
    "data.size=28",
    "learner.networks={image: {name: small_resnet, widths: [8, 16], blocks: 1, stem_stride: 2}}",
)
"""Residual blocks with BatchNorm, as the paper's ResNet-34 has them."""
ALONE = ("learner.nu_aux=0", "learner.nu_emb=0")
SHORT = ("rounds=10", "evaluation={every: 5}")
FAST = ("learner.server_learning_rate=0.05", "learner.on_nan=drop")
"""The server's step size before 0.01 was found to be better for the devices; these studies were made with it."""
ONE_NETWORK = (
    *(f"devices.classes.{kind}.networks={{}}" for kind in ("phone", "gateway", "watch", "camera", "sensor")),
    "learner.networks={image: {name: cnn, channels: [16, 32], hidden: 64}}",
)
"""For learners that average models: a phone's network on every device."""

MORE = f"FedZKT, {FASHION}, 160 iterations of the server"
"""Four times as many: the control of why the global model is behind."""

STUDIES = {
    "heads": Study(
        "MHD, number of auxiliary heads, s = 100 (paper: Figure 4, Table 1)",
        (
            Case("isolated", "mhd_fashion", "mhd", ALONE),
            *(
                Case(f"m = {m}", "mhd_fashion", "mhd", (f"learner.auxiliary_heads={m}",))
                for m in (1, 2, 3, 4)
            ),
        ),
        BETAS,
        ALIKE,
        _in_turn(("isolated", "β_sh main"), *((f"m = {m}", f"β_sh aux{m}") for m in (1, 2, 3, 4))),
    ),
    "graphs": Study(
        "MHD, who learns from whom, 4 devices, 3 auxiliary heads, s = 100 (paper: Figure 6)",
        tuple(
            Case(graph, "mhd_fashion", "mhd", (f"learner.graph={graph}",))
            for graph in ("islands", "cycle", "baseline")
        ),
        {name: metric for name, metric in BETAS.items() if "aux4" not in name},
        (*ALIKE, "devices.count=4", "learner.auxiliary_heads=3"),
        _in_turn(("islands", "β_sh aux3"), ("cycle", "β_sh aux3"), ("baseline", "β_sh aux3")),
    ),
    "collapse": Study(
        "MHD, weight ν_aux of the auxiliary heads' loss: without BatchNorm at 14 pixels, with it at 28 (paper: 3)",
        tuple(
            Case(f"{label}, ν_aux = {weight:g}", "mhd_fashion", "mhd", (*network, f"learner.nu_aux={weight}"))
            for label, network in {"cnn": (), "ResNet": RESIDUAL}.items()
            for weight in (0.3, 3.0)
        ),
        {name: metric for name, metric in BETAS.items() if "aux4" not in name},
        (
            *ALIKE,
            "learner.auxiliary_heads=3",
            "learner.learning_rate=0.01",
            "rounds=15",
            "evaluation={every: 5}",
        ),
        tuple(
            ((f"{label}, ν_aux = 3", column), (f"{label}, ν_aux = 0.3", column))
            for label in ("cnn", "ResNet")
            for column in ("β_sh aux3", "β_priv main")
        ),
    ),
    "public": Study(
        "FedZKT against FedMD, IID (paper: Table I)",
        (
            *itertools.chain.from_iterable(
                (
                    Case(f"FedZKT, {private}", "fedzkt_fashion", "fedzkt", _on(private)),
                    Case(f"FedMD, {private}", "fedmd_fashion", "fedmd", _swapped(private)),
                )
                for private in (FASHION, DIGITS)
            ),
            Case(MORE, "fedzkt_fashion", "fedzkt", (*_on(FASHION), "learner.distillation_iterations=160")),
        ),
        ZKT,
        (*SHORT, "partition={name: iid}"),
        tuple(
            ((f"FedZKT, {private}", column), (f"FedMD, {private}", "global model"))
            for private in (FASHION, DIGITS)
            for column in ("devices", "global model")
        )
        + tuple(((MORE, column), (f"FedZKT, {FASHION}", column)) for column in ("devices", "global model")),
    ),
    "losses": Study(
        "FedZKT, what generator and global model play for, and weight λ of the distance (paper: Tables II, IV)",
        tuple(
            Case(f"{skew}, {label}", "fedzkt_fashion", "fedzkt", (*settings, chosen))
            for skew, settings in SKEWS.items()
            for label, chosen in {
                **{loss: f"learner.loss={loss}" for loss in ("sl", "kl", "l1")},
                "sl, λ = 0": "learner.l2=0",
            }.items()
        ),
        {**ZKT, "input gradient, times 100 [1]": "input_gradient"},
        (*SHORT, *FAST),
        tuple(
            ((f"{skew}, sl", "global model"), (f"{skew}, {loss}", "global model"))
            for skew in SKEWS
            for loss in ("kl", "l1")
        )
        + tuple(
            ((f"{skew}, sl", column), (f"{skew}, sl, λ = 0", column))
            for skew in SKEWS
            for column in ("devices", "global model")
        ),
    ),
    "long": Study(
        "FedZKT, thirty rounds, at the better step size of the server",
        tuple(
            Case(f"5 classes, {label}", "fedzkt_fashion", "fedzkt", (*SKEWS["5 classes"], *chosen))
            for label, chosen in {
                "kl": ("learner.loss=kl",),
                "sl": (),
            }.items()
        ),
        ZKT,
        ("rounds=30", "evaluation={every: 10}"),
        tuple(
            (("5 classes, sl", column), ("5 classes, kl", column)) for column in ("global model", "devices")
        ),
    ),
    "participation": Study(
        "FedZKT, part p of the devices in a round, β = 0.5, to where their curves meet (paper: Figure 6)",
        tuple(
            Case(f"p = {count / 10:g}", "fedzkt_fashion", "fedzkt", (f"protocol.participants={count}",))
            for count in (2, 6, 10)
        ),
        ZKT,
        ("rounds=40", "evaluation={every: 5}"),
        tuple(
            ((f"p = {after:g}", column), (f"p = {before:g}", column))
            for before, after in ((0.2, 0.6), (0.6, 1))
            for column in ("global model", "devices")
        ),
    ),
    "worlds": Study(
        "The three next to DMML-KD and FedAvg: the same devices, places, processors, spectrum and samples",
        (
            Case("mhd", "mhd_fashion", "mhd"),
            Case(
                "dmml_kd",
                "mhd_fashion",
                "dmml_kd",
                (*ONE_NETWORK, "learner.local_epochs=3", "learner.learning_rate=1.0e-3"),
            ),
            Case("fedmd", "fedmd_fashion", "fedmd", ("learner.public=null",)),
            Case("fedzkt", "fedzkt_fashion", "fedzkt"),
            Case(
                "fedavg",
                "fedzkt_fashion",
                "fedavg",
                (
                    *ONE_NETWORK,
                    "learner.loss=cross_entropy",
                    "learner.losses=fused",
                    "learner.head_hidden=64",
                    "learner.validation_share=0",
                ),
            ),
        ),
        {"accuracy": "accuracy"},
        ("partition={name: dirichlet, concentration: 0.5, min_samples: 20, public_share: 0.1}", "rounds=15"),
    ),
}
"""Sizes are cut so that a run takes one core one to four minutes."""


def final(run: Run, metric: str) -> float:
    """The metric's mean over devices in the last round that it was measured in; NaN if it never was.

    Of a learner with heads of modalities besides the fused one, that of the fused one.
    """
    rows = run.metrics[run.metrics["name"] == metric].dropna(subset="value")
    rows = rows[rows["modality"].fillna("") == ""]
    if not len(rows):
        return float("nan")
    return float(rows[rows["round"] == rows["round"].max()]["value"].mean())


def measured(runs: Sequence[Run], metric: str) -> str:
    """Mean ± standard error over ``runs`` in percent; nothing for a metric that they do not have."""
    values = [100 * final(one, metric) for one in runs]
    return "" if np.isnan(values).all() else with_error(values, 1)


def table(study: Study, found: dict[str, list[Run]]) -> str:
    """A study's runs by case."""
    rows = [
        f"{study.about}\n",
        f"| case | seeds | {' | '.join(f'{name} [%]' if '[' not in name else name for name in study.columns)} "
        "| simulated s | J per device |",
        f"| --- | --- | {'--- | ' * len(study.columns)}--- | --- |",
    ]
    for label, runs in found.items():
        values = [measured(runs, metric) for metric in study.columns.values()]
        seconds = [float(one.rounds["end_s"].max()) for one in runs]
        joules = [float((one.summary or {})["energy_per_device_j"]["mean"]) for one in runs]
        rows.append(
            f"| {label} | {len(runs)} | {' | '.join(values)} | {np.mean(seconds):.3g} | {np.mean(joules):.3g} |"
        )
    return "\n".join(rows) + "\n" + paired(found)


def paired(found: dict[str, list[Run]]) -> str:
    """Differences of the last accuracy between neighbouring cases on the same seeds, in points."""
    lines = []
    for (before, first), (after, second) in itertools.pairwise(found.items()):
        ends = [{one.seed: 100 * final(one, "accuracy") for one in runs} for runs in (first, second)]
        differences = [ends[1][seed] - ends[0][seed] for seed in ends[0] if seed in ends[1]]
        lines.append(f"{after} - {before}: {with_error(differences, 1)} points of accuracy")
    return "\n".join(lines) + "\n"


def differences(study: Study, found: dict[str, list[Run]]) -> dict[str, list[float]]:
    """By claim, the points of difference on each seed that both cases have."""
    gained = {}
    for sides in study.claims:
        after, before = (
            {one.seed: 100 * final(one, study.columns[column]) for one in found.get(label, ())}
            for label, column in sides
        )
        (label, column), (other, other_column) = sides
        name = f"{label}, {column} − {other}, {other_column}"
        if column == other_column:
            name = f"{label} − {other}: {column}"
        gained[name] = [after[seed] - before[seed] for seed in after if seed in before]
    return gained


def run(study: str, case: Case, seed: int, settings: Sequence[str], runs: Path) -> Path:
    """One run, unless it is there."""
    folder = f"{study}-{case.label.replace(' ', '').replace(',', '-')}"
    chosen = [*STUDIES[study].settings, *case.settings, *settings]
    return reproduce.run(case.scenario, case.learner, seed, chosen, runs, folder, here=True)


def main(
    studies: Annotated[list[str], typer.Argument(help=f"Some of {', '.join(STUDIES)}.")],
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this minus 1.")] = 3,
    runs: Annotated[Path, typer.Option(help="Where the run folders go.")] = Path("runs/reproduction"),
    workers: Annotated[int, typer.Option(help="Runs at a time.")] = os.cpu_count() or 1,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, passed on.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Where a study's curves go; the last study's.")] = None,
    claims: Annotated[
        Path | None, typer.Option(help="Where a figure of the claims' differences goes.")
    ] = None,
) -> None:
    """Run what is missing, print tables, draw the figure."""
    for name in studies:
        if name not in STUDIES:
            raise SystemExit(f"{name}: no such study; there are {', '.join(STUDIES)}")

    keys = [
        (name, case, seed)
        for name in studies
        for seed, case in itertools.product(range(seeds), STUDIES[name].cases)
    ]
    folders = reproduce.together(run, [(*key, settings or [], runs) for key in keys], workers)
    print(reproduce.core_minutes(folder for folder in folders if folder))
    gained = {}
    for name in studies:
        found: dict[str, list[Run]] = {}
        for (study, case, _), folder in zip(keys, folders, strict=True):
            if study == name and folder:
                found.setdefault(case.label, []).append(load_run(folder))
        print(table(STUDIES[name], found))
        gained[STUDIES[name].about] = differences(STUDIES[name], found)
    if claims:
        draw(gained, "accuracy").savefig(claims, dpi=110)
    loaded: Sequence[Run] = [one for same in found.values() for one in same]
    if figure and (drawn := comparison_figure(loaded)) is not None:
        print(compare(list(loaded)).to_string(index=False))
        drawn.savefig(figure, dpi=150)


if __name__ == "__main__":
    typer.run(main)
