"""Number of threads inside an operator of PyTorch or BLAS: stated in the scenario, or measured by kind of work."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from statistics import median
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from netsim.work.measurement import HOPELESS, SLOW_S, WORTHWHILE

T = TypeVar("T")

ORDER = (0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0)
"""Order in which both numbers of threads are tried: 0 is one thread, 1 is many.

Jobs come device by device, and one device may have ten times another's data. In this order each of two, three, four or
six devices that take turns is tried with both numbers equally often, up to one time.
"""

AT_LEAST = 2
"""Least number of times that each number of threads is tried, however clear the difference."""

AT_ONCE = 30
"""If many threads take this many times as long as one thread, they are not tried again.

This happens where other programs use the cores, and each further trial would take as long. The factor is larger than
the ratio of two devices' data may be.
"""


class Inside:
    """Sets the number of threads inside operators of PyTorch and of NumPy's BLAS in this process.

    If the scenario states no number, each kind of work is timed as it is done: with one thread, or with as many as
    there were when the run began. Many threads are chosen only if they are clearly faster. With one thread results are
    those of a worker, bit for bit, and work does not stall where other programs use the same cores.

    Args:
        stated: ``jobs.threads``; None if the scenario states no number.
        open: Whether the number may be measured; false where the work is done on a GPU.
    """

    def __init__(self, stated: int | None = None, open: bool = True) -> None:
        self._stated = stated
        self._open = open
        self._limited = False
        self._trials: dict[Hashable, _Trial] = {}

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the numbers to choose from, which may be none; the first one is set between two pieces of work."""
        if self._limited:
            return (1,)
        if self._stated is not None:
            return (self._stated,)
        return tuple(dict.fromkeys((1, self._most))) if self._open else ()

    def limit(self, on: bool = True) -> None:
        """Use one thread from now on, whatever was chosen; with ``on`` false, end this limit."""
        self._limited = on
        self._set(*self.numbers[:1])

    @contextlib.contextmanager
    def during_a_run(self) -> Iterator[None]:
        """Set the first of :attr:`numbers` while the block runs, and restore the number afterwards."""
        if not self.numbers:
            yield
            return
        before = self._most
        self._set(self.numbers[0])
        try:
            yield
        finally:
            self._set(before)

    def run(self, kind: Hashable, label: str, work: Callable[[], T], parts: int = 1) -> T:
        """Do ``work`` with the best number of threads, or time it as long as none is known; return its result.

        Args:
            kind: Kind of work; work of one kind takes about equally long.
            label: Name of the kind in a run's record.
            work: The work.
            parts: Number of equal parts that it has; a stack of jobs has several.
        """
        numbers = self.numbers
        if len(numbers) < 2:
            return self.fixed(0, work)
        trial = self._trials.get(kind)
        if trial is None:
            trial = self._trials[kind] = _Trial(label, numbers)
        if trial.chosen is not None:
            return self._with(trial.chosen, work)
        number, begin = trial.next, time.perf_counter()
        result = self._with(number, work)
        trial.note(number, (time.perf_counter() - begin) / parts)
        return result

    def best_for(self, kind: Hashable) -> int | None:
        """Return the number of threads for work of ``kind``; None if it is not known yet, or not set here."""
        numbers, trial = self.numbers, self._trials.get(kind)
        if len(numbers) == 1:
            return numbers[0]
        return trial.chosen if trial else None

    def fixed(self, place: int, work: Callable[[], T]) -> T:
        """Do ``work`` with the number of threads at ``place`` of :attr:`numbers`; return its result."""
        return self._with(self.numbers[place], work) if self.numbers else work()

    def facts(self) -> Mapping[str, Any]:
        """Return the number that was stated, and the times and numbers that were measured, for the run's record."""
        decided = [trial.facts() for trial in self._trials.values() if trial.chosen is not None]
        return {"stated": self._stated, "measured": decided}

    def _with(self, number: int, work: Callable[[], T]) -> T:
        self._set(number)
        try:
            return work()
        finally:
            self._set(*self.numbers[:1])

    @cached_property
    def _blas(self) -> ThreadpoolController:
        return ThreadpoolController().select(user_api="blas")

    @cached_property
    def _most(self) -> int:
        """Return the number of threads before it was first set here."""
        torch = sys.modules.get("torch")
        blas = (library["num_threads"] for library in self._blas.info())
        self._now = max(blas, default=1)
        return max(self._now, torch.get_num_threads() if torch else 1)

    def _set(self, *number: int) -> None:
        """Set the number of threads; PyTorch, with a number of its own, may have been loaded since the last call."""
        if not number or not self._most:  # reads the number before it is first changed
            return
        torch = sys.modules.get("torch")
        if torch and torch.get_num_threads() != number[0]:
            torch.set_num_threads(number[0])
        if self._now != number[0]:
            self._now = number[0]
            self._blas.limit(limits=self._now)


