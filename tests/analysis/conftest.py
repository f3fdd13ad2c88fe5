"""Run folders for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folders import device, write_run

from analysis import Run, load_run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Write a run folder from rows and read it back."""

    def make(name: str = "run-1", **tables: Any) -> Run:
        tables.setdefault("devices", [device(0), device(1)])
        return load_run(write_run(tmp_path / "runs" / "tiny" / name, **tables))

    return make
