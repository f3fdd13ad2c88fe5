"""Writers of tables: several parts while the run goes on, one file per table at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from netsim.core.errors import ScenarioError
from netsim.events import columns, joined, runs

ROW_GROUP = 65_536
"""Rows of a row group; memory holds at most this many rows and those flushed last."""

_ARROW = {int: pa.int64(), float: pa.float64(), str: pa.string()}
_WHOLE = ".whole"
_PART = "part-"


def schema_of(table: str, extra: Sequence[str] = (), without: Sequence[str] = ()) -> pa.Schema:
    """Return the Arrow schema of ``table``, without some last columns and with ``extra`` ones of whole numbers."""
    own = [(column.name, _ARROW[column.type]) for column in columns(table) if column.name not in without]
    return pa.schema([*own, *((name, pa.int64()) for name in extra)])


def as_array(values: Any, kind: pa.DataType) -> pa.Array:
    """Return ``values`` as an Arrow array of ``kind``; Arrow's own function asks pandas, which takes long to import."""
    if isinstance(values, pa.Array):
        return values
    if kind != pa.string():
        numbers = np.ascontiguousarray(values, dtype=np.int64 if kind == pa.int64() else np.float64)
        return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])
    texts = [text.encode() for text in values]
    ends = np.cumsum([0, *map(len, texts)])
    if ends[-1] >= 2**31:  # the offsets of an array have 32 bits
        return pa.array(values, type=kind)
    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(kind, len(texts), buffers)


