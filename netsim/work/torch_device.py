"""Where PyTorch works."""

from __future__ import annotations

import psutil

from netsim.core.errors import ScenarioError

GIB = 2**30
SHARE = 0.8
"""Share of the free memory that the training may take where the scenario sets no limit."""


def choose_torch_device(asked: str, threads: int | None, where: str) -> str:
    """The PyTorch device for ``jobs.device``; also sets the number of CPU threads.

    Args:
        asked: ``auto``, ``cpu``, ``cuda`` or ``cuda:<number>``.
        threads: CPU threads, or None for PyTorch's own choice.
        where: File and key, for the error.

    Raises:
        ScenarioError: No such device here.
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
    """Have PyTorch's operators called on this thread use ``number`` CPU threads."""
    import torch

    torch.set_num_threads(number)


def sees_gpu() -> bool:
    """Whether PyTorch sees a GPU, wherever it works."""
    import torch

    return torch.cuda.is_available()


def free_memory_bytes(stated_gib: float | None, torch_device: str) -> float:
    """Memory that the training may take [byte]: as stated [GiB], or most of what is free where it works."""
    if stated_gib is not None:
        return stated_gib * GIB
    if torch_device.startswith("cuda"):
        import torch

        return SHARE * torch.cuda.mem_get_info(torch_device)[0]
    # Not what is unused: a file system's cache gives its pages back when somebody asks for them.
    return SHARE * float(psutil.virtual_memory().available)


def require_memory(needed_bytes: float, allowed_bytes: float, for_what: str, way_out: str) -> None:
    """See whether something fits.

    Raises:
        ScenarioError: It does not; says how much it takes, and ``way_out``.
    """
    if needed_bytes > allowed_bytes:
        raise ScenarioError(
            f"jobs.memory_gib: {for_what} take {needed_bytes / GIB:.3g} GiB, and the training may take "
            f"{allowed_bytes / GIB:.3g} GiB; {way_out}"
        )


def set_precision(precision: str) -> None:
    """Let float32 products on GPUs round their factors to tf32, or not."""
    if precision == "tf32":
        import torch

        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
