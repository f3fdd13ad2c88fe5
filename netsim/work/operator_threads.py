"""How many threads operators have inside: as the scenario says, or what is faster, by kind of work."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import cached_property
from statistics import median
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from netsim.work.batching import HOPELESS, SLOW_S, WORTHWHILE

T = TypeVar("T")

ORDER = (0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0)
"""Which of both numbers has its turn. Jobs come device by device, and one device may have ten times another's data: in
this order two, three, four or six devices that take turns meet both numbers equally often, but for one time."""

AT_LEAST = 2
"""So often is each number tried, however clear it looks."""

AT_ONCE = 30
"""So many times as long as with one thread, and many are not tried again: where others use the cores, each try stalls.
More than one device's data may differ from another's."""


class Inside:
    """Sets the number of threads that operators of PyTorch and of NumPy's BLAS have in this process.

    Where the scenario leaves it open, each kind of work is timed: the real thing, done once, with one thread or with as
    many as there were when the run began. Many threads must be clearly faster, for with one the results are those of a
    worker, bit for bit, and nobody stalls where others use the same cores.

    Args:
        stated: ``jobs.threads``; None: it is left open.
        open: Whether there is anything to find out; not where the work is done on a GPU.
    """

    def __init__(self, stated: int | None = None, open: bool = True) -> None:
        self._stated = stated
        self._open = open
        self._limited = False
        self._trials: dict[Hashable, _Trial] = {}

    @property
    def numbers(self) -> tuple[int, ...]:
        """Those that may be chosen from; the first is what operators have between two pieces of work. May be empty."""
        if self._limited:
            return (1,)
        if self._stated is not None:
            return (self._stated,)
        return tuple(dict.fromkeys((1, self._most))) if self._open else ()

    def limit(self, on: bool = True) -> None:
        """From now on one thread, whatever was chosen; or no longer."""
        self._limited = on
        self._set(*self.numbers[:1])

    @contextlib.contextmanager
    def during_a_run(self) -> Iterator[None]:
        """As :attr:`numbers` say while the block runs; afterwards as many as before."""
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
        """Do ``work`` with the best number of threads that is known; as long as none is, time it.

        Args:
            kind: What it is like: work of one kind takes about equally long.
            label: What that is called in a run's record.
            work: The work.
            parts: How many equal parts it has; a stack of jobs has several.
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

    def fixed(self, place: int, work: Callable[[], T]) -> T:
        """Do ``work`` with one of :attr:`numbers`: 0 is the first, -1 the last."""
        return self._with(self.numbers[place], work) if self.numbers else work()

    def facts(self) -> Mapping[str, Any]:
        """For the run's record: what was stated, or measured and chosen."""
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
        """As many as there are before anything was set here."""
        torch = sys.modules.get("torch")
        blas = (library["num_threads"] for library in self._blas.info())
        self._now = max(blas, default=1)
        return max(self._now, torch.get_num_threads() if torch else 1)

    def _set(self, *number: int) -> None:
        """So many from now on. PyTorch may have been loaded since the last time, with a number of its own."""
        if not number or not self._most:  # asked for first, so that it is known what there was
            return
        torch = sys.modules.get("torch")
        if torch and torch.get_num_threads() != number[0]:
            torch.set_num_threads(number[0])
        if self._now != number[0]:
            self._now = number[0]
            self._blas.limit(limits=self._now)


def one_thread() -> None:
    """Have operators called in this process use one thread, for good: it is one of several workers."""
    import torch  # noqa: F401 (what is loaded later would have threads of its own)

    Inside(1).limit()


class Fixed(Inside):
    """Another one's numbers, of which one is always taken: nothing is tried."""

    def __init__(self, inside: Inside, place: int) -> None:
        super().__init__()
        self._inside, self._place = inside, place

    def run(self, kind: Hashable, label: str, work: Callable[[], T], parts: int = 1) -> T:
        """Do ``work``, as :meth:`Inside.fixed` does."""
        return self._inside.fixed(self._place, work)


class _Trial:
    """Times of one kind of work with each number of threads, until one is clearly better.

    The first time with each counts for nothing unless it is long: something may be done once only. With many threads
    that is little, so a first time that is far longer than that of one thread says enough.
    """

    def __init__(self, label: str, numbers: tuple[int, ...]) -> None:
        self.label = label
        self.chosen: int | None = None
        self._numbers = numbers
        self._first: dict[int, float] = {}
        self._seconds: dict[int, list[float]] = {number: [] for number in numbers}

    @property
    def next(self) -> int:
        """The number that has its turn."""
        cold = [number for number in self._numbers if number not in self._first]
        return cold[0] if cold else self._numbers[ORDER[self._turns]]

    def note(self, number: int, seconds: float) -> None:
        """It took so long with ``number``."""
        if number in self._first or seconds >= SLOW_S:
            self._seconds[number].append(seconds)
        if number not in self._first:
            self._first[number] = seconds
            if seconds > AT_ONCE * self._first[self._numbers[0]]:
                self._seconds = {tried: [first] for tried, first in self._first.items()}
                self._choose()
                return
        one, many = self._seconds.values()
        if self._turns >= len(ORDER) or (
            min(len(one), len(many)) >= AT_LEAST
            and (min(one) > HOPELESS * max(many) or min(many) > HOPELESS * max(one))
        ):
            self._choose()

    def facts(self) -> dict[str, Any]:
        """What was measured, and chosen."""
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
