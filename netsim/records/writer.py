"""Writers of tables: several parts while the run goes on, one file per table at the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from netsim.events import columns, joined, runs

ROW_GROUP = 65_536
"""Rows of a row group; memory holds at most this many rows and those flushed last."""

_ARROW = {int: pa.int64(), float: pa.float64(), str: pa.string()}
_WHOLE = ".whole"


def schema_of(table: str, extra: Sequence[str] = ()) -> pa.Schema:
    """Return the Arrow schema of ``table``, with the columns ``extra`` of whole numbers after its own."""
    own = [(column.name, _ARROW[column.type]) for column in columns(table)]
    return pa.schema([*own, *((name, pa.int64()) for name in extra)])


class TableWriter:
    """A writer of one table of a run folder.

    While the run goes on, ``<name>.parquet`` is a folder of parts; pandas and Arrow read it like a file. A part gets
    its name when it is complete on disk, so the records of a killed run are readable. ``close`` leaves one file. It
    grows beside the parts, hidden, by row groups of equal size, so it does not depend on the times of writing.
    """

    def __init__(self, folder: Path, table: str, extra: Sequence[str] = ()) -> None:
        self.path = folder / f"{table}.parquet"
        self.schema = schema_of(table, extra)
        self._rows: list[tuple[Any, ...]] = []
        self._parts = 0
        self._waiting: list[pa.Table] = []  # until a row group is full
        self._whole: pq.ParquetWriter | None = None
        # Texts and small numbers repeat; times and energies do not, so a dictionary does not help them.
        self._repeating = [field.name for field in self.schema if field.type != pa.float64()]

    def add(self, row: tuple[Any, ...], extra: Sequence[int] = ()) -> None:
        """Keep ``row`` and its values of the extra columns until the next flush."""
        self._rows.append((*row, *extra) if extra else row)

    def add_all(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Keep ``rows`` until the next flush."""
        self._rows.extend(rows)

    def _columns(self) -> list[Any]:
        """Take out the kept rows, by column; empty if there are none."""
        rows, self._rows = self._rows, []
        return list(zip(*rows, strict=True))

    def _take(self) -> pa.Table:
        columns = self._columns() or [()] * len(self.schema)
        return pa.table(
            [pa.array(values, type=field.type) for values, field in zip(columns, self.schema, strict=True)],
            schema=self.schema,
        )

    def flush(self) -> None:
        """Write the kept rows as a part."""
        table = self._take()
        if not len(table):
            return
        self.path.mkdir(exist_ok=True)
        part = self.path / f"part-{self._parts:06d}.parquet"
        hidden = part.with_name(f".{part.name}")
        self._parts += 1
        # First, so that nothing is lost if Ctrl-C interrupts the writing of the part.
        self._waiting.append(table)
        pq.write_table(table, hidden, use_dictionary=self._repeating)
        hidden.rename(part)
        self._grow(at_least=ROW_GROUP)

    def close(self) -> None:
        """Write the kept rows, and replace the parts with one file."""
        self.path.mkdir(exist_ok=True)
        self._waiting.append(self._take())
        self._grow(at_least=0)
        assert self._whole is not None
        self._whole.close()
        parts = self.path.with_name(f".{self.path.name}.parts")
        self.path.rename(parts)
        (parts / _WHOLE).rename(self.path)
        shutil.rmtree(parts, ignore_errors=True)

    def _grow(self, at_least: int) -> None:
        """Add waiting rows to the one file if there are ``at_least`` so many: full row groups, or with 0 all rows."""
        rows = sum(map(len, self._waiting))
        if rows < at_least:
            return
        if self._whole is None:
            self._whole = pq.ParquetWriter(self.path / _WHOLE, self.schema, use_dictionary=self._repeating)
        waiting = pa.concat_tables(self._waiting)
        full = rows - rows % ROW_GROUP if at_least else rows
        if full:
            self._whole.write_table(waiting.slice(0, full).combine_chunks(), ROW_GROUP)
        self._waiting = [waiting.slice(full).combine_chunks()]


class BatchWriter(TableWriter):
    """A writer of a table of batches: each column is an array, a sequence of texts, or one value for all rows."""

    def __init__(self, folder: Path, table: str) -> None:
        super().__init__(folder, table)
        self._values = attrgetter(*(column.name for column in columns(table)))
        self._lengths: list[int] = []

    def add_batch(self, batch: Any) -> None:
        """Keep ``batch`` until the next flush. It has an attribute for each column, and a length."""
        self._rows.append(self._values(batch))
        self._lengths.append(len(batch))

    def _columns(self) -> list[Any]:
        lengths, self._lengths = self._lengths, []
        return [
            _repeated(*runs(pieces, lengths)) if field.type == pa.string() else joined(pieces, lengths)
            for field, pieces in zip(self.schema, super()._columns(), strict=False)
        ]


def _repeated(texts: Sequence[str], times: Sequence[int]) -> pa.Array:
    """Return each text repeated as often as ``times`` says; Arrow repeats faster than Python."""
    return pa.array(texts, type=pa.string()).take(np.repeat(np.arange(len(texts)), times))
