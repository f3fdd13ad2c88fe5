#!/usr/bin/env bash
# Small random regular graphs of NetworkX are not uniform: of 12 nodes with two links each, too few are one ring.
#
# Versions: networkx 3.6.1. Valid input: random_regular_graph(2, 12), 20,000 seeds.
# Expected: each labelled graph as likely as any other. Of the 34,944,085 graphs of 12 labelled nodes with two links each
# 11!/2 = 19,958,400 are one ring (Hamilton cycles; all 2-regular graphs: OEIS A001205), which is 57.1 %.
# Seen: about 45 %, thirty-five standard errors off. The documentation names the source, whose proof is about the limit of many
# nodes; with the dozen devices of a wireless study, diameter and mixing time of the drawn topologies are biased.
#
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'networkx==3.6.1'
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import math

import networkx as nx

NODES, DRAWS = 12, 20_000


def regular_graphs_of_degree_2(nodes):
    """Labelled ones: a graph is a set of rings, that of the last node has 3 or more nodes."""
    counts = [1, 0, 0]
    for n in range(3, nodes + 1):
        rings = range(3, n + 1)
        counts.append(
            sum(math.comb(n - 1, k - 1) * math.factorial(k - 1) // 2 * counts[n - k] for k in rings)
        )
    return counts[nodes]


share = math.factorial(NODES - 1) // 2 / regular_graphs_of_degree_2(NODES)
rings = sum(nx.is_connected(nx.random_regular_graph(2, NODES, seed=seed)) for seed in range(DRAWS))
error = math.sqrt(share * (1 - share) / DRAWS)
print("networkx", nx.__version__)
print(f"one ring: {rings / DRAWS:.3f} of {DRAWS:,} draws; uniform: {share:.3f} +- {error:.4f}")
assert abs(share - 0.5712) < 1e-4
assert share - rings / DRAWS > 10 * error, "they are uniform now"
PYTHON
