"""Named random streams: each consumer of randomness has its own, so adding one changes no other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise, repeat
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray


def derive_seed(seed: int, *name: str | int) -> int:
    """Derive a 63-bit seed from the run's ``seed`` and the consumer's ``name``, and from nothing else.

    Args:
        seed: The run's seed.
        *name: Who draws, for what: ``("fading", 3, 7)``, ``("batches", device, round)`` ...

    Returns:
        An integer in [0, 2**63), fit for NumPy and for ``torch.Generator.manual_seed``. It is the head of
        a SHA-256 digest: stable across processes, machines and versions, unlike ``hash()``.
    """
    text = f"{int(seed)}"
    for part in name:  # in half the time that a join takes; every training asks twice
        text += f"\x1f{type(part).__name__}:{part}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """Return the random stream of the consumer called ``name``, at its beginning.

    Asking twice gives the same numbers twice: a stream is a function of seed and name, not of who asked
    first. See :func:`derive_seed`.
    """
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *name)))


def streams(seed: int, names: Iterable[tuple[str | int, ...]]) -> Iterator[np.random.Generator]:
    """Return the streams of many consumers, the same as :func:`stream` does, in less than half the time."""
    seeds = np.array([derive_seed(seed, *name) for name in names], dtype=np.uint64)
    for words in seed_words(seeds):
        yield np.random.Generator(np.random.PCG64(_Words(words)))  # type: ignore[arg-type]  # NumPy takes any


class _Words(ISeedSequence):
    """Words that a bit generator begins from."""

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> NDArray[np.uint64]:
        """Return the words; PCG64 asks for four of 64 bits."""
        return self._words


def seed_words(seeds: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Compute the four words that NumPy's ``SeedSequence`` makes of each seed, for all of them at once [seeds, 4].

    It is O'Neill's ``seed_seq_fe128`` (2015), which NumPy promises to keep: four words of 32 bits, of which each is
    hashed and then mixed with the hash of each other, and hashed again twice.
    """
    zero, constants = np.zeros(len(seeds), dtype=np.uint32), _constants(0x43B0D7E5, 0x931E8875)
    entropy = [seeds.astype(np.uint32), (seeds >> np.uint64(32)).astype(np.uint32), zero, zero]
    pool = [_hashed(word, constants) for word in entropy]
    for source in range(4):
        for target in range(4):
            if source != target:
                mixed = np.uint32(0xCA01F9DD) * pool[target]
                mixed = mixed - np.uint32(0x4973F715) * _hashed(pool[source], constants)
                pool[target] = mixed ^ mixed >> np.uint32(16)
    constants = _constants(0x8B51F9DD, 0x58F38DED)
    words = [_hashed(pool[number % 4], constants).astype(np.uint64) for number in range(8)]
    return np.stack(
        [low | high << np.uint64(32) for low, high in zip(words[::2], words[1::2], strict=True)], 1
    )


def _constants(first: int, factor: int) -> Iterator[tuple[int, int]]:
    """Return ``first`` and its product with ``factor``, that and the next product, and so on, modulo 2**32."""
    products = accumulate(repeat(factor), lambda product, by: product * by & 0xFFFFFFFF, initial=first)
    return pairwise(products)


def _hashed(value: NDArray[np.uint32], constants: Iterator[tuple[int, int]]) -> NDArray[np.uint32]:
    constant, factor = next(constants)
    value = (value ^ np.uint32(constant)) * np.uint32(factor)
    return value ^ value >> np.uint32(16)
