"""Payloads that stay where the models are, and what stands for them elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any


class Claim:
    """Stands for a payload. When nobody holds the claim, nobody can ask for the payload any more.

    Attributes:
        number: Which payload.
    """

    __slots__ = ("_given_back", "number")

    def __init__(self, number: int, given_back: list[int]) -> None:
        self.number = number
        self._given_back = given_back

    def __del__(self) -> None:
        self._given_back.append(self.number)


class Deposit:
    """Payloads by number, for as long as somebody has a claim."""

    def __init__(self) -> None:
        self._payloads: dict[int, Any] = {}
        self._numbers = itertools.count()
        self._given_back: list[int] = []

    def __len__(self) -> int:
        return len(self._payloads)

    def __getitem__(self, number: int) -> Any:
        return self._payloads[number]

    def keep(self, payload: Any) -> int:
        """Take ``payload`` in; returns its number, the next one."""
        number = next(self._numbers)
        self._payloads[number] = payload
        return number

    def claim(self, payload: Any) -> Claim:
        """Take ``payload`` in until the claim is let go of, and :meth:`given_back` was asked."""
        return Claim(self.keep(payload), self._given_back)

    def given_back(self) -> list[int]:
        """Forget payloads that nobody has a claim to any more; returns their numbers."""
        numbers = self._given_back[:]
        del self._given_back[: len(numbers)]
        self.forget(numbers)
        return numbers

    def forget(self, numbers: Iterable[int]) -> None:
        """Nobody asks for these any more."""
        for number in numbers:
            self._payloads.pop(number, None)
