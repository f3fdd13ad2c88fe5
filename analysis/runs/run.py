"""A run folder as pandas frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.runs.files import RunError, read_json, read_yaml

TEXT_COLUMNS = {"outcome", "kind", "name", "modality", "role", "device_class", "modalities"}
NUMBER_COLUMNS = {"round", "device", "sender", "receiver", "a", "b"}

SPENT = [f"{part}_{unit}" for unit in "sj" for part in ("compute", "sending", "receiving", "idle")]
"""Columns of the time and the energy that a device spends."""

GROWING_TABLES: dict[str, list[str]] = {
    "rounds": [
        "round",
        "device",
        "outcome",
        "start_s",
        "end_s",
        "compute_end_s",
        *SPENT,
        "battery_j",
        "flops",
        "slowdown",
        "sent",
        "received",
        "missed",
        "late",
    ],
    "outside": [
        "device",
        "round",
        "outcome",
        "start_s",
        "end_s",
        *SPENT,
        "battery_j",
    ],
    "charges": ["device", "round", "start_s", "end_s", "harvested_j", "wasted_j"],
    "transfers": [
        "round",
        "kind",
        "sender",
        "receiver",
        "size_bits",
        "sent_bits",
        "start_s",
        "end_s",
        "airtime_s",
        "energy_j",
        "gain",
        "snr_db",
        "outcome",
    ],
    "metrics": ["round", "device", "time_s", "name", "modality", "value"],
    "positions": ["round", "time_s", "device", "x_m", "y_m"],
}
"""Columns of the tables that grow with the run; a run killed in its first round has not written these tables."""

COLUMNS = GROWING_TABLES | {
    "devices": ["device", "x_m", "y_m", "modalities", "battery_j"],
    "links": ["a", "b", "distance_m", "path_loss_db"],
}
"""Columns that each table must have."""

SCHEMAS = (1,)
"""Versions of the layout of a run's folder that are read; :data:`METADATA` has what is read of it."""

METADATA: dict[str, Any] = {
    "schema": int,
    "status": str,
    "scenario": str,
    "learner": str,
    "seed": int,
    "data": dict,
    "metrics": dict,
    "wall_s": int | float,
    "work_wall_s": int | float,
}
"""Types of what is read of ``metadata.json``; null is always allowed."""


