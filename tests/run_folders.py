"""Run folders made by hand: plausible ones to draw, and tiny ones whose sums need no calculator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from netsim.events import columns

Rows = Sequence[dict[str, Any]]

KEEPS_ALL: dict[str, Any] = {
    "data": {"name": "generated", "samples": 60, "test_samples": 12, "shape": [4], "classes": 3},
    "partition": "iid",
    "learner": {"name": "fedavg", "networks": {"features": {"name": "mlp", "hidden": [4]}}},
    "models": {"keep": "last"},
    "snapshots": {"keep": True},
    "jobs": {"executor": "inline", "stacking": "off", "threads": 1},
}
"""Blocks of a scenario that learns in a moment, and whose folder has all that one can have."""


def frame(table: str, rows: Rows) -> pd.DataFrame:
    """Rows as the engine would write them: every column of the table, then any others of the rows."""
    empty = {column.name: column.type() for column in columns(table)}
    content = pd.DataFrame([empty | dict(row) for row in rows])
    return content if rows else pd.DataFrame({name: pd.Series(dtype=type(v)) for name, v in empty.items()})


def write_run(
    folder: Path,
    *,
    devices: Rows,
    links: Rows = (),
    rounds: Rows = (),
    outside: Rows = (),
    transfers: Rows = (),
    metrics: Rows = (),
    positions: Rows = (),
    metadata: dict[str, Any] | None = None,
    scenario: dict[str, Any] | None = None,
) -> Path:
    """Write a run folder as documented in docs/records.md."""
    folder.mkdir(parents=True)
    described = {"status": "finished", "scenario": "tiny", "learner": "stub", "seed": 1, "data": None}
    described |= {"schema": 1, "rounds": 2, "rounds_finished": 2, "wall_s": 1.0, "work_wall_s": 0.5} | (
        metadata or {}
    )
    settings = {"learner": {"name": described["learner"]}, "seed": described["seed"]} | (scenario or {})
    (folder / "metadata.json").write_text(json.dumps(described))
    (folder / "scenario.yaml").write_text(yaml.safe_dump(settings))
    (folder / "summary.json").write_text("{}")
    tables = {
        "devices": devices,
        "links": links,
        "rounds": rounds,
        "outside": outside,
        "transfers": transfers,
        "metrics": metrics,
        "positions": positions,
    }
    for name, rows in tables.items():
        frame(name, rows).to_parquet(folder / f"{name}.parquet")
    return folder


def device(number: int, battery_j: float = float("inf"), modalities: str = "audio+visual") -> dict[str, Any]:
    return {"device": number, "x_m": 10.0 * number, "battery_j": battery_j, "modalities": modalities}


def accuracy(
    number: int, device: int, value: float, modality: str = "", time_s: float = 0.0
) -> dict[str, Any]:
    return {
        "round": number,
        "device": device,
        "time_s": time_s,
        "name": "accuracy",
        "modality": modality,
        "value": value,
    }


def simulate(
    folder: Path,
    *,
    seed: int = 1,
    learner: str = "dmml",
    count: int = 12,
    rounds: int = 80,
    final: float = 0.7,
) -> Path:
    """A folder like that of a real run: 16 minutes of computing a round, Rayleigh airtimes, a dead device."""
    draw = np.random.default_rng(seed)
    places = draw.uniform(-45, 45, (count, 2))
    owns = ["audio+visual", "audio", "visual"]
    devices = [
        {"device": k, "x_m": x, "y_m": y, "modalities": owns[max(0, k % 4 - 1)], "battery_j": 30_000.0}
        for k, (x, y) in enumerate(places.tolist())
    ]
    near = [(a, b, np.linalg.norm(places[a] - places[b])) for a in range(count) for b in range(a + 1, count)]
    links = [
        {"a": a, "b": b, "distance_m": d, "path_loss_db": 40.7 + 20 * np.log10(d)}
        for a, b, d in near
        if d < 50
    ]
    table: list[dict[str, Any]] = []
    transfers: list[dict[str, Any]] = []
    metrics: list[dict[str, Any]] = []
    left = np.full(count, 30_000.0)
    left[count - 1] = 9_000.0
    devices[count - 1]["battery_j"] = 9_000.0
    now = 0.0
    for t in range(1, rounds + 1):
        compute_s = 981.0 * (1 + draw.exponential(0.05, count))
        busy = np.zeros((2, count))
        spent = np.zeros(count)
        alive = {k for k in range(count) if left[k] > 0}
        for link in links:
            for sender, receiver in ((link["a"], link["b"]), (link["b"], link["a"])):
                if not {sender, receiver} <= alive:
                    continue
                snr = 10 ** ((103 - link["path_loss_db"]) / 10) * draw.exponential()
                airtime_s = 1.8e8 / (5e5 * np.log2(1 + snr))
                start_s = now + compute_s[sender]
                lost = airtime_s > 600
                transfers.append(
                    {
                        "round": t,
                        "kind": "model",
                        "sender": sender,
                        "receiver": receiver,
                        "size_bits": 1.8e8,
                        "start_s": start_s,
                        "end_s": start_s + airtime_s,
                        "airtime_s": airtime_s,
                        "energy_j": 0.1 * airtime_s,
                        "outcome": "outage" if lost else "delivered",
                    }
                )
                busy[0, sender] = max(busy[0, sender], airtime_s)
                busy[1, receiver] = max(busy[1, receiver], airtime_s)
                spent[sender] += 0.1 * airtime_s
        end_s = now + float(np.max(compute_s + busy.max(axis=0)))
        for k in sorted(alive):
            energy = {"compute_j": 0.2 * compute_s[k], "sending_j": spent[k]}
            died = sum(energy.values()) >= left[k]
            left[k] = max(0.0, left[k] - sum(energy.values()))
            radio_s = busy[:, k].max()
            table.append(
                {
                    "round": t,
                    "device": k,
                    "outcome": "died" if died else "finished",
                    "start_s": now,
                    "end_s": end_s,
                    "compute_end_s": now + compute_s[k],
                    "compute_s": compute_s[k],
                    "sending_s": busy[0, k],
                    "receiving_s": busy[1, k],
                    "idle_s": end_s - now - compute_s[k] - radio_s,
                    "battery_j": left[k],
                    "slowdown": compute_s[k] / 981.0,
                    "iterations_audio": int(34 - min(8, t / 8)) if "audio" in devices[k]["modalities"] else 0,
                    "iterations_visual": 34 if "visual" in devices[k]["modalities"] else 0,
                }
                | energy
            )
            for modality, share in (("", 1.0), ("audio", 0.9), ("visual", 0.6)):
                if modality in devices[k]["modalities"]:
                    level = 1 / 6 + (final * share - 1 / 6) * (1 - np.exp(-t / 15)) + draw.normal(0, 0.015)
                    metrics.append(accuracy(t, k, level, modality, time_s=end_s))
            for modality, level in (("audio", 30.0), ("visual", 22.0)):
                if modality in devices[k]["modalities"]:
                    value = level + draw.normal(0, 1)
                    metrics.append(accuracy(t, k, value, modality, time_s=end_s) | {"name": "gamma"})
        now = end_s
    return write_run(
        folder,
        devices=devices,
        links=links,
        rounds=table,
        transfers=transfers,
        metrics=metrics,
        positions=[
            {"round": t, "time_s": 1000.0 * t, "device": k, "x_m": x + t, "y_m": y}
            for t in range(1, rounds + 1)
            for k, (x, y) in enumerate(places.tolist())
        ],
        metadata={
            "scenario": "crema_d",
            "learner": learner,
            "seed": seed,
            "rounds": rounds,
            "rounds_finished": rounds,
            "data": {"name": "crema_d", "surrogate": True},
        },
    )