def _empty(schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays([as_array((), field.type) for field in schema], schema=schema)


class TableWriter:
    """A writer of one table of a run folder.

    While the run goes on, ``<name>.parquet`` is a link to a hidden folder of parts; pandas and Arrow read it like a
    file. A part gets its name when it is complete on disk, so the records of a killed run are readable. ``close`` puts
    one file in the link's place, in one step. The file grows beside the parts, hidden, by row groups of equal size, so
    it does not depend on the times of writing. Where a disk has no links, only ``analysis`` finds the parts.
    """

    def __init__(
        self, folder: Path, table: str, extra: Sequence[str] = (), without: Sequence[str] = ()
    ) -> None:
        self.table = table
        self.path = folder / f"{table}.parquet"
        self._folder = folder / f".{table}.parquet.parts"
        self.schema = schema_of(table, extra, without)
        self._rows: list[tuple[Any, ...]] = []
        self._parts = 0
        self._unwritten: list[pa.Table] = []  # in no part yet
        self._waiting: list[pa.Table] = []  # until a row group is full
        self._whole: pq.ParquetWriter | None = None
        self._known: pa.Table = _empty(self.schema)  # will come again
        # Texts and small numbers repeat; times and energies do not, so a dictionary does not help them.
        self._repeating = [field.name for field in self.schema if field.type != pa.float64()]

    def adopt(self) -> pa.Table:
        """Take over what an earlier process has written of the table, up to the first part that cannot be read.

        The same rows must come again. They are compared, and not written twice.

        Returns:
            These rows.

        Raises:
            ScenarioError: They have other columns.
        """
        if self.path.is_file() and not self.path.is_symlink():
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            self.path.rename(self._folder / f"{_PART}000000.parquet")
        found: list[pa.Table] = []
        if self._folder.is_dir():
            self._make_folder()
        for part in sorted(self._folder.glob(f"{_PART}*.parquet")):
            with suppress(OSError, pa.ArrowException):
                if part.name == self._part_name(len(found)):
                    found.append(pq.read_table(part))
                    continue
            break
        for table in found:
            if table.schema != self.schema:
                raise ScenarioError(
                    f"{self.path}: was written by another version of the program; run it anew"
                )
        for file in self._folder.glob(".*"):
            file.unlink(missing_ok=True)
        for part in self._folder.glob(f"{_PART}*.parquet"):
            if part.name >= self._part_name(len(found)):
                part.unlink()
        self._parts, self._waiting = len(found), list(found)
        self._known = pa.concat_tables([*found, self._known])
        return self._known

    def cut(self, count: int) -> None:
        """Give up the adopted rows but the first ``count``; what comes in their place may be other rows.

        At any moment what is on disk is a beginning of what was there.
        """
        end = len(self._known)
        for number, part in reversed([*enumerate(self._waiting)]):
            begin = end - len(part)
            if begin >= count:
                (self._folder / self._part_name(number)).unlink()
                self._parts = number
            elif end > count:
                self._write_part(number, part.slice(0, count - begin))
            end = begin
        self._known = self._known.slice(0, count)
        self._waiting = [self._known]

    @property
    def owes(self) -> bool:
        """Return whether rows that an earlier process has written have not come again."""
        return len(self._known) > 0

    def _part_name(self, number: int) -> str:
        return f"{_PART}{number:06d}.parquet"

    def _compared(self, table: pa.Table) -> pa.Table:
        """Return the rows of ``table`` that are not known yet.

        Raises:
            ScenarioError: The others are not those that are known.
        """
        count = min(len(table), len(self._known))
        for column in self.schema.names if count else ():
            now, then = (_bits(rows.column(column).slice(0, count)) for rows in (table, self._known))
            if not now.equals(then):
                row = next(k for k in range(count) if now[k] != then[k])
                now, then = (rows.column(column)[row].as_py() for rows in (table, self._known))
                raise ScenarioError(
                    f"{self.path}: row {row}, {column}: was {then!r}, and comes out as {now!r} now: the program, the "
                    "learner or the data are not those of the run; run it anew"
                )
        self._known = self._known.slice(count)
        return table.slice(count)

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
            [as_array(values, field.type) for values, field in zip(columns, self.schema, strict=True)],
            schema=self.schema,
        )

    def flush(self) -> None:
        """Write the kept rows as a part. If that fails with an OSError, they are kept for the next call."""
        self._unwritten.append(self._compared(self._take()))
        table = pa.concat_tables(self._unwritten)
        if not len(table):
            return
        self._make_folder()
        self._write_part(self._parts, table)
        self._parts += 1
        self._unwritten = []
        self._waiting.append(table)
        self._grow(at_least=ROW_GROUP)

    def _write_part(self, number: int, table: pa.Table) -> None:
        part = self._folder / self._part_name(number)
        hidden = part.with_name(f".{part.name}")
        try:
            pq.write_table(table, hidden, use_dictionary=self._repeating, write_statistics=False)
            hidden.rename(part)
        except OSError:
            hidden.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Write the kept rows, and replace the parts with one file; the parts stay if that fails with an OSError."""
        self.flush()
        self._make_folder()
        try:
            self._grow(at_least=0)
            assert self._whole is not None
            self._whole.close()
            os.replace(self._folder / _WHOLE, self.path)
        except OSError:
            self.make_room()
            raise
        shutil.rmtree(self._folder, ignore_errors=True)

    def make_room(self) -> None:
        """Give up the one file, whose rows are in the parts, too; the table stays a folder of parts."""
        (self._folder / _WHOLE).unlink(missing_ok=True)
        if self._whole is not None and self._whole.is_open:
            self._whole.is_open = False  # else it would write its end, into no room
            self._whole.file_handle.close()
        self._whole = None

    def _make_folder(self) -> None:
        self._folder.mkdir(exist_ok=True)
        with suppress(OSError):  # it is there already, or the disk has no links
            self.path.symlink_to(self._folder.name, target_is_directory=True)

    def _grow(self, at_least: int) -> None:
        """Add waiting rows to the one file if there are ``at_least`` so many: full row groups, or with 0 all rows."""
        rows = sum(map(len, self._waiting))
        if rows < at_least:
            return
        if self._whole is None:
            self._whole = pq.ParquetWriter(self._folder / _WHOLE, self.schema, use_dictionary=self._repeating)
        waiting = pa.concat_tables([*self._waiting, _empty(self.schema)])
        full = rows - rows % ROW_GROUP if at_least else rows
        for since in range(0, full, ROW_GROUP):  # so that no more than that is copied at a time
            self._whole.write_table(waiting.slice(since, ROW_GROUP).combine_chunks(), ROW_GROUP)
        self._waiting = [waiting.slice(full).combine_chunks()]


class BatchWriter(TableWriter):
    """A writer of a table of batches: each column is an array, a sequence of texts, or one value for all rows."""

    def __init__(
        self, folder: Path, table: str, extra: Sequence[str] = (), without: Sequence[str] = ()
    ) -> None:
        super().__init__(folder, table, extra, without)
        self._lengths: list[int] = []

    def add_batch(self, columns: Sequence[Any], count: int) -> None:
        """Keep a batch of ``count`` rows until the next flush."""
        self._rows.append(tuple(columns))
        self._lengths.append(count)

    @property
    def waiting(self) -> int:
        """Return the number of rows that wait for the next flush."""
        return sum(self._lengths)

    def _columns(self) -> list[Any]:
        lengths, self._lengths = self._lengths, []
        return [
            _repeated(*runs(pieces, lengths)) if field.type == pa.string() else joined(pieces, lengths)
            for field, pieces in zip(self.schema, super()._columns(), strict=False)
        ]


def _repeated(texts: Sequence[str], times: Sequence[int]) -> pa.Array:
    """Return each text repeated as often as ``times`` says; Arrow repeats faster than Python."""
    rows = np.repeat(np.arange(len(texts)), times)
    return as_array(texts, pa.string()).take(as_array(rows, pa.int64()))


def _bits(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ``column`` with its bits in place of floating-point numbers, of which NaN is not itself."""
    if column.type != pa.float64():
        return column
    return pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64())
