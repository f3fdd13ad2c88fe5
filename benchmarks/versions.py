"""Two versions of the program side by side: this checkout, and another folder to hold it against.

``git worktree add --detach ../before COMMIT`` makes such a folder. A version is found through ``PYTHONPATH``, so one
Python serves both; what it registers is read from its own ``pyproject.toml``, not from what is installed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
"""This checkout."""

OLD_SPELLING: Mapping[str, tuple[str, str]] = {
    "server_stub": (
        "{name: stub, flops: 1e6, server_flops: 1e6}",
        "{name: server_stub, flops: 1e6, server_flops: 1e6}",
    ),
}
"""By a name that another version registers: words of a scenario in this checkout, and how that version spells them."""


@dataclass(frozen=True)
class Version:
    """A checkout of the program, ready to run.

    Attributes:
        folder: The checkout.
        environment: Environment variables for a process that runs it.
        old: Whether it is the version before.
        names: Names that it registers.
    """

    folder: Path
    environment: dict[str, str]
    old: bool = False
    names: frozenset[str] = frozenset()

    @property
    def commit(self) -> str:
        """Return its commit in short form, ``+changes`` where files were edited."""
        words = ["git", "-C", str(self.folder), "describe", "--always", "--exclude=*", "--dirty=+changes"]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or "unknown"

    def spelt(self, text: str) -> str:
        """Return ``text``, a scenario or a setting of this checkout, as the version spells it."""
        for name, (ours, theirs) in OLD_SPELLING.items():
            if name in self.names:
                text = text.replace(ours, theirs)
        return text


def version(folder: Path, scratch: Path, old: bool = False) -> Version:
    """Prepare the checkout in ``folder`` to be run.

    Args:
        folder: A checkout of the program.
        scratch: A folder for what it registers, one for each version.
        old: Whether it is the version before.

    Raises:
        SystemExit: There is no checkout in ``folder``.
    """
    folder = folder.resolve()
    if not (folder / "pyproject.toml").is_file() or not (folder / "netsim").is_dir():
        raise SystemExit(
            f"{folder}: not a checkout of netsim; make one with git worktree add --detach {folder} COMMIT"
        )
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    information = scratch / f"{project['name']}-{project['version']}.dist-info"
    information.mkdir(parents=True, exist_ok=True)
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    dropped = ("CREMA_D_ROOT", "NETSIM_DATA_ROOT", "NETSIM_CACHE")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    environment = {**kept, "PYTHONPATH": os.pathsep.join((str(scratch), str(folder)))}
    names = frozenset(name for entries in project["entry-points"].values() for name in entries)
    return Version(folder, environment, old, names)


def add_before(parser: argparse.ArgumentParser) -> None:
    """Add ``--before FOLDER``, the version to compare with."""
    parser.add_argument(
        "--before",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="a checkout of the version to compare with",
    )
