"""Forking this process: what is against it, and how it is done."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.process import BaseProcess
from typing import Any

from netsim.core.interrupts import none_for_children
from netsim.work.torch_device import sees_gpu

_on_threads: set[Future[Any]] = set()


def on_a_thread(work: Future[Any]) -> None:
    """Note that ``work`` is done on a thread: a process forked meanwhile could wait for ever for a lock of that."""
    _on_threads.add(work)
    work.add_done_callback(_on_threads.discard)


def obstacle() -> str:
    """Return the reason why this process cannot be forked; empty if it can."""
    if any(not work.done() for work in _on_threads.copy()):
        return "worker threads are in the middle of jobs"
    if sys.platform != "linux":
        return "it forks a process, which works on Linux only"
    if "torch" in sys.modules and sees_gpu():  # not asked otherwise, since it would load PyTorch
        return (
            "PyTorch cannot be forked where it sees a GPU (CUDA_VISIBLE_DEVICES= in the environment hides it)"
        )
    return ""


def fork(function: Callable[..., None], *given: Any) -> BaseProcess:
    """Fork a process that runs ``function``, with the signals of this one kept from it; return it.

    A fork takes some hundredths of a second, a new Python that loads PyTorch takes seconds. The thread pools that a
    forked PyTorch inherits have no threads, which does no harm where it computes with one thread.
    """
    process = multiprocessing.get_context("fork").Process(target=function, args=given, daemon=True)
    with warnings.catch_warnings(), none_for_children():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # later Pythons warn of forks where there are threads
        process.start()
    return process
