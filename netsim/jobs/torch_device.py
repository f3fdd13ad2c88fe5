"""Where PyTorch works."""

from __future__ import annotations

from netsim.errors import ScenarioError


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
