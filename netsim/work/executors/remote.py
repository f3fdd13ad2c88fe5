"""Packing units of jobs for another process, and their results for the way back."""

from __future__ import annotations

import pickle
import threading
import traceback
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from netsim.work.batching import Unit
from netsim.work.job import Stack, TrainingJob, cannot_be_sent, run_jobs
from netsim.work.packing import company, copied, pack, unpack

Place = TypeVar("Place", bound=Hashable)
"""The place of a kept input: a block of shared memory, or an object of a store."""


class Sender(Generic[Place]):
    """Packs units of jobs; inputs that a worker may keep are put in a place of their own, once for all jobs.

    Args:
        put: Puts a packed input where every worker can find it.
    """

    def __init__(self, put: Callable[[Sequence[memoryview]], Place]) -> None:
        self._put = put
        self._kept: dict[int, tuple[int, Place, Any]] = {}
        self._lock = threading.Lock()

    def pack(self, unit: Unit) -> tuple[list[memoryview], dict[int, Place]]:
        """Return ``unit`` as buffers that share memory with its inputs, and the places of its kept inputs by number."""
        places: dict[int, Place] = {}
        inputs: list[tuple[dict[str, Any], dict[str, int]]] = []
        for job in unit:
            numbers = {}
            for name in sorted(job.kept):
                number, place = self._keep(job.inputs[name])
                numbers[name] = number
                places[number] = place
            sent = {name: value for name, value in job.inputs.items() if name not in job.kept}
            inputs.append((sent, numbers))
        first = unit[0]
        stack = first.stack.function if first.stack and len(unit) > 1 else None
        try:
            with company(len(unit)):
                return pack((first.function, stack, first.round, inputs)), places
        except Exception as error:
            raise cannot_be_sent(f"task {first.name}", error) from error

    def _keep(self, value: Any) -> tuple[int, Place]:
        with self._lock:
            if id(value) not in self._kept:
                # The value is kept alive, so that no other object can get its id.
                self._kept[id(value)] = (len(self._kept), self._put(pack(value)), value)
            return self._kept[id(value)][:2]


class Receiver(Generic[Place]):
    """Runs units in a worker, and keeps the kept inputs that it has received.

    Args:
        get: Returns the buffers at a place.
    """

    def __init__(self, get: Callable[[Place], Sequence[Any]]) -> None:
        self._get = get
        self._kept: dict[Place, Any] = {}

    def do(self, buffers: Sequence[Any], places: Mapping[int, Place]) -> list[memoryview]:
        """Run a packed unit; return its packed results, or the packed error that it ended with."""
        try:
            function, stack, round, inputs = unpack(buffers)
            shape = Stack(key=None, function=stack) if stack else None
            jobs = [
                TrainingJob(
                    function,
                    sent | {name: self._fetch(places[number]) for name, number in numbers.items()},
                    stack=shape,
                    round=round,
                )
                for sent, numbers in inputs
            ]
            with company(len(jobs)):
                done = run_jobs(jobs)
                try:
                    return pack((done, None))
                except Exception as error:
                    raise cannot_be_sent(f"the result of task {jobs[0].name}", error) from error
        except Exception as error:
            return pack((None, portable(error)))

    def _fetch(self, place: Place) -> Any:
        if place not in self._kept:
            self._kept[place] = unpack(self._get(place))
        return self._kept[place]


def results(buffers: Sequence[Any]) -> list[Any]:
    """Unpack the answer of :meth:`Receiver.do` and return the results, copied, or raise the job's error."""
    done, error = unpack([buffers[0], *map(copied, buffers[1:])])
    if error is not None:
        raise error
    return done


def portable(error: Exception) -> Exception:
    """Return ``error`` with its traceback as a note, or as plain text if it cannot be pickled."""
    error.add_note("In the worker:\n" + traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
