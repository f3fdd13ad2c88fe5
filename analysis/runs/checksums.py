"""Checksums of a run's files: whether they are as they were written, and those of what is drawn of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from analysis.runs.files import LONGEST
from analysis.runs.whole import write_whole

CHECKSUMS = "checksums.sha256"
"""Written at the end of a run: a line a file, as ``sha256sum`` writes and reads them."""


def changed_files(folder: Path) -> Iterator[str]:
    """Yield which files are not as they were written, a line each; a plot or a page may be gone."""
    if not (folder / CHECKSUMS).is_file():
        yield f"{CHECKSUMS}: missing; it is written when a run ends, by this version or a later one"
        return
    names = set()
    with (folder / CHECKSUMS).open("rb") as file_of_all:
        *lines, end = file_of_all.read(LONGEST).split(b"\n")
    for number, line in enumerate(lines, 1):
        said, _, name = line.decode("utf-8", "replace").partition("  ")
        names.add(name)
        path, file = PurePosixPath(name), folder / name
        if str(path) != name or path.is_absolute() or {"..", "."} & {*path.parts} or len(said) != 64:
            yield f"{CHECKSUMS}: line {number} is damaged"
        elif file.is_file():
            yield from _changed(file, name, said)
        elif not (name.startswith("plots/") or name.endswith(".html")):
            yield f"{name}: missing"
    if end or not lines:
        yield f"{CHECKSUMS}: its end is damaged"
    for name in sorted({"scenario.yaml", "metadata.json", "summary.json", "rounds.parquet"} - names):
        yield f"{name}: has no checksum"


def add_checksums(folder: Path, files: Iterable[Path]) -> None:
    """Add the checksums of plots and pages to those of the run in ``folder``, if they lie in it and it has any.

    Others stay as they are. What cannot be written is left: then the checksums say that a file is another one.
    """
    with suppress(OSError, ValueError):
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines(keepends=True)
        inside = [file for file in files if file.resolve().is_relative_to(folder.resolve())]
        drawn = {file.resolve().relative_to(folder.resolve()).as_posix(): _digest(file) for file in inside}
        kept = [line for line in lines if line.rstrip("\n")[66:] not in drawn]
        text = "".join([*kept, *(f"{said}  {name}\n" for name, said in drawn.items())])
        write_whole(folder / CHECKSUMS, text.encode())


def _changed(file: Path, name: str, said: str) -> Iterator[str]:
    try:
        if _digest(file) != said:
            yield f"{name}: is not the file that was written (its SHA-256 is another)"
    except OSError as error:
        yield f"{name}: cannot be read ({error.strerror or error})"


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
