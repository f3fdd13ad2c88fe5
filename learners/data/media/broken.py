"""Files that exist but cannot be used."""

from __future__ import annotations

from pathlib import Path

POINTER = "is a git-lfs pointer, not the file itself: run 'git lfs pull' in its folder"
"""Message about a git-lfs pointer, the placeholder for a file that was not fetched."""

_BEGIN = b"version https://git-lfs."


class BrokenFileError(Exception):
    """A broken file ``path``; ``reason`` completes the sentence "<path> ...".

    For a git-lfs pointer the reason is always that it is one, not the error of its reader.
    """

    def __init__(self, path: Path, reason: str) -> None:
        reason = why(path, reason)
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def why(path: Path, reason: str) -> str:
    """Complete the sentence "<path> ...": ``reason``, unless ``path`` is a git-lfs pointer."""
    return POINTER if is_pointer(path) else reason


def is_pointer(path: Path) -> bool:
    """Return whether ``path`` is a git-lfs pointer, the placeholder for a file that was not fetched."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_BEGIN)) == _BEGIN
