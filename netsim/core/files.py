"""Writes a file whole, or not at all."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` in one step, in a folder that is there; what was there stays if there is no room.

    Raises:
        OSError: It cannot be written.
    """
    hidden = path.with_name(f".{path.name}")
    try:
        hidden.write_bytes(content)
        hidden.replace(path)
    except OSError:
        hidden.unlink(missing_ok=True)
        raise
