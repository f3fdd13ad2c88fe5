r"""The questions of the scenarios, each answered with five seeds: means ± standard errors, differences paired by seed.

    python benchmarks/questions.py
    python benchmarks/questions.py mobile_12dev umi_campus --seeds 3 --runs runs/questions

Runs that are there already are not run again, so the command can be stopped and given again. Those of
``benchmarks/reproduce_protocols.py`` with the same ``--runs`` are used, too.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import reproduce
from reproduce_protocols import PROTOCOLS, WORLD, at_target, curves
from reproduce_server import with_error

from analysis.runs.run import Run, load_run

Numbers = Mapping[str, float]


def learned(run: Run) -> Numbers:
    """Accuracy at the end in per cent, mean over the devices that are there and the lowest of them."""
    rows = run.metrics[(run.metrics["name"] == "accuracy") & (run.metrics["modality"].fillna("") == "")]
    last = 100 * rows[rows["round"] == rows["round"].max()].set_index("device")["value"]
    return {"accuracy [%]": last.mean(), "lowest [%]": last.min()}


def joules(run: Run, *parts: str) -> float:
    """Return what a device spent, mean over devices [J]: all of it, or on ``parts``."""
    parts = parts or ("compute", "sending", "receiving", "idle")
    spent = run.spending[run.spending["device"].isin(run.devices["device"])]
    return float(spent[[f"{part}_j" for part in parts]].to_numpy().sum() / len(run.devices))


def of_deaths(run: Run) -> Numbers:
    """What the eight devices know whose batteries last."""
    rows = run.metrics[(run.metrics["name"] == "accuracy") & (run.metrics["device"] >= 4)]
    last = 100 * rows[rows["round"] == rows["round"].max()]["value"]
    dead = run.summary["dead_devices"] if run.summary else []
    gone = run.rounds[(run.rounds["outcome"] == "died")]
    return {
        "accuracy of the eight [%]": last.mean(),
        "accuracy of all that are there [%]": learned(run)["accuracy [%]"],
        "dead": len(dead) if isinstance(dead, list) else dead,
        "first death [s]": gone["end_s"].min() if len(gone) else np.nan,
        "last death [s]": gone["end_s"].max() if len(gone) else np.nan,
    }


def of_sun(run: Run) -> Numbers:
    """What the night costs."""
    harvested, wasted = run.charges[["harvested_j", "wasted_j"]].sum()
    done = (run.rounds["outcome"] == "finished").sum() / (len(run.devices) * run.scenario["rounds"])
    return {
        "rounds missed [%]": 100 * (1 - done),
        "accuracy [%]": learned(run)["accuracy [%]"],
        "harvested [J]": harvested / len(run.devices),
        "wasted of it [%]": 100 * wasted / harvested,
    }


def of_clocks(run: Run) -> Numbers:
    """What a device spends, and on computing."""
    return {"computing [J]": joules(run, "compute"), "all [J]": joules(run), **learned(run)}


def of_walking(run: Run) -> Numbers:
    """Messages that a device combines in a round, and what comes of it."""
    return {"messages a round": run.rounds["received"].mean(), **learned(run), "J a device": joules(run)}


def of_waiting(run: Run) -> Numbers:
    """Accuracy and joules at ten minutes, and on the way."""
    course = curves(run)
    seconds, spent = at_target(course)
    return {
        "accuracy [%]": 100 * course[0][-1],
        "J a device": course[1][-1],
        "s to 55 %": seconds,
        "J to it": spent,
    }


def of_edges(run: Run) -> Numbers:
    """What radio costs, and what is learnt."""
    rows = run.metrics[(run.metrics["name"] == "accuracy") & (run.metrics["modality"].fillna("") == "")]
    last = rows[rows["device"] == run.server["device"].max()].sort_values("time_s").iloc[-1]
    return {
        "accuracy [%]": 100 * last["value"],
        "sending [J]": joules(run, "sending"),
        "all [J]": joules(run),
        "seconds": last["time_s"],
    }


def of_corners(run: Run) -> Numbers:
    """Who is last in each round."""
    uploads = run.transfers[run.transfers["kind"] == "upload"]
    last = uploads.loc[uploads.groupby("round")["end_s"].idxmax(), "sender"]
    links = run.links.assign(device=run.links[["a", "b"]].min(axis=1)).set_index("device")
    busiest = run.rounds.groupby("device")["flops"].sum().idxmax()
    return {
        "simulated s": run.summary["simulated_s"] if run.summary else np.nan,
        "largest loss last [rounds]": (last == links["path_loss_db"].idxmax()).sum(),
        "farthest last [rounds]": (last == links["distance_m"].idxmax()).sum(),
        "most data last [rounds]": (last == busiest).sum(),
        "farthest is largest loss": links["path_loss_db"].idxmax() == links["distance_m"].idxmax(),
        "accuracy [%]": 100
        * run.metrics[run.metrics["name"] == "accuracy"].sort_values("time_s")["value"].iloc[-1],
    }


class Question(NamedTuple):
    """A scenario's learner, cases by name (the first is what the others are compared with), and what is measured."""

    learner: str
    cases: Mapping[str, tuple[str, ...]]
    measured: Callable[[Run], Numbers]


