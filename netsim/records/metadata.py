"""Metadata of a run: versions, code, hardware."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from netsim.core.modules import loaded_from

PACKAGES = (
    "netsim",
    "simpy",
    "torch",
    "torchvision",
    "torchaudio",
    "librosa",
    "numpy",
    "scipy",
    "networkx",
    "pyarrow",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute the results."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Return the commit of the code, with ``+changes`` if files were edited; None outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def hardware(torch_device: str) -> dict[str, Any]:
    """Return the processor, the number of cores, and the GPU if one is used."""
    facts: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "device": torch_device,
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        facts["threads"] = torch.get_num_threads()
        if torch_device.startswith("cuda"):
            facts["gpu"] = torch.cuda.get_device_name(torch_device)
    return facts


def code_digest(own: Collection[Path]) -> str:
    """Return the SHA-256 of the code that a run depends on: this program's, and modules in folders of a user's ``own``.

    Modules of a user's own count if they are loaded.
    """
    program = Path(__file__).parents[2]
    files = [file for package in ("netsim", "learners") for file in sorted((program / package).rglob("*.py"))]
    files += loaded_from(own).values()
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
