"""Writes tables as the run goes: one part per closed round, one file per table at the end."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from netsim.records.tables import TABLES

_ARROW = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}


def schema_of(table: str, extra: Sequence[str] = ()) -> pa.Schema:
    """Arrow schema of ``table``, with whole-number columns ``extra`` behind its own."""
    own = [(f.name, _ARROW[str(f.type)]) for f in fields(TABLES[table])]
    return pa.schema([*own, *((name, pa.int64()) for name in extra)])


class TableWriter:
    """One table of a run folder.

    While the run goes, ``<name>.parquet`` is a folder of parts, which pandas and Arrow read like a file; each part is
    whole on disk before it bears its name, so what a killed run leaves is readable. ``close`` makes it one file.
    """

    def __init__(self, folder: Path, table: str, extra: Sequence[str] = ()) -> None:
        self.path = folder / f"{table}.parquet"
        self.schema = schema_of(table, extra)
        self._rows: list[tuple[Any, ...]] = []
        self._parts: list[pa.Table] = []
        self._own = [f.name for f in fields(TABLES[table])]
        self._extra = list(extra)

    def add(self, row: Any, extra: Mapping[str, int] | None = None) -> None:
        """Keep ``row`` until the next flush."""
        beside = extra or {}
        self._rows.append(
            (*(getattr(row, name) for name in self._own), *(beside.get(name, 0) for name in self._extra))
        )

    def _table(self) -> pa.Table:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self.schema)
        self._rows = []
        return pa.table(
            [pa.array(values, type=field.type) for values, field in zip(columns, self.schema, strict=True)],
            schema=self.schema,
        )

    def flush(self) -> None:
        """Write what was kept as a part."""
        if not self._rows:
            return
        self.path.mkdir(exist_ok=True)
        part = self.path / f"part-{len(self._parts):06d}.parquet"
        hidden = part.with_name(f".{part.name}")
        self._parts.append(self._table())
        pq.write_table(self._parts[-1], hidden)
        hidden.rename(part)

    def close(self) -> None:
        """Make one file of all parts."""
        whole = pa.concat_tables([*self._parts, self._table()])
        hidden = self.path.with_name(f".{self.path.name}")
        pq.write_table(whole, hidden)
        parts = self.path.with_name(f".{self.path.name}.parts")
        if self.path.is_dir():
            self.path.rename(parts)
        hidden.rename(self.path)
        shutil.rmtree(parts, ignore_errors=True)
