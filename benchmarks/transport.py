"""How long a state takes into a worker process and back: through shared memory, and as a pickle through a pipe.

python benchmarks/transport.py
"""

from __future__ import annotations

import multiprocessing
import pickle
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

from netsim.work.executors.pooled import PooledOptions
from netsim.work.executors.processes import Processes
from netsim.work.job import TrainingJob

STATES = {"45 MB in 62 tensors": (62, 181_000), "300 kB in 10 tensors": (10, 7_500)}


def take(state: dict[str, torch.Tensor]) -> int:
    return len(state)


def take_and_return(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return state


def run_pickled(packed: bytes) -> bytes:
    function, state = pickle.loads(packed)
    return pickle.dumps(function(state), protocol=5)


def main(repeats: int = 15) -> None:
    """Print medians, and the ratio of the two ways in each repetition: they take turns in one run."""
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    executor = Processes(PooledOptions(workers=1))

    def pickled(function: Callable[..., Any], state: dict[str, torch.Tensor]) -> None:
        pickle.loads(pool.submit(run_pickled, pickle.dumps((function, state), protocol=5)).result())

    def shared(function: Callable[..., Any], state: dict[str, torch.Tensor]) -> None:
        ticket = executor.submit(TrainingJob(function, {"state": state}))
        executor.finish([ticket])

    for name, (count, numbers) in STATES.items():
        state = {str(i): torch.randn(numbers) for i in range(count)}
        for function in (take, take_and_return):
            times: dict[str, list[float]] = {"pickled": [], "shared": []}
            for repeat in range(repeats + 2):
                for way in (pickled, shared):
                    begin = time.perf_counter()
                    way(function, state)
                    if repeat >= 2:  # workers started, blocks grown
                        times[way.__name__].append(1e3 * (time.perf_counter() - begin))
            ratios = [a / b for a, b in zip(times["pickled"], times["shared"], strict=True)]
            low, middle, high = (statistics.quantiles(ratios, n=10)[i] for i in (0, 4, 8))
            print(
                f"{name}, {function.__name__.replace('_', ' ')}: "
                f"pickled {statistics.median(times['pickled']):.2f} ms, "
                f"shared memory {statistics.median(times['shared']):.2f} ms: "
                f"{middle:.1f} times as fast ({low:.1f} to {high:.1f} in four repetitions of five)"
            )
    executor.close()
    pool.shutdown()


if __name__ == "__main__":
    main()
