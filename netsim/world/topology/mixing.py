"""Mixing matrices: weights for averaging a device's state with those of its neighbours."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import networkx as nx


def metropolis_weights(graph: nx.Graph) -> dict[int, dict[int, float]]:
    r"""Compute the Metropolis-Hastings weights of a graph.

    .. math:: \xi_{ij} = \frac{1}{1 + \max(d_i, d_j)}\ (j \in R_i), \qquad \xi_{ii} = 1 - \sum_{j \in R_i} \xi_{ij}

    The matrix is symmetric and doubly stochastic. An isolated node keeps its own state (weight 1).

    Args:
        graph: Undirected, nodes are device numbers; self-loops are ignored.

    Returns:
        A row per node: weights by node, in the order of device numbers, the node itself included.

    Source: Xiao, Boyd and Lall 2005, "A scheme for robust distributed sensor fusion based on average consensus".
    Xiao and Boyd 2004, which is often cited for them, has :math:`1/\max(d_i, d_j)` ("local degree"), with which two
    nodes swap their states for ever instead of averaging them.
    """
    neighbours = {node: sorted(n for n in graph[node] if n != node) for node in sorted(graph)}
    return {node: metropolis_row(node, neighbours) for node in neighbours}


def metropolis_row(node: int, neighbours: Mapping[int, Sequence[int]]) -> dict[int, float]:
    """Compute the row of ``node`` of :func:`metropolis_weights`, from its neighbours and those of each of them."""
    own = neighbours[node]
    row = {n: 1.0 / (1 + max(len(own), len(neighbours[n]))) for n in own}
    row[node] = 1.0 - sum(row.values())
    return dict(sorted(row.items()))


def among(devices: Collection[int], neighbours: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """Return the neighbours of each of ``devices`` that are among them, too."""
    return {k: [n for n in own if n in devices] for k, own in neighbours.items() if k in devices}