@dataclass(frozen=True, repr=False)
class Run:
    """One execution of a scenario, finished or not, read from its folder.

    Attributes:
        folder: Path of the run folder.
        metadata: ``metadata.json``: status, seed, learner, data, versions, hardware, wall times.
        summary: ``summary.json``, or None while the run has not ended.
        scenario: The resolved scenario.
        devices: One row per device.
        server: The rows of edge servers and of the cloud; empty if there are none.
        links: One row per pair of devices that can send to each other.
        rounds: One row per device and round.
        outside: One row per device and period outside its rounds; empty for runs without such a table.
        charges: One row per row of these two, of devices whose batteries take in or lose energy; empty for other runs.
        transfers: One row per transfer.
        metrics: One row per measured value.
        positions: One row per device and round where devices move; otherwise empty. ``docs/records.md`` explains every
            column of all.
    """

    folder: Path
    metadata: dict[str, Any]
    summary: dict[str, Any] | None
    scenario: dict[str, Any]
    devices: pd.DataFrame
    server: pd.DataFrame
    links: pd.DataFrame
    rounds: pd.DataFrame
    outside: pd.DataFrame
    charges: pd.DataFrame
    transfers: pd.DataFrame
    metrics: pd.DataFrame
    positions: pd.DataFrame

    @property
    def name(self) -> str:
        """Return the scenario's name."""
        return str(self.metadata.get("scenario") or self.folder.parent.name)

    @property
    def learner(self) -> str:
        """Return the learner's name."""
        return str(self.metadata.get("learner", "unknown learner"))

    @property
    def seed(self) -> int | None:
        """Return the run's seed."""
        return self.metadata.get("seed")

    @property
    def has_all_transfers(self) -> bool:
        """Return whether ``transfers`` has all of them; a scenario can ask for fewer (``records.transfers``)."""
        records = self.scenario.get("records")
        return not isinstance(records, dict) or records.get("transfers", "all") == "all"

    @property
    def surrogate(self) -> bool:
        """Return whether the data was surrogate data; then accuracies say nothing about the real set."""
        return bool((self.metadata.get("data") or {}).get("surrogate", False))

    @property
    def asked(self) -> pd.DataFrame:
        """Return the rows of ``rounds`` in which a device was to take part: all but those not chosen by a server.

        A device that was not chosen had no work to finish; its idling or its death says nothing about the learning.
        """
        rounds = self.rounds
        touched = (rounds[["flops", "received", "missed"]] != 0).any(axis=1)
        return rounds[(rounds["outcome"] != "idle") & (touched | ~rounds["outcome"].isin(["died", "away"]))]

    @property
    def explained(self) -> dict[str, str]:
        """Return the learner's description of each metric; empty if the run has none."""
        return dict(self.metadata.get("metrics") or {})

    @property
    def modalities(self) -> list[str]:
        """Return every modality that some device owns, in alphabetical order."""
        return sorted({m for owns in self.devices["modalities"].fillna("") for m in owns.split("+") if m})

    @property
    def dead(self) -> list[int]:
        """Return the devices whose batteries became empty."""
        return sorted(
            self.spending.loc[self.spending["outcome"] == "died", "device"].astype(int).unique().tolist()
        )

    @property
    def spending(self) -> pd.DataFrame:
        """Return the rows of ``rounds`` and ``outside``, by device and time: all that devices spent."""
        outside = self.outside[self.outside["device"].isin(self.devices["device"])]
        rows = pd.concat([self.rounds, outside]) if len(outside) else self.rounds
        return rows.sort_values(["device", "end_s", "round"], kind="stable", ignore_index=True)

    @property
    def progress(self) -> str:
        """Return its status and how far it came; metadata does not say the latter before the run has ended."""
        status, asked = self.metadata.get("status", "?"), self.metadata.get("rounds", "?")
        if status == "running":
            last = self.rounds["round"].max() if len(self.rounds) else 0
            return f"running or killed, records up to round {last} of {asked}"
        why = f", stopped: {self.metadata['stopped']}" if self.metadata.get("stopped") else ""
        return f"{status}, {self.metadata.get('rounds_finished', '?')} of {asked} rounds{why}"

    def __repr__(self) -> str:
        """Return where it is and how far it came; not all its tables."""
        return f"<Run {self.folder}: {self.progress}>"


def load_run(folder: str | Path) -> Run:
    """Read a run folder, also that of a run that is not finished or was killed.

    Args:
        folder: ``runs/<scenario>/<run id>``.

    Raises:
        RunError: It is not a run folder, one of another version, or a file in it cannot be read.
    """
    folder = Path(folder)
    metadata = folder / "metadata.json"
    if not metadata.is_file():
        raise RunError(_no_run(folder))
    summary, scenario = folder / "summary.json", folder / "scenario.yaml"
    if not scenario.is_file():
        raise RunError(f"{scenario}: missing, though metadata.json is there; a run folder keeps its scenario")
    nodes = _read_table(folder, "devices")
    if not len(nodes) or nodes["device"].duplicated().any():
        raise RunError(f"{folder}/devices.parquet: must have a row for each device, and no more: damaged")
    links = _read_table(folder, "links")
    if not links[["a", "b"]].isin(set(nodes["device"])).all(axis=None):
        raise RunError(
            f"{folder}/links.parquet: has an end that is not in devices.parquet: one of them is damaged"
        )
    is_server = (
        nodes["role"].isin(["server", "cloud"]) if "role" in nodes else pd.Series(False, index=nodes.index)
    )
    return Run(
        folder=folder,
        metadata=_read_metadata(metadata),
        summary=read_json(summary) if summary.is_file() else None,
        scenario=read_yaml(scenario),
        devices=nodes[~is_server],
        server=nodes[is_server],
        links=links,
        rounds=_read_table(folder, "rounds"),
        outside=_read_table(folder, "outside"),
        charges=_read_table(folder, "charges"),
        transfers=_read_table(folder, "transfers"),
        metrics=_read_table(folder, "metrics"),
        positions=_read_table(folder, "positions"),
    )


