"""The executor that runs jobs on Ray: on this machine, or on all those of a cluster."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from netsim.core.errors import ScenarioError
from netsim.core.interrupts import AT_ONCE, heard_still
from netsim.core.modules import look_in, looked_in
from netsim.core.options import MOST_AT_ONCE, Options
from netsim.work.batching import Stacking, Unit
from netsim.work.executors.pooled import Pooled, PooledOptions
from netsim.work.executors.remote import Receiver, Sender, results
from netsim.work.heap import keep_freed_memory
from netsim.work.operator_threads import one_thread

ATTEMPTS = 3
"""Number of times that a unit is tried whose worker dies; then the run ends with an error."""


class RayOptions(PooledOptions):
    """Block ``jobs.executor`` of ``ray``."""

    address: str | None = Field(
        None,
        description="a cluster, as ray://host:port or host:port; null: Ray is started on this machine, for this run",
    )
    workers: int | None = Field(
        None, gt=0, le=MOST_AT_ONCE, description="jobs at the same time; null: one per core"
    )
    timeout_s: float = Field(30.0, gt=0, description="how long a cluster may take to answer [s]")


class Ray(Pooled):
    """Runs jobs on Ray, on this machine or on a cluster. Needs the extra ``ray``: ``pip install 'netsim[ray]'``.

    Every machine needs this package and the modules that the scenario names. Kept inputs are put into Ray's object
    store once. If a worker is killed, Ray replaces it and its jobs are done again, which changes no result.
    """

    Options: ClassVar[type[Options]] = RayOptions

    def __init__(self, options: Any = None, stacking: Stacking | None = None) -> None:
        options = options or RayOptions()
        self._ray = import_ray()
        self._started = connect(self._ray, options)
        cores = int(self._ray.cluster_resources().get("CPU", 1))
        super().__init__(options, stacking, workers=options.workers or max(1, cores))
        self._sender: Sender[Any] = Sender(lambda buffers: self._ray.put(_arrays(buffers)))
        self._do = self._ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_do)
        self._asked: set[Any] = set()

    @property
    def works_elsewhere(self) -> bool:
        """Return true: jobs run in other processes."""
        return True

    def _run(self, unit: Unit) -> list[Any]:
        buffers, places = self._sender.pack(unit)
        # One thread waits for each answer, so that the object store holds few states at a time.
        answer = self._do.remote(_arrays(buffers), places, sys.path, looked_in(), os.getcwd())
        self._asked.add(answer)
        try:
            return results(self._ray.get(answer))
        except self._ray.exceptions.WorkerCrashedError as error:
            raise ScenarioError(
                f"jobs.executor: the worker process died in each of {ATTEMPTS} attempts at the same job; "
                "often memory ran out: use fewer jobs.executor.workers"
            ) from error
        finally:
            self._asked.discard(answer)

    def close(self) -> None:
        """Drop the jobs that are left, and end Ray or the connection to it if this executor started it."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for answer in tuple(self._asked):
            self._ray.cancel(answer, force=True)
        super().close()
        if self._started:
            disconnect(self._ray)


def import_ray() -> Any:
    """Return Ray, told to report nothing to anybody.

    Raises:
        ScenarioError: It is not installed.
    """
    # Ray reads these variables when it is imported. The first one switches off its usage reports.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "0")  # waits at a SIGTERM while it starts
    # This is the default of later versions of Ray; without it Ray warns of the change.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise ScenarioError("jobs.executor: ray is not installed: pip install 'netsim[ray]'") from error
    return ray


