"""A file that is there but cannot be used."""

from __future__ import annotations

from pathlib import Path


class BrokenFileError(Exception):
    """``path`` is broken; ``reason`` completes the sentence "<path> ..."."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
