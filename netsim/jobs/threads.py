"""The executor that runs jobs on worker threads."""

from __future__ import annotations

from concurrent.futures import Executor as Pool
from concurrent.futures import ThreadPoolExecutor

from netsim.jobs.pooled import Pooled, one_thread_inside


class Threads(Pooled):
    """Runs jobs on worker threads; nothing is copied. For networks whose operators outweigh the interpreter's lock."""

    def _open(self, workers: int) -> Pool:
        return ThreadPoolExecutor(workers, "job", initializer=one_thread_inside)
