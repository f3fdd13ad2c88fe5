"""The lock of a run's folder, which says that a process writes there; it is gone with the process."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from netsim.core.errors import ScenarioError


class Lock:
    """A lock, held until it is released or this process ends in whatever way.

    Child processes do not inherit it, so workers that outlive a killed run for a moment do not hold it.

    Args:
        folder: The run's folder.

    Raises:
        ScenarioError: Another process has it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(self._file)
            raise ScenarioError(
                f"{folder}: is being written by another process, which still runs; wait for its end, or end it"
            ) from None
        except OSError:  # the disk has no locks
            pass

    def release(self) -> None:
        """Give the lock up."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
            os.close(self._file)
