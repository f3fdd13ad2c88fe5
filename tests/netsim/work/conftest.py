"""Each executor once for all tests of a module, since some take seconds to start; a way to do jobs one by one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netsim.work.batching import Stacking
from netsim.work.executor import Executor
from netsim.work.executors.cuda import Cuda
from netsim.work.executors.inline import Inline
from netsim.work.executors.processes import Processes
from netsim.work.executors.ray import Ray
from netsim.work.executors.threads import Threads
from netsim.work.job import TrainingJob

MAKERS: dict[str, Callable[..., Executor]] = {
    "inline": lambda stacking: Inline(None, stacking),
    "threads": lambda stacking: Threads(Threads.Options(workers=2), stacking),
    "processes": lambda stacking: Processes(Processes.Options(workers=2), stacking),
    "cuda": lambda stacking: Cuda(Cuda.Options(devices=("cpu", "cpu")), stacking),
    "ray": lambda stacking: Ray(Ray.Options(workers=2), stacking),
}


@pytest.fixture(scope="session")
def one_ray() -> Iterator[None]:
    """A Ray on this machine for all tests that use it as they find it."""
    executor = Ray(Ray.Options(workers=2))
    yield
    executor.close()


@pytest.fixture(scope="module", params=list(MAKERS))
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Each of them; it stacks whatever can be stacked."""
    if request.param == "ray":
        if importlib.util.find_spec("ray") is None:
            pytest.skip("needs the extra 'ray'")
        request.getfixturevalue("one_ray")
    made = MAKERS[request.param](Stacking("on"))
    yield made
    made.close()


@pytest.fixture
def do() -> Callable[[Executor, TrainingJob], Any]:
    """Runs one job and waits for it."""

    def run(executor: Executor, job: TrainingJob) -> Any:
        ticket = executor.submit(job)
        return executor.finish([ticket])[ticket]

    return run
