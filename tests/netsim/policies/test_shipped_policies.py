"""What shipped policies decide, by hand."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import numpy as np
import pytest

from netsim.core import registry
from netsim.world.devices.processor import Processor
from netsim.world.policies.policy import DECISIONS, Last, Link, Policy, Sight
from netsim.world.selection import AgeOfUpdate, Candidate, ChannelAware

CHIP = Processor(frequency_hz=2e9, flops_per_cycle=4.0, effective_capacitance_f=2e-28)
LISTED = CHIP.model_copy(update={"frequencies_hz": (0.5e9, 1.5e9, 2e9)})


def policy(name, **options):
    cls = registry.load("policies", name)
    return cls(cls.Options(**options), seed=0)


def sight(**changes):
    """A device in round 3 of 10 that is to compute 8e9 FLOPs, 2e9 cycles, and has sent for 1 s in round 2."""
    known = {
        "device": 0,
        "round": 3,
        "rounds": 10,
        "battery_j": 3.2,
        "processor": CHIP,
        "flops": 8e9,
        "tx_power_w": 0.5,
        "power_gains": {1: 1e-9, 2: 1e-10},
        "noise_w": 1e-12,
        "last": Last(2, 8e9, 10, 1.0, 1.0, 0.5, 0.9),
    }
    return Sight(**{**known, **changes})


@pytest.mark.parametrize(
    ("deadline_s", "changes", "frequency_hz"),
    [
        (3.0, {}, 1e9),  # 2e9 cycles in 3 s - 1 s of sending
        (4.0, {"last": None}, 0.5e9),  # all 4 s
        (3.0, {"processor": LISTED}, 1.5e9),  # the next of the list
        (2.0, {"processor": LISTED.model_copy(update={"frequencies_hz": (2e9,)})}, 2e9),
        (1.0, {}, 2e9),  # no time is left
        (1.5, {}, 2e9),  # 4e9 would be needed
    ],
)
def test_the_lowest_frequency_that_is_in_time(deadline_s, changes, frequency_hz):
    decided = policy("deadline_frequency", deadline_s=deadline_s).cpu_frequency(sight(**changes))
    assert decided == pytest.approx(frequency_hz, rel=1e-12)


@pytest.mark.parametrize(
    ("joules", "chip", "frequency_hz"),
    [
        (0.4, {}, 1e9),  # 2e-28 F · (1e9 Hz)² · 2e9 cycles
        (None, {}, 1e9),  # 3.2 J for 8 rounds
        (9.0, {}, 2e9),
        (0.5, {"frequencies_hz": (0.5e9, 1e9, 2e9)}, 1e9),
        (0.4, {"frequencies_hz": (0.5e9, 1e9, 2e9)}, 1e9),
        (0.01, {"frequencies_hz": (0.5e9, 1e9, 2e9)}, 0.5e9),
        (0.6, {"static_power_w": 0.1}, 1e9),  # and 0.1 W for 2 s
        (0.01, {"static_power_w": 0.1}, (0.1 / 4e-28) ** (1 / 3)),  # the cheapest
    ],
)
def test_the_frequency_that_a_rounds_energy_pays_for(joules, chip, frequency_hz):
    seen = sight(processor=Processor(**{**CHIP.model_dump(), **chip}))
    decided = policy("equal_energy", joules=joules).cpu_frequency(seen)
    assert decided == pytest.approx(frequency_hz, rel=1e-9)


def test_steps_that_a_rounds_energy_pays_for():
    """Ten steps have cost 0.5 J: 0.05 J each."""
    assert policy("equal_energy", joules=0.2).iterations(sight()) == 4
    assert policy("equal_energy").iterations(sight()) == 8  # 3.2 J for 8 rounds
    assert policy("equal_energy").iterations(sight(round=10)) == 64  # all 3.2 J for the last
    assert policy("equal_energy").iterations(sight(round=12)) == 64  # a turn more than there are rounds
    assert policy("equal_energy", joules=0.01).iterations(sight()) == 1
    assert policy("equal_energy", joules=0.2).iterations(sight(last=None)) is None
    assert policy("equal_energy").iterations(sight(battery_j=float("inf"))) is None


def test_power_inverts_the_worst_channel():
    """An SNR of 10 needs 1e-11 W at the receiver; 1e-10 of what is sent arrives there."""
    assert policy("channel_aware", snr_db=10).tx_power(sight()) == pytest.approx(0.1)
    assert policy("channel_aware", snr_db=10).tx_power(sight(tx_power_w=0.05)) == 0.05
    assert policy("channel_aware").tx_power(sight(power_gains={})) == 0.5


def test_fixed_values_are_one_for_all_or_a_list_that_begins_anew():
    assert policy("fixed", value=1e9).cpu_frequency(sight()) == 1e9
    of_each = policy("fixed", value=[0.1, 0.2, 0.3])
    assert [of_each.tx_power(sight(device=k)) for k in range(4)] == [0.1, 0.2, 0.3, 0.1]
    assert policy("fixed", value=5).iterations(sight()) == 5


def test_greedy_links_are_the_cheapest_tree_and_cheap_links_up_to_a_degree():
    """A square 0-1-2-3 with costs 1, 2, 3, 4 and a diagonal 0-2 of 5: the tree is 0-1-2-3."""
    square = [Link(0, 1, 1.0), Link(1, 2, 2.0), Link(2, 3, 3.0), Link(0, 3, 4.0), Link(0, 2, 5.0)]
    assert policy("greedy_links", degree=0).links(square, 1) == [(0, 1), (1, 2), (2, 3)]
    assert policy("greedy_links", degree=2).links(square, 1) == [(0, 1), (0, 3), (1, 2), (2, 3)]
    assert len(list(policy("greedy_links", degree=3).links(square, 1))) == 5


def test_greedy_links_keep_parts_connected_and_no_tree_is_cheaper():
    """Against all spanning trees of random networks of five devices, and on two islands."""
    random = np.random.default_rng(1)
    for _ in range(5):
        links = [Link(a, b, float(random.uniform())) for a, b in combinations(range(5), 2)]
        cost = {(a, b): joules for a, b, joules in links}
        trees = [
            tree
            for tree in combinations(cost, 4)
            if nx.is_connected(nx.Graph(tree)) and len(nx.Graph(tree)) == 5
        ]
        chosen = policy("greedy_links", degree=0).links(links, 1)
        assert sum(cost[one] for one in chosen) == pytest.approx(
            min(sum(map(cost.get, tree)) for tree in trees)
        )
    islands = [Link(0, 1, 2.0), Link(2, 3, float("inf"))]
    assert policy("greedy_links").links(islands, 1) == [(0, 1), (2, 3)]


def candidates(*known):
    """Candidates of given gains and ages."""
    return [Candidate(k, 1.0, gain, None, None, 0, age) for k, (gain, age) in enumerate(known)]


def test_participants_by_channel_and_by_age():
    seen = candidates((1e-9, 1), (3e-9, 4), (2e-9, 4), (4e-9, 2))
    assert ChannelAware(None, 0).choose(seen, 2, 1) == [3, 1]
    assert AgeOfUpdate(None, 0).choose(seen, 3, 1) == [1, 2, 3]


def test_a_policy_decides_what_it_overrides():
    decided = {name: registry.load("policies", name).decisions() for name in registry.names("policies")}
    assert decided == {
        "channel_aware": ["tx_power"],
        "deadline_frequency": ["cpu_frequency"],
        "equal_energy": ["iterations", "cpu_frequency"],
        "fixed": ["tx_power", "iterations", "cpu_frequency"],
        "greedy_links": ["links"],
    }
    for name in DECISIONS:
        with pytest.raises(NotImplementedError):
            getattr(Policy(None, 0), name)(*[None] * (2 if name == "links" else 1))
