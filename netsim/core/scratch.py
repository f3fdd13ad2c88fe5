"""Folders for unfinished things. A killed process leaves its own behind; the next one clears them away."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_open: dict[str, int] = {}


def new_scratch(parent: Path, prefix: str) -> Path:
    """Make a folder of this process's own in ``parent``, and delete those there whose processes are gone.

    A lock on the folder says that its process lives; the system drops it when the process ends in whatever way.

    Args:
        parent: Where it is made.
        prefix: What its name begins with; other folders are left alone.
    """
    for old in parent.glob(f"{prefix}*"):
        with suppress(OSError):
            file = os.open(old, os.O_RDONLY)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
            finally:
                os.close(file)
    while True:
        folder = tempfile.mkdtemp(dir=parent, prefix=prefix)
        file = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # the disk has no locks
            fcntl.flock(file, fcntl.LOCK_EX)  # waits for somebody who clears it away
        if os.path.isdir(folder):
            _open[folder] = file
            return Path(folder)
        os.close(file)


def delete_scratch(folder: Path | str, patience_s: float = 0.0) -> None:
    """Delete ``folder``; try for ``patience_s`` [s] while others still write there."""
    until_s = time.monotonic() + patience_s
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.isdir(folder) or time.monotonic() >= until_s:
            break
        time.sleep(0.05)
    if (file := _open.pop(str(folder), None)) is not None:
        os.close(file)
