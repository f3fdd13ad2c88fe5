"""The PyTorch device of the training, and the memory that it has."""

from __future__ import annotations

import psutil

from netsim.core.errors import ScenarioError

GIB = 2**30
SHARE = 0.8
"""Share of the free memory that the training may take where the scenario sets no limit."""


def choose_torch_device(asked: str, threads: int | None, where: str) -> str:
    """Return the PyTorch device for ``jobs.device``, and set the number of CPU threads.

    Args:
        asked: ``auto``, ``cpu``, ``cuda`` or ``cuda:<number>``.
        threads: CPU threads, or None for PyTorch's own choice.
        where: File and key, for the error message.

    Raises:
        ScenarioError: The name is wrong, or this machine has no such device.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return "cuda:0" if found else "cpu"
    if asked == "cpu":
        return "cpu"
    kind, _, number = asked.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise ScenarioError(f"{where}: must be auto, cpu, cuda or cuda:<number> (got {asked!r})")
    index = int(number or 0)
    if index >= found:
        seen = f"{found} GPU{'s' if found != 1 else ''}" if found else "no GPU that PyTorch can use"
        raise ScenarioError(f"{where}: {asked!r} is not there: this machine has {seen}; use cpu or auto")
    return f"cuda:{index}"


def intra_op_threads(number: int) -> None:
    """Set the number of CPU threads that PyTorch's operators use when they are called on this thread."""
    import torch

    torch.set_num_threads(number)


def sees_gpu() -> bool:
    """Return whether PyTorch sees a GPU, even if the training does not use it."""
    import torch

    return torch.cuda.is_available()


def free_memory_bytes(stated_gib: float | None, torch_device: str) -> float:
    """Return the memory that the training may take [byte]: the stated one [GiB], or most of what is free there."""
    if stated_gib is not None:
        return stated_gib * GIB
    if torch_device.startswith("cuda"):
        import torch

        return SHARE * torch.cuda.mem_get_info(torch_device)[0]
    # More than the unused memory: the file system's cache is given back when memory is needed.
    return SHARE * float(psutil.virtual_memory().available)


def require_memory(needed_bytes: float, allowed_bytes: float, for_what: str, way_out: str) -> None:
    """Check that something fits into memory.

    Args:
        needed_bytes: Memory that it takes [byte].
        allowed_bytes: Memory that the training may take [byte].
        for_what: Its name in the error message, in the plural.
        way_out: Advice in the error message.

    Raises:
        ScenarioError: It does not fit.
    """
    if needed_bytes > allowed_bytes:
        raise ScenarioError(
            f"jobs.memory_gib: {for_what} take {needed_bytes / GIB:.3g} GiB, and the training may take "
            f"{allowed_bytes / GIB:.3g} GiB; {way_out}"
        )


def set_precision(precision: str) -> None:
    """Let products of float32 numbers on GPUs round their factors to tf32, if ``precision`` says so."""
    if precision == "tf32":
        import torch

        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
