"""The executor that runs jobs on worker threads."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from netsim.work.batching import Unit
from netsim.work.executors.pooled import Pooled
from netsim.work.forking import on_a_thread
from netsim.work.job import run_jobs
from netsim.work.torch_device import intra_op_threads


class Threads(Pooled):
    """Runs jobs on worker threads; nothing is copied. For networks that spend most of their time in large operators."""

    def _start(self, unit: Unit) -> Future[list[Any]]:
        future = super()._start(unit)
        on_a_thread(future)
        return future

    def _run(self, unit: Unit) -> list[Any]:
        return run_jobs(unit)

    def _enter(self) -> None:
        intra_op_threads(1)
