"""All studies of docs/reproduction.md in order, and what each takes.

    python benchmarks/reproduce_all.py --workers 2
    python benchmarks/reproduce_all.py --only distillation server

Studies keep their runs: what was stopped goes on where it was. Each has a file of its own, which says more. Checks of
single numbers, whose commands are beside them in the text, are not in it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import reproduce

HERE = Path(__file__).parent
FIGURES = HERE.parent / "docs" / "figures"

STUDIES: dict[str, tuple[str, ...]] = {
    "energy": (
        "reproduce.py crema_12dev --learners dmml,dmml_kd --seeds 10"
        " --set jobs.executor.name=learners.algorithms.dry_run:DryRun --set data.surrogate_clips=120"
        " --set data.audio_shape=[16,12] --set data.image_size=16 --set learner.networks.audio.widths=[8]"
        " --set learner.networks.visual.widths=[8] --set evaluation.every=80 --set evaluation.samples=1"
        " --energy FIGURES/table3_energy.png --paper-j 17370 --paper-j 17490",
    ),
    "dmml_kd": (
        "reproduce_dmml_kd.py digits ravdess partitions ablations short --figure FIGURES/dmml_kd_differences.png",
    ),
    "fedhgb": (
        "reproduce_fedhgb.py table --figure FIGURES/fedhgb_differences.png",
        "reproduce_fedhgb.py estimates",
        "reproduce_fedhgb.py premise",
        "reproduce_fedhgb.py rules",
        "reproduce_fedhgb.py steps --worlds halves",
    ),
    "server": (
        "reproduce_server.py --scenario fedhgb_utd --rounds 30 --cases mixed-B --figure FIGURES/server_utd.png",
        "reproduce_server.py --scenario fedhgb_utd --rounds 30 --cases A 1M-B C --methods fedavg fedhgb",
        "reproduce_server.py --scenario fedhgb_utd --rounds 30 --cases mixed-B"
        " --methods isolated centralized --set learner.of=fedavg --set evaluation.every=30",
        "reproduce_server.py --scenario fedhgb_ravdess --rounds 40 --cases mixed-B"
        " --figure FIGURES/server_ravdess.png",
        "reproduce_server.py --scenario fedhgb_ravdess --rounds 40 --cases A 1M-B --methods fedavg fedhgb",
        "reproduce_server.py --scenario fedhgb_ravdess --rounds 40 --cases mixed-B"
        " --methods isolated centralized --set learner.of=fedavg --set evaluation.every=40",
        "both_worlds.py --figure FIGURES/both_worlds.png",
    ),
    "distillation": (
        "reproduce_distillation.py losses public long collapse heads --claims FIGURES/distillation_claims.png",
        "reproduce_distillation.py graphs --seeds 5",
        "reproduce_distillation.py participation --figure FIGURES/fedzkt_participation.png",
        "reproduce_distillation.py worlds --seeds 2 --figure FIGURES/distillation_worlds.png",
    ),
}
"""Commands by chapter; those of one chapter share their runs."""


def took(runs: Path) -> list[float]:
    """Return the processor time of each run below a folder [s]."""
    return [float(file.read_text()) for file in runs.rglob(reproduce.TOOK)]


def main() -> None:
    """Run what is missing, print the studies' tables, and at the end what each took."""
    parser = argparse.ArgumentParser(description="All studies of docs/reproduction.md.")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduction"))
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--only", nargs="+", default=list(STUDIES), choices=list(STUDIES))
    parser.add_argument("--times", action="store_true", help="run nothing; print what was taken so far")
    words = parser.parse_args()
    for name in () if words.times else words.only:
        for command in STUDIES[name]:
            script, *rest = (word.replace("FIGURES", str(FIGURES)) for word in command.split())
            rest += ["--runs", str(words.runs / name), "--workers", str(words.workers)]
            print(f"\n# {command}\n", flush=True)
            try:
                status = subprocess.run([sys.executable, str(HERE / script), *rest]).returncode
            except KeyboardInterrupt:
                status = 130
            if status:
                raise SystemExit(f"{script} ended with status {status}; the same command goes on from here")
    print("\n| chapter | runs | minutes of one core |\n| --- | --- | --- |")
    for name in words.only:
        seconds = took(words.runs / name)
        print(f"| {name} | {len(seconds)} | {sum(seconds) / 60:.0f} |")


if __name__ == "__main__":
    main()
