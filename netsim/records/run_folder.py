"""A run's folder: scenario, metadata, tables, summary."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa

from netsim.core.errors import ScenarioError
from netsim.core.files import write_whole
from netsim.core.interrupts import held, raise_again
from netsim.core.names import file_name
from netsim.events import (
    AnswerRow,
    ChargeRow,
    EdgeRow,
    MetricRow,
    Observer,
    RoundBatch,
    RowBatch,
    ServerRow,
    TransferBatch,
    TransferRow,
)
from netsim.records.lock import Lock
from netsim.records.writer import BatchWriter, TableWriter
from netsim.scenario.yaml_file import write_yaml

SCHEMA = 1
"""Version of the folder's layout; docs/records.md describes it."""

SNAPSHOTS = "snapshots"
"""Folder in it of what a run that was ended can go on from."""

MODELS = "models"
"""Folder in it of models."""

LEARNT = "metrics", "answers"
"""Tables of what is learnt; the others are the clock's."""

Writer = TypeVar("Writer", bound=TableWriter)


def plain(value: Any) -> Any:
    """Return ``value`` with types of strict JSON only; a number that is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)


def plain_json(value: Any) -> str:
    """Return ``value`` as strict JSON; a number that is not finite becomes null."""
    return json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def new_folder(runs: Path, scenario: str, seed: int, run_id: str | None, default: str = "") -> Path:
    """Make the folder of a new run, ``runs/<scenario>/<run id>``; the default id is time and seed."""
    for word, text in (("--run-id", run_id), ("the scenario's name, or that of its file,", scenario)):
        if text is not None:
            try:
                file_name(text)
            except ValueError as error:
                raise ScenarioError(f"{word} {error}") from None
    base = run_id or default or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-seed{seed}"
    for number in range(1, 1000):
        folder = runs / scenario / (base if number == 1 else f"{base}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if run_id is not None:
                raise ScenarioError(
                    f"--run-id {run_id}: {folder} exists; choose another id or remove the folder"
                ) from None
        except OSError as error:
            raise ScenarioError(
                f"{folder}: cannot be made: {error.strerror}; choose a folder with --runs"
            ) from None
    raise ScenarioError(f"{runs / scenario}: no free name for a run")


class Recorder(Observer):
    """An observer that writes a run's folder while the run goes on.

    When a round closes, all records so far are written to disk, unless the last write was less than
    :attr:`PAUSE_S` seconds of real time ago, or writing would take more than a :attr:`SHARE` of the time. Where a
    round takes milliseconds, writing after each round would take longer than the rounds. However slow the disk is, it
    pauses no longer than :attr:`LONGEST_PAUSE_S`.

    Attributes:
        problem: Why the folder could not be written, the first time; None if it could.
        safe_rounds: The last round whose records were written when it was closed, 0 before.
        known: Rows of the tables ``metrics`` and ``answers`` that were there, of a run that goes on.
    """

    PAUSE_S = 1.0
    LONGEST_PAUSE_S = 10.0
    SHARE = 0.01
    WAITING = 2_000_000
    """Transfers that are kept in memory at most, where rounds are long in closing."""
    RESERVED_BYTES = 1 << 18
    """Room that is kept from the start, for the summary and the last records of a run whose disk is full."""

    def __init__(
        self,
        folder: Path,
        scenario: Mapping[str, Any],
        metadata: Mapping[str, Any],
        devices: RowBatch,
        links: RowBatch,
        modalities: Sequence[str],
        transfers: Literal["all", "summary"] | int = "all",
        lossy: bool = False,
        keeps_snapshot: bool = False,
        goes_on: Lock | None = None,
    ) -> None:
        """Begin a run's folder, or go on in it.

        Args:
            folder: The folder.
            scenario: The scenario, with all defaults.
            metadata: What is known before the first event.
            devices: Rows of the table ``devices``.
            links: Rows of the table ``links``.
            modalities: Modalities of the data.
            transfers: What is written of the table ``transfers``.
            lossy: Whether bits of transfers can be lost.
            keeps_snapshot: Whether the last snapshot of a run that finishes stays.
            goes_on: The lock of the folder of a run that goes on from its first event; None for a new one.

        Raises:
            ScenarioError: A run that goes on is not the one that was recorded.
        """
        self.folder = folder
        self._lock = goes_on or Lock(folder)
        self._goes_on = goes_on is not None
        self._keeps_snapshot = keeps_snapshot
        self._clock_may_differ = False  # from what a run that goes on has recorded
        self.metadata: dict[str, Any] = {"schema": SCHEMA, **metadata, "status": "running"}
        if goes_on is None:
            text = write_yaml(dict(scenario))
            (folder / "scenario.yaml").write_text(text, encoding="utf-8")
            self.metadata["scenario_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        for table, batch in (("devices", devices), ("links", links)):
            writer = self._made(BatchWriter(folder, table))
            writer.add_batch(batch.columns, batch.count)
            writer.close()
        self.known: dict[str, pa.Table] = {}
        self._modalities = list(modalities)
        self._every = {"all": 1, "summary": 0}[transfers] if isinstance(transfers, str) else transfers
        self._rounds = self._made(BatchWriter(folder, "rounds", [f"iterations_{m}" for m in modalities]))
        self._outside = self._made(BatchWriter(folder, "outside"))
        self._transfers = self._made(
            BatchWriter(folder, "transfers", without=() if lossy else ("lost_bits",))
        )
        self._metrics = self._made(TableWriter(folder, "metrics"))
        self._of_some_runs: dict[str, TableWriter] = {}
        # What is learnt is written first: of what the clock made of it, no row may be on disk before it.
        self._writers: tuple[TableWriter, ...] = (
            self._metrics,
            self._rounds,
            self._outside,
            self._transfers,
        )
        for table in ("server", "answers"):
            if self._goes_on and any(folder.glob(f"*{table}.parquet*")):
                self._writer(table)
        for ended in ("summary.json", "checksums.sha256"):
            (folder / ended).unlink(missing_ok=True)
        self.write_metadata()
        self._reserve = folder / ".reserve"
        self._reserve.write_bytes(bytes(self.RESERVED_BYTES))
        self._due_s = -math.inf
        self.problem: OSError | None = None
        self._differs = False  # from the records that were there
        self.safe_rounds = 0

    def _made(self, writer: Writer) -> Writer:
        """Return ``writer``; where the run goes on, with the rows that are there."""
        if self._goes_on:
            rows = writer.adopt()
            if writer.table in LEARNT:
                self.known[writer.table] = rows
            elif self._clock_may_differ:
                writer.cut(0)
        return writer

    def cut(self, closed: int, metrics: int, answers: int, stops: bool) -> None:
        """Give up rows and models of a run that goes on after a snapshot, for it may learn otherwise from there.

        Training whose sums are cut up by what is fastest at the time differs by rounding. Where the clock has waited
        for what was learnt after the snapshot, or may end with it, it may differ too, and all that it told is given
        up: it comes again. That goes first, so that who is killed meanwhile finds again why.

        Args:
            closed: Rounds up to the snapshot, 0 without one.
            metrics: Rows of the table ``metrics`` up to it.
            answers: Likewise of the table ``answers``.
            stops: Whether the run ends where a metric says so.
        """
        known = {table: len(rows) for table, rows in self.known.items()}
        waited = known.get("answers", 0) > answers
        if waited or (stops and known["metrics"] > metrics):
            self._clock_may_differ = True
            for writer in self._writers:
                if writer.table not in LEARNT:
                    writer.cut(0)
        if waited:
            self._writer("answers").cut(answers)
        self._metrics.cut(metrics)
        for models in (self.folder / MODELS).glob("round-*"):
            if models.name > f"round-{closed:06d}":
                shutil.rmtree(models)

    def write_metadata(self, **changes: Any) -> None:
        """Write ``metadata.json`` again, updated with ``changes``."""
        self.metadata.update(changes)
        self._write("metadata.json", self.metadata)

    def on_transfers(self, batch: TransferBatch) -> None:
        """Add rows to ``transfers``, those that the scenario asks for."""
        kept = batch.of_rounds(self._every) if self._every else None
        if kept is not None:
            self._transfers.add_batch([getattr(kept, name) for name in TransferRow._fields], len(kept))
            if self._transfers.waiting > self.WAITING:
                self._write_rows()

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        """Add rows to ``metrics``."""
        self._metrics.add_all(rows)

    def on_rounds(self, batch: RoundBatch) -> None:
        """Add rows to ``rounds``."""
        iterations = [batch.iterations.get(m, 0) for m in self._modalities]
        self._rounds.add_batch([*batch.columns, *iterations], batch.count)

    def on_outsides(self, batch: RowBatch) -> None:
        """Add rows to ``outside``."""
        self._outside.add_batch(batch.columns, batch.count)

    def on_positions(self, batch: RowBatch) -> None:
        """Add rows to ``positions``; only runs whose devices move have this table."""
        self._writer("positions").add_all(batch.rows())

    def on_server_round(self, row: ServerRow) -> None:
        """Add a row to ``server``; only runs with a server have this table."""
        self._writer("server").add(row)

    def on_edge_round(self, row: EdgeRow) -> None:
        """Add a row to ``edges``; only runs with a cloud have this table."""
        self._writer("edges").add(row)

    def on_charge(self, row: ChargeRow) -> None:
        """Add a row to ``charges``; only runs whose batteries take in or lose energy have this table."""
        self._writer("charges").add(row)

    def on_answers(self, rows: Sequence[AnswerRow]) -> None:
        """Add rows to ``answers``; only runs whose clock has waited for learning have this table."""
        if rows:
            self._writer("answers").add_all(rows)

    def _writer(self, table: str) -> TableWriter:
        """Return the writer of a table that only some runs have."""
        if table not in self._of_some_runs:
            self._of_some_runs[table] = self._made(TableWriter(self.folder, table))
            new, (metrics, *others) = self._of_some_runs[table], self._writers
            self._writers = (metrics, new, *others) if table in LEARNT else (metrics, *others, new)
        return self._of_some_runs[table]

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Write all records so far to disk, unless that was done recently."""
        raise_again()
        if time.monotonic() >= self._due_s:
            self._write_rows()
            self.safe_rounds = round

    def on_snapshot(self, file: Path | None, took_s: float, problem: str = "") -> None:
        """Make a snapshot valid, now that all records up to it are on disk; keep it and the one before."""
        facts = self.metadata.setdefault("snapshots", {"count": 0, "largest_bytes": 0, "wall_s": 0.0})
        if file is None:
            facts["none"] = problem
            return
        self._write_rows()
        begin_s = time.monotonic()
        with suppress(OSError):  # then there is one fewer
            size_bytes = file.stat().st_size
            file.rename(file.with_name(file.name[1:]))
            self._keep_snapshots(file.parent, 2)
            facts["count"] += 1
            facts["largest_bytes"] = max(facts["largest_bytes"], size_bytes)
            facts["wall_s"] += took_s + time.monotonic() - begin_s

    def _keep_snapshots(self, folder: Path, count: int) -> None:
        """Delete all snapshots but the last ``count``."""
        for old in sorted(folder.glob("*.snapshot"))[: -count or None]:
            old.unlink()
        if not count:
            shutil.rmtree(folder, ignore_errors=True)

    def _write_rows(self) -> None:
        """Write all records so far to disk.

        Raises:
            ScenarioError: They cannot be written.
        """
        now_s = time.monotonic()
        with held():
            written = self._all_written(TableWriter.flush)
        if not written:
            raise ScenarioError(f"{self.folder}: {self.problem}")
        end_s = time.monotonic()
        pause_s = min((end_s - now_s) / self.SHARE, self.LONGEST_PAUSE_S)
        self._due_s = end_s + max(self.PAUSE_S, pause_s)

    def close(self, status: str, summary: Mapping[str, Any], **metadata: Any) -> bool:
        """Write the last records, the summary and the metadata, in this order, then merge the parts of each table.

        So a run that is killed meanwhile, or whose disk is full, has all that it needs in its folder.

        Returns:
            Whether the records are whole. Otherwise :attr:`problem` says why; tables are then left in parts.
        """
        with suppress(OSError):
            self._reserve.unlink(missing_ok=True)
        if self._differs:
            self._written(lambda: self.write_metadata(status=status))
            self._lock.release()
            return False
        for writer in self._writers if self.problem else ():
            writer.make_room()
        whole = self._all_written(TableWriter.flush)
        if status == "finished":
            self._check_whole()
        status = status if whole or status != "finished" else "failed"
        whole &= self._written(
            lambda: self._write("summary.json", {"schema": SCHEMA, "status": status, **summary})
        )
        whole &= self._written(lambda: self.write_metadata(status=status, **metadata))
        if not self.problem:
            self._all_written(TableWriter.close)
        if status == "finished":
            with suppress(OSError):
                self._keep_snapshots(self.folder / SNAPSHOTS, int(self._keeps_snapshot))
        self._lock.release()
        return whole

    def _all_written(self, write: Callable[[TableWriter], None]) -> bool:
        """Call ``write`` for every table; return whether all could be written."""
        return all([self._written(lambda writer=writer: write(writer)) for writer in self._writers])  # type: ignore[misc]

    def _written(self, write: Callable[[], None]) -> bool:
        """Call ``write``; return whether it could, and keep why not."""
        try:
            write()
        except OSError as error:
            self.problem = self.problem or error
            return False
        except ScenarioError:
            self._differs = True
            raise
        return True

    def _check_whole(self) -> None:
        """Check that a run that went on has made all rows that were there.

        Raises:
            ScenarioError: It has not.
        """
        if owing := [writer.table for writer in self._writers if writer.owes]:
            raise ScenarioError(
                f"{self.folder}/{owing[0]}.parquet: has rows that do not come again; run it anew"
            )

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        write_whole(self.folder / name, plain_json(value).encode())
