"""Does runs of a sweep on Ray: on this machine, or on all those of a cluster that share its folders."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from netsim.work.executors.ray import RayOptions, connect, disconnect, import_ray


class OnRay:
    """Ray, and the runs on it: each is a task of one core.

    Args:
        address: A cluster, as ray://host:port or host:port; None starts Ray on this machine.

    Raises:
        ScenarioError: Ray is not installed, or the cluster does not answer.
    """

    def __init__(self, address: str | None) -> None:
        self._ray = import_ray()
        self._started = connect(self._ray, RayOptions(address=address))
        self._do = self._ray.remote(num_cpus=1, max_retries=2)(_do)
        self._asked: set[Any] = set()

    @property
    def workers(self) -> int:
        """Return the number of cores that Ray has."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def run(self, words: Sequence[str], environment: dict[str, str]) -> tuple[int, list[str]]:
        """Run a command somewhere, and return its exit code and what it complained of."""
        answer = self._do.remote(list(words), environment, os.getcwd())
        self._asked.add(answer)
        try:
            code, complaints = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            return 1, [str(error).splitlines()[0]]
        finally:
            self._asked.discard(answer)
        return code, complaints

    def close(self) -> None:
        """End the runs that go on, and Ray or the connection to it if this object started it."""
        for answer in tuple(self._asked):
            with suppress(Exception):
                self._ray.cancel(answer, force=True)
        if self._started:
            disconnect(self._ray)


def _do(words: list[str], environment: dict[str, str], folder: str) -> tuple[int, list[str]]:
    """Run a command in ``folder`` with variables of the environment; return its exit code and its complaints."""
    done = subprocess.run(
        words, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    return done.returncode, [line.strip() for line in done.stderr.splitlines() if line.strip()]
