"""Random numbers by counter: Philox4x64-10, evaluated at many counters in one call.

A named stream (:mod:`netsim.core.streams`) costs a hash and a generator. Where each of very many things draws, such as
each link in each round, they share one key, and what draws is in the counter. A draw is still a function of its name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netsim.core.arrays import Floats, Whole
from netsim.core.streams import derive_seed

Words = NDArray[np.uint64]

_FACTORS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_AT_ONCE = 4096  # counters; what they need stays in the processor's cache
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def philox(key: tuple[int, int], counter: Sequence[Words]) -> Words:
    """Compute Philox4x64-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).

    Args:
        key: Two words of 64 bits.
        counter: Four words of 64 bits, each as an array [counters], or [1] if it is the same for all.

    Returns:
        Four words of 64 random bits for each counter [4, counters].
    """
    drawn = np.empty((4, *np.broadcast_shapes(*(word.shape for word in counter))), dtype=np.uint64)
    for since in range(0, drawn.shape[1], _AT_ONCE):
        some = slice(since, since + _AT_ONCE)
        a, b, c, d = (word[some] if len(word) > 1 else word for word in counter)
        for number in range(10):
            first, second = (
                np.uint64((word + number * step) % 2**64) for word, step in zip(key, _KEY_STEPS, strict=True)
            )
            (high_a, low_a), (high_c, low_c) = _product(a, _FACTORS[0]), _product(c, _FACTORS[1])
            a, b, c, d = high_c ^ b ^ first, low_c, high_a ^ d ^ second, low_a
        drawn[0, some], drawn[1, some], drawn[2, some], drawn[3, some] = a, b, c, d
    return drawn


def _product(words: Words, factor: int) -> tuple[Words, Words]:
    """Return the upper and the lower 64 bits of the product of each word with ``factor``."""
    low, high = np.uint64(factor & 0xFFFFFFFF), np.uint64(factor >> 32)
    lower, upper = words & _LOW, words >> _32
    middle = upper * low + (lower * low >> _32)
    other = lower * high + (middle & _LOW)
    return upper * high + (middle >> _32) + (other >> _32), words * np.uint64(factor)


class Draws:
    """Uniform draws of one purpose, by two numbers (such as the ends of a link) and the number of the draw.

    The key is that of a stream (:func:`netsim.core.streams.derive_seed`), the counter is made of the three numbers.

    Args:
        seed: The run's seed.
        *purpose: What the draws are for.
    """

    def __init__(self, seed: int, *purpose: str) -> None:
        self._key = derive_seed(seed, *purpose), 0
        self._one = np.random.Philox(key=self._key[0])
        self._state = self._one.state

    def of_one(self, a: int, b: int, begin: int, count: int) -> Floats:
        """Return draws ``begin`` to ``begin + count - 1`` of the pair a, b, in [0, 1); ``begin`` divides by four."""
        # NumPy's generator begins with the counter after the one it is given. To set it costs a sixth of a new one.
        self._state["state"]["counter"][:] = begin // 4, a, b, 0
        self._one.state = self._state
        return _uniform(self._one.random_raw(count))

    def of_many(self, a: Whole, b: Whole, begin: int, count: int) -> Floats:
        """Return the same of many pairs at once [count, pairs]; ``count`` divides by four, too."""
        fours = np.arange(begin // 4 + 1, (begin + count) // 4 + 1).repeat(len(a))
        pairs = [np.tile(numbers, count // 4) for numbers in (a, b)]
        counter = [numbers.astype(np.uint64) for numbers in (fours, *pairs, np.zeros(1))]
        words = philox(self._key, counter).reshape(4, count // 4, len(a))
        return _uniform(words.swapaxes(0, 1).reshape(count, len(a)))


def _uniform(words: Words) -> Floats:
    """Return numbers in [0, 1) of 53 random bits each."""
    uniform: Floats = np.multiply(words >> np.uint64(11), 2.0**-53)
    return uniform
