"""Mixing matrices: how much of each neighbour's state a device takes in."""

from __future__ import annotations

import networkx as nx


def metropolis_weights(graph: nx.Graph) -> dict[int, dict[int, float]]:
    r"""Metropolis-Hastings weights of a graph.

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
    rows: dict[int, dict[int, float]] = {}
    for node in sorted(graph):
        neighbours = sorted(n for n in graph[node] if n != node)
        degree = len(neighbours)
        row = {n: 1.0 / (1 + max(degree, len(graph[n]) - graph.has_edge(n, n))) for n in neighbours}
        row[node] = 1.0 - sum(row.values())
        rows[node] = dict(sorted(row.items()))
    return rows
