"""Writes a file whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> Path:
    """Write ``content`` to ``path``, and return it; what was there stays if there is no room.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.new")
    try:
        hidden.write_bytes(content)
        os.replace(hidden, path)
    except OSError:
        hidden.unlink(missing_ok=True)
        raise
    return path