CLOCK = "devices.processor"
RACE = (f"{CLOCK}.governor=race_to_idle", f"{CLOCK}.compute_deadline_s=null")
ALWAYS = tuple(f"server.{way}.path_loss.los=always" for way in ("uplink", "downlink"))
FREE = tuple(f"server.{way}.path_loss=free_space" for way in ("uplink", "downlink"))
QUESTIONS = {
    "mobile_12dev": Question(
        "dmml",
        {"still": ("mobility=static", "topology.require_connected=false"), "walking": ()},
        of_walking,
    ),
    "solar_sensors": Question(
        "dmml", {"battery-120J": (), "battery-400J": ("devices.battery.capacity_j=400",)}, of_sun
    ),
    "hierarchical_edge": Question(
        "fedavg", {"one-server": ("protocol={name: server_rounds}",), "hierarchy": ()}, of_edges
    ),
    "dvfs_deadline": Question(
        "dmml",
        {
            "just-in-time": (),
            "race-to-idle": RACE,
            "just-in-time-2W": (f"{CLOCK}.static_power_w=2",),
            "race-to-idle-2W": (*RACE, f"{CLOCK}.static_power_w=2"),
        },
        of_clocks,
    ),
    "battery_death": Question(
        "dmml",
        {
            "nobody-dies": ("devices.overrides=[]",),
            "four-die": (),
            "never-there": ("devices.churn.departure_s={0: 1e-9, 1: 1e-9, 2: 1e-9, 3: 1e-9}",),
        },
        of_deaths,
    ),
    "umi_campus": Question(
        "fedavg", {"free-space": FREE, "clear-view": ALWAYS, "drawn-sight": ()}, of_corners
    ),
    "async_gossip_stragglers": Question(
        "fedavg",
        {
            "synchronous": (*PROTOCOLS["synchronous"], *WORLD),
            "in-step": ("protocol={name: decentralized_rounds}", "rounds=18"),
            "gossip": (*PROTOCOLS["gossip"], *WORLD),
        },
        of_waiting,
    ),
}


def table(found: Mapping[str, list[Numbers]]) -> str:
    """Means and standard errors of each case, and differences to the first one, paired by seed."""
    first = next(iter(found))
    names = list(found[first][0])
    rows = ["| | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for case, runs in found.items():
        cells = (with_error([float(one[name]) for one in runs], 3) for name in names)
        rows.append(f"| {case} | " + " | ".join(cells) + " |")
        if case != first:
            pairs = list(zip(runs, found[first], strict=True))
            cells = (with_error([float(a[name]) - float(b[name]) for a, b in pairs], 3) for name in names)
            rows.append(f"| less {first} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Run what is missing and print a table a question."""
    parser = argparse.ArgumentParser(description="Scenarios' questions, answered with several seeds.")
    parser.add_argument("scenarios", nargs="*", help=f"all unless said: {', '.join(QUESTIONS)}")
    parser.add_argument("--runs", type=Path, default=Path("runs/questions"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--set", action="append", default=[], help="key=value, passed on")
    words = parser.parse_args()
    for name in words.scenarios or QUESTIONS:
        question = QUESTIONS[name]
        keys = list(itertools.product(range(words.seeds), question.cases))

        def one(key: tuple[int, str], name: str = name, question: Question = question) -> Path:
            seed, case = key
            settings = [*question.cases[case], *words.set]
            return reproduce.run(name, question.learner, seed, settings, words.runs, case)

        with ThreadPoolExecutor(words.workers) as pool:
            folders = dict(zip(keys, pool.map(one, keys), strict=True))
        found = {
            case: [question.measured(load_run(folders[seed, case])) for seed in range(words.seeds)]
            for case in question.cases
        }
        print(f"## {name}\n\n{reproduce.core_minutes(folders.values())}\n{table(found)}\n", flush=True)


if __name__ == "__main__":
    main()
