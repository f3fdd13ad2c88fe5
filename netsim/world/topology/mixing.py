"""Mixing matrices: weights for averaging a device's state with those of its neighbours."""

from __future__ import annotations

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
    rows: dict[int, dict[int, float]] = {}
    neighbours = {node: sorted(n for n in graph[node] if n != node) for node in sorted(graph)}
    for node, own in neighbours.items():
        row = {n: 1.0 / (1 + max(len(own), len(neighbours[n]))) for n in own}
        row[node] = 1.0 - sum(row.values())
        rows[node] = dict(sorted(row.items()))
    return rows
