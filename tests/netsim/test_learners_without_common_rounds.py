"""Every learner under asynchronous gossip and in a hierarchy: those that suit run, the others are told what would."""

from __future__ import annotations

import pytest
from every_key import merge
from test_every_key import DISTILLING, LEARNING, PUBLIC

from netsim.core.errors import ScenarioError
from netsim.core.registry import names

GOSSIP = {"name": "asynchronous_gossip"}
HIERARCHY = {"name": "hierarchical_rounds", "edges": 2, "edge_rounds": 2}
GOSSIPS = {
    "centralized",
    "dmml",
    "dmml_kd",
    "fedavg",
    "fedprox",
    "gradient_tracking",
    "isolated",
    "mhd",  # its default, transport: checkpoint, takes messages of any age
    "random_walk",
    "stub",
}
AVERAGES = {"dmml", "dmml_kd", "fedavg", "fedprox", "isolated", "stub"}
GENERATOR = {"generator_hidden": 8, "noise_size": 4, "generator_iterations": 2}


def blocks(name, protocol):
    own = DISTILLING.get(name) or ({"batch_size": 8} if name != "stub" else {})
    if name.startswith("dmml_kd"):
        own = own | GENERATOR
    if name not in ("stub", "fedzkt"):
        own = own | {"networks": LEARNING["learner"]["networks"]}
    rest = {key: value for key, value in LEARNING.items() if key != "learner"}
    given = merge(rest, PUBLIC if name in ("fedmd", "mhd") else {})
    return given | {"protocol": protocol, "learner": {"name": name, **own}}


@pytest.mark.parametrize("name", names("learners"))
@pytest.mark.parametrize(
    ("protocol", "suits"), [(GOSSIP, GOSSIPS), (HIERARCHY, AVERAGES)], ids=["gossip", "hierarchy"]
)
def test_it_runs_or_says_what_would(simulate, name, protocol, suits):
    if name in suits:
        _, log = simulate(**blocks(name, protocol))
        assert {(row.device, row.round) for row in log.rounds} == {(k, t) for k in range(3) for t in (1, 2)}
        assert all(row.outcome == "finished" for row in log.rounds)
        accuracies = [row.value for row in log.metrics if row.name == "accuracy"]
        assert name == "stub" or (accuracies and all(0 <= one <= 1 for one in accuracies))
    else:
        with pytest.raises(ScenarioError, match=r"protocol") as found:
            simulate(**blocks(name, protocol))
        said = str(found.value)
        assert len(said.splitlines()) == 1 and any(
            other in said for other in ("decentralized_rounds", "server_rounds", "asynchronous_server")
        )
