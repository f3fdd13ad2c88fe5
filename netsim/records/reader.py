"""Reads tables of a run that has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from netsim.core.errors import ScenarioError
from netsim.events import columns
from netsim.records.writer import schema_of


def read_columns(folder: Path, table: str) -> list[list[Any]]:
    """Return the columns of ``table``, those of its rows in ``netsim.events``; empty ones if the run has no such table.

    Raises:
        ScenarioError: It is that of another version, or damaged.
    """
    path, names = folder / f"{table}.parquet", [column.name for column in columns(table)]
    if not path.exists():
        return [[] for _ in names]
    try:
        # The other function brings pandas with it, which takes longer than most tables.
        found = pq.ParquetFile(path).read() if path.is_file() else pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ScenarioError(f"{path}: cannot be read ({' '.join(str(error).split())}); run it anew") from None
    if missing := [name for name in names if name not in found.column_names]:
        raise ScenarioError(f"{path}: has no column {missing[0]!r}: written by another version; run it anew")
    values = []
    for field in schema_of(table):
        column = found.column(field.name)
        kind = f"{column.type}{' with gaps' if column.null_count else ''}"
        try:
            same = column if column.type == field.type else column.cast(field.type)
            values.append(same.to_pylist())
        except (pa.ArrowException, ValueError):
            kind = f"{kind}, not all of them such"
        if kind != str(column.type):
            raise ScenarioError(
                f"{path}: {field.name}: must be {field.type} in every row, found {kind}: damaged, or written by "
                "another version; run it anew"
            )
    return values
