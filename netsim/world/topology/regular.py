"""Random regular graphs: every node has the same number of links, and all such graphs are equally likely."""

from __future__ import annotations

import networkx as nx
import numpy as np

PAIRED = 4
"""Up to this degree graphs are drawn by pairing: of degree 4 about 1 pairing in 43 is a graph, of degree 6 in 6,300."""
SWITCHES = 20
"""Switches that are tried for each link of a graph of a higher degree."""


def regular_links(degree: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw a graph of ``count`` nodes with ``degree`` links each, all such graphs being equally likely.

    Up to degree 4, and from ``count - 5`` on (where the complement is drawn), the probabilities are exact: the ends of
    links are paired at random, again and again until no pair is a loop or a duplicate (the configuration model;
    Bollobás 1980). For degrees in between that would take too long. There the links of some regular graph swap ends at
    random, a Markov chain with a uniform limit (Cooper, Dyer and Greenhill 2007); it stops after 20 trials per link.

    Args:
        degree: Links of each node, less than ``count``; ``degree * count`` is even.
        count: Number of nodes.
        rng: Stream of the draw.

    Returns:
        Links by (lower, higher) node, in no particular order.
    """
    rest = count - 1 - degree
    if rest < degree:
        absent = set(regular_links(rest, count, rng))
        return [(a, b) for a in range(count) for b in range(a + 1, count) if (a, b) not in absent]
    return _paired(degree, count, rng) if degree <= PAIRED else _switched(degree, count, rng)


def _paired(degree: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Pair the ends of all links at random until the pairs form a graph."""
    ends = np.repeat(np.arange(count), degree)
    while True:
        rng.shuffle(ends)
        low, high = np.sort(ends.reshape(-1, 2), axis=1).T
        if np.all(low < high) and len(np.unique(low * count + high)) == len(low):
            return list(zip(low.tolist(), high.tolist(), strict=True))


def _switched(degree: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Let two random links a-b and c-d become a-d and c-b if the result is a graph, many times."""
    drawn = nx.random_regular_graph(degree, count, seed=int(rng.integers(2**63)))
    links: list[tuple[int, int]] = sorted((min(a, b), max(a, b)) for a, b in drawn.edges)
    lows, highs = map(list, zip(*links, strict=True))
    there = {low * count + high for low, high in links}
    trials = SWITCHES * len(links)
    firsts, seconds = rng.integers(len(links), size=(trials, 2)).T.tolist()
    turned = rng.integers(2, size=trials).tolist()
    for first, second, turn in zip(firsts, seconds, turned, strict=True):
        a, b, c, d = lows[first], highs[first], lows[second], highs[second]
        if turn:
            c, d = d, c
        if a == d or c == b:
            continue
        if a > d:
            a, d = d, a
        if c > b:
            b, c = c, b
        one, other = a * count + d, c * count + b
        if one in there or other in there:
            continue
        there.remove(lows[first] * count + highs[first])
        there.remove(lows[second] * count + highs[second])
        there.add(one)
        there.add(other)
        lows[first], highs[first], lows[second], highs[second] = a, d, c, b
    return list(zip(lows, highs, strict=True))