def one_thread() -> None:
    """Limit operators called in this process to one thread, for good, because it is one of several workers."""
    import torch  # noqa: F401 (loaded later, it would have its own number of threads)

    Inside(1).limit()


class Fixed(Inside):
    """Uses always the same one of another object's numbers; nothing is timed."""

    def __init__(self, inside: Inside, place: int) -> None:
        super().__init__()
        self._inside, self._place = inside, place

    def run(self, kind: Hashable, label: str, work: Callable[[], T], parts: int = 1) -> T:
        """Do ``work`` as :meth:`Inside.fixed` does; return its result."""
        return self._inside.fixed(self._place, work)


class _Trial:
    """Times of one kind of work with each number of threads, until one number is clearly better.

    The first time with each number is not counted unless it is long, because it may include what is done once only.
    With many threads that part is short. So many threads are dropped at once if their first time is far longer than
    that of one thread.
    """

    def __init__(self, label: str, numbers: tuple[int, ...]) -> None:
        self.label = label
        self.chosen: int | None = None
        self._numbers = numbers
        self._first: dict[int, float] = {}
        self._seconds: dict[int, list[float]] = {number: [] for number in numbers}

    @property
    def next(self) -> int:
        """Return the number of threads to try next."""
        cold = [number for number in self._numbers if number not in self._first]
        return cold[0] if cold else self._numbers[ORDER[self._turns]]

    def note(self, number: int, seconds: float) -> None:
        """Note that the work took ``seconds`` [s] with ``number`` threads; choose if that is enough."""
        if number in self._first or seconds >= SLOW_S:
            self._seconds[number].append(seconds)
        if number not in self._first:
            self._first[number] = seconds
            if seconds > AT_ONCE * self._first[self._numbers[0]]:
                self._seconds = {tried: [first] for tried, first in self._first.items()}
                self._choose()
                return
        one, many = self._seconds.values()
        if self._turns >= len(ORDER) or (min(len(one), len(many)) >= AT_LEAST and self._is_clear(one, many)):
            self._choose()

    def _is_clear(self, one: Sequence[float], many: Sequence[float]) -> bool:
        """Return whether one number is far better, or for slow work better by what threads can gain."""
        if min(one) > HOPELESS * max(many) or min(many) > HOPELESS * max(one):
            return True
        apart = min(one) > max(many) or min(many) > max(one)
        return apart and min(*one, *many) >= SLOW_S and max(one) <= self._numbers[1] * min(many)

    def facts(self) -> dict[str, Any]:
        """Return the median times and the chosen number."""
        return {
            "label": self.label,
            "seconds": {str(number): median(own) for number, own in self._seconds.items()},
            "chosen": self.chosen,
        }

    @property
    def _turns(self) -> int:
        return sum(map(len, self._seconds.values()))

    def _choose(self) -> None:
        one, many = map(median, self._seconds.values())
        self.chosen = self._numbers[int(many < WORTHWHILE * one)]
