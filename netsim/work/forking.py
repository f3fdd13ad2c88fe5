"""Processes that this one starts: how it is done, and what is against forking."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from netsim.core.interrupts import none_for_children
from netsim.work.torch_device import sees_gpu

_on_threads: set[Future[Any]] = set()


def on_a_thread(work: Future[Any]) -> None:
    """Note that ``work`` is done on a thread: a process forked meanwhile could wait for ever for a lock of that."""
    _on_threads.add(work)
    work.add_done_callback(_on_threads.discard)


def obstacle() -> str:
    """Return the reason why this process can never be forked; empty if it can."""
    if sys.platform != "linux":
        return "it forks a process, which works on Linux only"
    if "torch" in sys.modules and sees_gpu():  # not asked otherwise, since it would load PyTorch
        return (
            "PyTorch cannot be forked where it sees a GPU (CUDA_VISIBLE_DEVICES= in the environment hides it)"
        )
    return ""


def can_fork_now() -> bool:
    """Return whether this process can be forked, and no thread of it is in the middle of a job."""
    return not obstacle() and all(work.done() for work in _on_threads.copy())


def started(method: Literal["fork", "spawn"], function: Callable[..., None], *given: Any) -> BaseProcess:
    """Start a process that runs ``function``, with the signals of this one kept from it; return it.

    A fork takes some hundredths of a second, a new Python that loads PyTorch takes seconds. The thread pools that a
    forked PyTorch inherits have no threads, which does no harm where it computes with one thread.
    """
    process: BaseProcess = get_context(method).Process(target=function, args=given, daemon=True)  # type: ignore[attr-defined]
    with warnings.catch_warnings(), none_for_children():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # later Pythons warn of forks where there are threads
        process.start()
    return process
