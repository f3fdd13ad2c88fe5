"""Metadata of a run: versions, code, hardware."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
