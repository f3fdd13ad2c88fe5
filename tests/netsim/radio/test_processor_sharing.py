"""A band that is shared equally is a queue with processor sharing: M/M/1-PS, and M/G/1-PS is insensitive to G."""

from __future__ import annotations

import numpy as np
import pytest

from netsim.world.radio.access import Shared

LOAD = 0.5


def sojourns(env, air, sizes, seed):
    """Times of transfers of the given sizes [bit] on a band of 1 bit/s, with Poisson arrivals of rate LOAD."""
    radio, (a, b, _), rows = air(Shared)
    at_s = np.cumsum(np.random.default_rng(seed).exponential(1 / LOAD, size=len(sizes))) + env.now

    def arrivals():
        for size, moment_s in zip(sizes.tolist(), at_s.tolist(), strict=True):
            yield env.timeout(max(moment_s - env.now, 0.0))
            env.process(radio.send(a, b, size, 1, "model"))

    env.process(arrivals())
    env.run()
    return np.array([row.end_s - row.start_s for row in rows]), np.array([row.size_bits for row in rows])


def of(kind, count, seed):
    """Sizes of mean 1 bit: exponential, all the same, or mostly small with variance 9 (hyperexponential)."""
    draw = np.random.default_rng(1000 + seed)
    if kind == "exponential":
        return draw.exponential(size=count)
    if kind == "constant":
        return np.ones(count)
    return draw.exponential(np.where(draw.random(count) < 0.1, 5.5, 0.5))


@pytest.mark.parametrize("kind", ["exponential", "constant", "hyperexponential"])
def test_mean_sojourn_is_that_of_m_m_1_ps_whatever_the_sizes(env, air, kind):
    r"""1 / (μ - λ) = 2 s at λ = 0.5, μ = 1, within four standard errors of 30 batches; E[T | x] = x / (1 - ρ), too."""
    times_s, sizes = sojourns(env, air, of(kind, 3000, 1), 1)
    for values, expected in ((times_s, 1 / (1 - LOAD)), (times_s / sizes, 1 / (1 - LOAD))):
        means = values.reshape(30, 100).mean(axis=1)
        assert values.mean() == pytest.approx(expected, abs=4 * means.std(ddof=1) / np.sqrt(30))
