"""Reads tables of a run that has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from netsim.core.errors import ScenarioError
from netsim.events import columns


def read_columns(folder: Path, table: str) -> list[list[Any]]:
    """Return the columns of ``table``, those of its rows in ``netsim.events``; empty ones if the run has no such table.

    Raises:
        ScenarioError: It is that of another version.
    """
    path, names = folder / f"{table}.parquet", [column.name for column in columns(table)]
    if not path.exists():
        return [[] for _ in names]
    found = pq.read_table(path)
    if missing := [name for name in names if name not in found.column_names]:
        raise ScenarioError(f"{path}: has no column {missing[0]!r}: written by another version; run it anew")
    return [found.column(name).to_pylist() for name in names]