def connect(ray: Any, options: RayOptions) -> bool:
    """Start Ray on this machine, or find the cluster; return false if a Ray that runs in this process already is used.

    Raises:
        ScenarioError: The cluster does not answer in time.
    """
    quiet = {"log_to_driver": False, "configure_logging": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    if options.address is None:
        if ray.is_initialized():
            return False
        _end_with_us()
        # "local", because Ray would otherwise connect to a cluster that it finds by itself.
        try:
            with heard_still():
                ray.init("local", num_cpus=options.workers, include_dashboard=False, **quiet)
        except Exception as error:
            raise ScenarioError(
                f"jobs.executor: Ray does not start here ({' '.join(str(error).split()):.200}); try again when the "
                "machine is less busy, or use executor processes"
            ) from error
        return True
    try:
        _knock(options.address, options.timeout_s)
        if ray.is_initialized():
            raise ScenarioError(
                "jobs.executor.address: Ray runs in this process already; leave out the address to use it, "
                "or end it first (ray.shutdown())"
            )
        _in_time(lambda: ray.init(options.address, **quiet), options.timeout_s)
    except ScenarioError:
        raise
    except Exception as error:
        raise ScenarioError(
            f"jobs.executor.address: no Ray cluster answers at {options.address!r} "
            f"({error}). Start one (ray start --head), or leave out jobs.executor.address to use this machine; "
            "a cluster that asks for a token needs RAY_AUTH_MODE=token in the environment"
        ) from error
    return True


def disconnect(ray: Any) -> None:
    """End the Ray that :func:`connect` has started, or the connection to its cluster."""
    ray.shutdown()
    _leave_alone()


def _end_with_us() -> None:
    """Have a second signal kill all processes that Ray starts from here on; they notice only in minutes otherwise."""
    import psutil  # comes with Ray

    us = psutil.Process()
    before = {child.pid for child in us.children(recursive=True)}

    def end() -> None:
        found: dict[int, psutil.Process] = {}
        while new := {
            one.pid: one for one in us.children(recursive=True) if one.pid not in {*before, *found}
        }:
            for one in new.values():
                with suppress(psutil.Error):
                    one.suspend()  # who is alive starts others in the place of those that die
            found |= new
        for one in found.values():
            with suppress(psutil.Error):
                one.kill()

    _leave_alone()
    _ends.append(end)
    AT_ONCE.append(end)


def _leave_alone() -> None:
    """Have a second signal kill nothing any more, for Ray has ended."""
    while _ends:
        AT_ONCE.remove(_ends.pop())


_ends: list[Callable[[], None]] = []


def _knock(address: str, timeout_s: float) -> None:
    """Raise an error if nothing listens at ``address``; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("must be ray://host:port or host:port")
    with socket.create_connection((host.strip("[]"), int(port)), timeout_s):
        pass


def _in_time(call: Any, timeout_s: float) -> None:
    """Call ``call``, which has no time limit of its own, on a thread; raise an error after ``timeout_s`` [s]."""
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_s)
    error = (
        outcome[0]
        if outcome
        else TimeoutError(f"something listens there, but is not ready within {timeout_s:g} s")
    )
    if error is not None:
        raise error


def _arrays(buffers: Sequence[memoryview]) -> list[np.ndarray]:
    """Return ``buffers`` as arrays, uint8 [bytes] each, which Ray passes without a copy."""
    return [np.frombuffer(buffer, np.uint8) for buffer in buffers]


def _do(
    buffers: Sequence[np.ndarray],
    places: Mapping[int, Any],
    path: Sequence[str],
    folders: Sequence[str],
    current: str,
) -> list[np.ndarray]:
    """Run a packed unit in a worker and return its packed results; modules are found as in the simulator."""
    if folders != looked_in():
        look_in(folders)
        # Ray puts the simulator's current folder and its script's folder before all others.
        first = {*folders, current, str(Path(__file__).parents[3])} - set(path)
        sys.path[:] = [folder for folder in sys.path if folder not in first]
    sys.path += [folder for folder in path if folder not in sys.path]
    # PyTorch warns that Ray's store is read-only; jobs do not change their inputs.
    warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
    return _arrays(_receiver().do(buffers, places))


_receivers: list[Receiver[Any]] = []


def _receiver() -> Receiver[Any]:
    """Return the receiver of this worker."""
    if not _receivers:
        import ray

        one_thread()
        keep_freed_memory()
        _receivers.append(Receiver(ray.get))
    return _receivers[0]