def latest_run(runs_folder: str | Path = "runs", scenario: str | None = None) -> Path:
    """Return the folder of the run that was written to last, of one scenario or of all.

    Raises:
        RunError: There is none.
    """
    pattern = f"{scenario or '*'}/*/metadata.json"
    found = sorted(Path(runs_folder).glob(pattern), key=lambda file: (file.stat().st_mtime_ns, str(file)))
    if not found:
        raise RunError(
            f"{Path(runs_folder) / pattern}: no run found; run a scenario first: netsim run SCENARIO"
        )
    return found[-1].parent


def _no_run(folder: Path) -> str:
    if not folder.exists():
        return f"{folder}: no such folder; give a run folder, runs/<scenario>/<run id>"
    below = sorted(
        {file.parent for file in [*folder.glob("*/metadata.json"), *folder.glob("*/*/metadata.json")]}
    )
    if below:
        return f"{folder}: not a run folder (no metadata.json); it holds runs, did you mean {below[-1]}?"
    return f"{folder}: not a run folder (no metadata.json); give a folder like runs/<scenario>/<run id>"


def _read_metadata(path: Path) -> dict[str, Any]:
    content = read_json(path)
    for key, kind in METADATA.items():
        value = content.get(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise RunError(
                f"{path}: {key}: must be of type {kind}, found {str(value)[:80]!r}; the run may have been damaged"
            )
    if content.get("schema") not in SCHEMAS:
        raise RunError(
            f"{path}: schema: {content.get('schema')!r} is not one that this version can read "
            f"({', '.join(map(str, SCHEMAS))}); the program that wrote the run can, or run it anew"
        )
    return content


def _read_table(folder: Path, table: str) -> pd.DataFrame:
    """Read a table: one file, or a folder of parts while the run goes on; empty if it is not written yet."""
    path = folder / f"{table}.parquet"
    # A part has this name only when it is complete; the name of an incomplete part begins with a dot. The hidden folder
    # has the parts where the disk has no links, and of runs of older versions that were killed at their end.
    within = path if path.is_dir() else path.with_name(f".{path.name}.parts")
    parts = [path] if path.is_file() else sorted(within.glob("part-*.parquet"))
    if not parts:
        if table in GROWING_TABLES:
            return _empty(table)
        raise RunError(f"{path}: missing; it is written before the first event, so this run never began")
    frames = []
    for part in parts:
        try:
            frames.append(pd.read_parquet(part))
        except Exception as error:  # of a damaged file: of many kinds
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise RunError(f"{part}: not readable as Parquet ({reason}); run the scenario again") from error
    frames = [frame for frame in frames if len(frame)] or frames[:1]
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    _check_columns(frame, path, COLUMNS[table])
    return frame


def _check_columns(frame: pd.DataFrame, path: Path, needed: list[str]) -> None:
    """Check that a table has the columns that it needs, and that all are of their type; those of older runs are fewer.

    Raises:
        RunError: One is missing, or has values of another type.
    """
    for name in needed:
        if name not in frame:
            has = ", ".join(map(str, frame.columns))[:300]
            raise RunError(
                f"{path}: has no column {name!r}; it has {has or 'none'}: damaged, or of another version"
            )
    for name in frame.columns:
        values = frame[name]
        if name in TEXT_COLUMNS:
            kind, fits = "text", all(isinstance(one, str) for one in values.dropna().unique())
        elif name in NUMBER_COLUMNS:
            kind, fits = (
                "whole numbers",
                bool(pd.api.types.is_integer_dtype(values) and (values.abs() < 2**40).all()),
            )
        else:
            kind, fits = "numbers", pd.api.types.is_numeric_dtype(values)
        if not fits:
            raise RunError(
                f"{path}: {name}: must be {kind}, found {values.dtype}: damaged, or of another version"
            )


def _empty(table: str) -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.Series(dtype="str" if name in TEXT_COLUMNS else float) for name in GROWING_TABLES[table]}
    )
