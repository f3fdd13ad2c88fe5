"""The root folder of a data set that the user provides."""

from __future__ import annotations

import os
from pathlib import Path

from netsim.core.errors import ScenarioError


def find_root(given: Path | None, variable: str, way_out: str) -> Path:
    """Return the folder ``data.root``, or if that does not exist, the one that the environment ``variable`` names.

    Args:
        given: ``data.root`` of the scenario.
        variable: Name of the environment variable.
        way_out: Advice for the error.

    Raises:
        ScenarioError: Neither is a folder; names both.
    """
    named = os.environ.get(variable)
    looked_at = [root.expanduser() for root in (given, Path(named) if named else None) if root is not None]
    for root in looked_at:
        if root.is_dir():
            return root
    found = (
        f"{' and '.join(map(str, looked_at))} is not a folder"
        if looked_at
        else f"is not given, and {variable} is not set"
    )
    raise ScenarioError(f"data.root: {found}. {way_out}")
