"""Checksums of a run's files, with which it can be found out later whether they are still what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netsim.core.files import write_whole

CHECKSUMS = "checksums.sha256"
"""A line a file, as ``sha256sum`` writes and reads them."""


def checksums_of(folder: Path) -> str:
    """Return the checksums of all files of a run that has ended, but not of what was drawn of it since.

    Raises:
        OSError: A file cannot be read.
    """
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    lines = []
    for name in names:
        if name == CHECKSUMS or is_drawn(name) or any(part.startswith(".") for part in name.split("/")):
            continue
        with (folder / name).open("rb") as content:
            lines.append(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {name}\n")
    return "".join(lines)


def is_drawn(name: str) -> bool:
    """Return whether a file is a plot or a page, which ``analysis`` draws when it is asked to, and adds itself."""
    return name.startswith("plots/") or name.endswith(".html")


def write_checksums(folder: Path) -> None:
    """Write the checksums of all files of a run that has ended.

    Raises:
        OSError: A file cannot be read, or this one not written.
    """
    write_whole(folder / CHECKSUMS, checksums_of(folder).encode())


def has_finished(folder: Path, metadata: Mapping[str, Any]) -> bool:
    """Return whether all of a run is done, of which ``metadata`` tells; its checksums are written last."""
    return bool(metadata["status"] == "finished") and (folder / CHECKSUMS).is_file()
