"""Philox4x64-10 against its published vectors and against NumPy's generator; draws by counter."""

import math

import numpy as np
import pytest
from scipy import stats

from netsim.core.philox import Draws, philox

# Random123 1.14.0, tests/kat_vectors: counter, key, and what comes out.
VECTORS = [
    "0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 "
    "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b",
    "ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff "
    "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
    "243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89 452821e638d01377 be5466cf34e90c6c "
    "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
]


def words(numbers):
    return np.array(numbers, dtype=np.uint64)


@pytest.mark.parametrize("vector", VECTORS)
def test_philox_gives_its_published_vectors(vector):
    numbers = [int(word, 16) for word in vector.split()]
    drawn = philox(tuple(numbers[4:6]), [words([word]) for word in numbers[:4]])
    assert drawn.ravel().tolist() == numbers[6:]


def test_philox_at_many_counters_is_numpys_generator_at_each():
    """NumPy draws at the counter after the one that it is given. 9,000 counters are three pieces."""
    random = np.random.default_rng(0)
    counter = random.integers(0, 2**64, (4, 9000), dtype=np.uint64)
    counter[:, :6] = [[1, 1, 2**32, 2**63, 1, 2**32 - 1], *[[0, 1, 2**32, 2**63, 2**64 - 1, 2**32 - 1]] * 3]
    key = (2**64 - 3, 12345)
    drawn = philox(key, counter)
    for place in (*range(6), *range(6, 9000, 97), 4095, 4096, 8999):
        begin = counter[:, place] - words([1, 0, 0, 0])
        numpys = np.random.Philox(key=words(key), counter=begin).random_raw(4)
        assert drawn[:, place].tolist() == numpys.tolist()


@pytest.mark.parametrize("seed", [0, -7, 2**64, 2**200 + 1])
def test_draws_of_many_pairs_are_those_of_each(seed):
    a, b = np.array([0, 3, 5, 1_000_000]), np.array([1, 3, 0, 999_999])
    table = Draws(seed, "test").of_many(a, b, 64, 8)
    assert table.T.tolist() == [
        Draws(seed, "test").of_one(*pair, 64, 8).tolist() for pair in zip(a, b, strict=True)
    ]
    assert Draws(seed, "test").of_one(3, 3, 68, 4).tolist() == table[4:, 1].tolist()


def test_draws_depend_on_seed_purpose_pair_and_number():
    ways = [
        (1, "x", 2, 3, 4),
        (2, "x", 2, 3, 4),
        (1, "y", 2, 3, 4),
        (1, "x", 3, 2, 4),
        (1, "x", 2, 3, 8),
        (-1, "x", 2, 3, 4),
    ]
    drawn = [Draws(seed, purpose).of_one(a, b, begin, 4).tolist() for seed, purpose, a, b, begin in ways]
    assert len({number for four in drawn for number in four}) == 4 * len(ways)


def test_draws_are_uniform():
    """Kolmogorov-Smirnov distance of 40,000 draws at p = 1e-3; none is 1, whose logarithm would be infinite."""
    draws = Draws(0, "test").of_many(np.arange(100), np.arange(100) + 1, 0, 400).ravel()
    assert stats.kstest(draws, "uniform").statistic < 1.95 / math.sqrt(draws.size)
    assert draws.min() >= 0 and draws.max() < 1
