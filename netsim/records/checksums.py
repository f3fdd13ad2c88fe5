"""Checksums of a run's files, with which it can be found out later whether they are still what was written."""

from __future__ import annotations

import hashlib
from pathlib import Path

CHECKSUMS = "checksums.sha256"
"""A line a file, as ``sha256sum`` writes and reads them."""


def checksums_of(folder: Path) -> str:
    """Return the checksums of all files of a run that has ended, but not of plots, which are made anew.

    Raises:
        OSError: A file cannot be read.
    """
    files = sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and not file.name.startswith(".") and file.name != CHECKSUMS
    )
    lines = []
    for file in files:
        with file.open("rb") as content:
            lines.append(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {file.name}\n")
    return "".join(lines)


def write_checksums(folder: Path) -> None:
    """Write the checksums of all files of a run that has ended.

    Raises:
        OSError: A file cannot be read, or this one not written.
    """
    text, hidden = checksums_of(folder), folder / f".{CHECKSUMS}"
    hidden.write_text(text, encoding="utf-8")
    hidden.replace(folder / CHECKSUMS)
