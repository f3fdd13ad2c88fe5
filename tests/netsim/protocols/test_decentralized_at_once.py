"""What nothing can disturb, whole rounds or all that a device sends, is computed; events would make the same run."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import netsim.protocols.decentralized
from learners.algorithms.stub import Stub
from netsim.app.build import build
from netsim.core.errors import ScenarioError
from netsim.core.streams import stream
from netsim.learner import Cost, Message, Metric, Step, alike
from netsim.protocols.decentralized_at_once import RoundsAtOnce
from netsim.records.totals import Totals
from netsim.scenario import load_plan
from netsim.world.radio.radio import Radio
from netsim.world.radio.volley import Volley

WORLDS = settings(
    max_examples=int(os.environ.get("NETSIM_WORLDS", "30")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

stragglers = st.sampled_from(
    [{"name": "none"}, {"name": "lognormal", "sigma": 1.0}, {"name": "constant", "factor": 3, "share": 0.5}]
)
channels = st.sampled_from(
    [
        "none",
        "rayleigh",
        {"name": "rayleigh", "reciprocal": False},
        {"name": "rayleigh", "coherence_time_s": 1},
        {"name": "rayleigh", "coherence_time_s": 0.2, "reciprocal": False},
        "rician",
        {"name": "nakagami", "m": 0.7},
        {"name": "jakes", "coherence_time_s": 0.5},
    ]
)
rates = st.sampled_from(
    [
        "shannon",
        {"name": "shannon", "gap_db": 3.0, "cap_bps_per_hz": 4.4},
        {"name": "mcs", "block_bits": 2e4, "retransmissions": 1},
    ]
)


class Parcels(Stub):
    """Sends some neighbours one message, some another, some one of no bits and some none; measures what arrives."""

    METRICS: ClassVar = {"heard": "", "trained": "", "known": ""}

    def messages(self, node, round, receivers, together=False):
        draws = stream(self.setup.seed, "parcels", node, round).integers(5, size=len(receivers))
        groups: dict[int, list[int]] = {}
        for n, draw in zip(receivers, draws, strict=True):
            groups.setdefault(int(draw), []).append(n)
        return [Message(tuple(to), self.options.bits * size) for size, to in groups.items() if size < 4]

    def cost(self, node, round, peers, budget, plan):
        self.known = sum(budget.joules_per_bit[n] for n in peers)
        return Cost({"any": round}, {"any": self.options.flops * (1 + (node + round) % 3)})

    def train(self, work, node, round, state, cost):
        return Step(round, (node, round), [Metric("trained", 1.0), Metric("known", self.known)])

    def aggregate(self, work, node, round, state, arrived):
        assert [*arrived] == sorted(arrived) and all(sent == (k, round) for k, sent in arrived.items())
        return Step(state, metrics=[Metric("heard", float(sum(arrived)))])


class Acknowledged(Parcels):
    """Wants to know what arrived."""

    def __init__(self, setup):
        super().__init__(setup)
        self.delivered = {}

    def acknowledged(self, node, round, delivered):
        self.delivered[node, round] = sum(10**n for n, arrives in delivered.items() if arrives)

    def evaluate(self, work, node, round, state):
        return [Metric("known", float(self.delivered.get((node, round), -1)))]


class TwoKinds(Stub):
    """Every device has one of two modalities."""

    def cost(self, node, round, peers, budget, plan):
        return Cost({"odd": 7} if node % 2 else {"even": 1}, {"any": self.options.flops * (node + 1)})


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """A world without a server: how many devices, linked how, how fast, with which messages."""
    count = draw(st.integers(2, 9))
    speeds = [
        {"devices": [k], "processor": {"frequency_hz": draw(st.sampled_from([1e9, 2e9, 3.3e9]))}}
        for k in range(count)
    ]
    capacities = st.sampled_from([0.3, 1.0, 5.0, 60.0, 1e9])
    mortal = [
        {"devices": [k], "battery": {"capacity_j": draw(capacities)}}
        for k in draw(st.sampled_from([[0], range(count - 1), range(count)]))
    ]
    square = [[20 * (k % 3), 20 * (k // 3)] for k in range(count)]
    name = draw(st.sampled_from(["stub", "Parcels", "Acknowledged"]))
    return {
        "seed": draw(st.integers(0, 99)),
        "rounds": 4,
        "devices": {
            "count": count,
            "overrides": draw(st.sampled_from([[], speeds, mortal, speeds + mortal])),
            "stragglers": draw(stragglers),
            **draw(st.sampled_from([{}, {"rx_power_w": 0.3, "idle_power_w": 0.05}])),
        },
        "topology": {
            "placement": draw(
                st.sampled_from(
                    [{"name": "disc", "diameter_m": 300}, {"name": "coordinates", "positions_m": square}]
                )
            ),
            "links": {"name": "range", "range_m": draw(st.sampled_from([15.0, 25.0, 120.0, 300.0]))},
            "require_connected": False,
        },
        "radio": {
            "access": draw(st.sampled_from(["dedicated", "dedicated", "shared"])),
            "channel": draw(channels),
            "rate": draw(rates),
            "outage_snr_db": draw(st.sampled_from([None, 25.0])),
        },
        "protocol": {
            "name": "decentralized_rounds",
            "deadline_s": draw(st.sampled_from([None, None, None, 2.0])),
        },
        "learner": {
            "name": name if name == "stub" else f"{__name__}:{name}",
            "bits": draw(st.sampled_from([0, 1e5, 3e6])),
            "flops": draw(st.sampled_from([4e7, 4e9])),
        },
    }


def by_events(simulate: Any, world: dict[str, Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netsim.protocols.decentralized, "undisturbed", lambda *_: False)
        patch.setattr(Radio, "foreseeable", lambda *_: False)
        return simulate(**world)[1]


def sorted_moments(log: Any) -> dict[str, list[Any]]:
    """Return all rows; those of one moment may come in any order."""
    return {
        "rounds": sorted(
            zip(log.rounds, log.iterations, strict=True), key=lambda one: (one[0].end_s, one[0][:2])
        ),
        "transfers": sorted(log.transfers, key=lambda row: (row.end_s, row)),
        **{name: getattr(log, name) for name in ("outside", "metrics", "deaths", "closed")},
    }


LINE: dict[str, Any] = {
    "rounds": 4,
    "devices": {
        "count": 3,
        "overrides": [
            {"devices": [0, 1], "processor": {"frequency_hz": 2e9}},
            {"devices": [2], "processor": {"frequency_hz": 1e9}},
        ],
    },
    "topology": {
        "placement": {"name": "coordinates", "positions_m": [[0, 0], [20, 0], [40, 0]]},
        "links": {"name": "range", "range_m": 25.0},
    },
    "radio": {"channel": "none"},
    "learner": {"name": "stub", "bits": 1e5, "flops": 4e7},
}
"""Device 0 sends its second message in the moment in which the first round of device 1 ends."""


@WORLDS
@example(world=LINE)
@given(world=worlds())
def test_the_same_records_to_the_last_bit(simulate, world):
    at_once, other = sorted_moments(simulate(**world)[1]), sorted_moments(by_events(simulate, world))
    for name, rows in at_once.items():
        assert rows == other[name], name


def test_rows_come_in_the_order_of_events(simulate):
    """Both ends of a slow link often end a round in one moment; the next rounds begin in that order."""
    world = {
        "rounds": 12,
        "devices": {"count": 12},
        "topology": {"placement": {"name": "disc", "diameter_m": 150}, "links": {"name": "range"}},
        "learner": {"name": "stub", "flops": 3.93e12, "bits": 1.8e8},
    }
    at_once, other = simulate(**world)[1], by_events(simulate, world)
    ends_s = [row.end_s for row in at_once.rounds]
    assert len(set(ends_s)) < len(ends_s)
    assert at_once.rounds == other.rounds and at_once.transfers == other.transfers


@pytest.mark.parametrize(
    ("blocks", "at_once"),
    [
        ({}, True),
        ({"radio": {"outage_snr_db": 20.0}}, True),
        ({"protocol": {"name": "decentralized_rounds", "deadline_s": 9.0}}, False),
        ({"devices": {"count": 3, "overrides": [{"devices": [1], "battery": {"capacity_j": 1e9}}]}}, False),
        ({"radio": {"access": "shared"}}, False),
        ({"radio": {"access": {"name": "tdma", "per": "device"}}}, False),
        ({"radio": {"half_duplex": True}}, False),
        ({"radio": {"channel": {"name": "rayleigh", "coherence_time_s": 1.0}}}, False),
        ({"radio": {"channel": "none", "rate": {"name": "shannon", "gap_db": 3, "cap_bps_per_hz": 5}}}, True),
        ({"radio": {"channel": "rician"}}, True),
        ({"radio": {"channel": "nakagami"}}, True),
        ({"radio": {"channel": "jakes"}}, False),
        ({"radio": {"rate": "mcs"}}, False),
        ({"radio": {"acknowledgement_bits": 100}}, False),
        ({"learner": {"name": "stub", "coordinated": True}}, False),
    ],
)
def test_which_rounds_are_computed_at_once(simulate, monkeypatch, blocks, at_once):
    begun = []
    life = RoundsAtOnce.life
    monkeypatch.setattr(RoundsAtOnce, "life", lambda rounds: begun.append(rounds) or life(rounds))
    assert len(simulate(**blocks)[1].rounds) == 2 * 3
    assert len(begun) == at_once


class Counted(Stub):
    """Notes whom it was asked about; evaluates, all alike."""

    METRICS: ClassVar = {"round": ""}
    asked: ClassVar[list[tuple[str, int]]] = []

    @alike
    def train(self, work, node, round, state, cost):
        self.asked.append(("train", round))
        return super().train(work, node, round, state, cost)

    @alike
    def evaluate(self, work, node, round, state):
        self.asked.append(("evaluate", round))
        return [Metric("round", float(state))]


class CountedApart(Counted):
    """Answers no longer alike, as far as anybody knows: a method of its own is not marked."""

    def train(self, work, node, round, state, cost):
        return super().train(work, node, round, state, cost)


class TwoMessages(Stub):
    """Marks messages as alike that are not one to all."""

    @alike
    def messages(self, node, round, receivers, together=False):
        return [Message((n,), 1e5) for n in receivers]


def test_who_answers_alike_is_asked_once_a_round(simulate, monkeypatch):
    world = LINE | {"learner": {"name": f"{__name__}:Counted"}}
    monkeypatch.setattr(Counted, "asked", [])
    once = simulate(**world)[1]
    assert sorted(Counted.asked) == sorted((what, t) for what in ("train", "evaluate") for t in range(1, 5))
    Counted.asked.clear()
    apart = simulate(**world | {"learner": {"name": f"{__name__}:CountedApart"}})[1]
    trained = [t for what, t in Counted.asked if what == "train"]
    assert sorted(trained) == sorted([1, 2, 3, 4] * 3) and len(Counted.asked) == 12 + 4
    assert sorted_moments(once) == sorted_moments(apart) == sorted_moments(by_events(simulate, world))
    assert len(once.metrics) == 12 and {row.value for row in once.metrics if row.round == 3} == {3.0}


class Backwards(Stub):
    """Names the receivers in another order than they are told."""

    @alike
    def messages(self, node, round, receivers, together=False):
        return [Message(tuple(receivers)[::-1], self.options.bits)]


def test_alike_messages_name_their_receivers_in_any_order(simulate):
    backwards = simulate(**LINE | {"learner": {"name": f"{__name__}:Backwards", "bits": 1e6}})[1]
    assert sorted_moments(backwards) == sorted_moments(
        simulate(**LINE | {"learner": {"name": "stub", "bits": 1e6}})[1]
    )


def test_alike_messages_are_one_to_all(simulate):
    error = r"messages, marked as alike, of device 1, round 1: must return one message to all receivers \(got \[Mess"
    with pytest.raises(ScenarioError, match=error):
        simulate(**LINE | {"learner": {"name": f"{__name__}:TwoMessages"}})


def test_a_world_goes_to_events_where_a_battery_could_die(simulate, monkeypatch):
    """Three devices in a line; the middle one sends twice as much."""
    seen: dict[int, list[bool]] = {k: [] for k in range(3)}
    of = Volley.of

    def count(radio, sender, *others):
        volley = of(radio, sender, *others)
        seen[sender.number].append(volley is not None)
        return volley

    monkeypatch.setattr(Volley, "of", count)
    world = LINE | {
        "rounds": 40,
        "devices": {"count": 3, "battery": {"capacity_j": 1.0}},
        "radio": {"channel": {"name": "rayleigh", "coherence_time_s": 0.1}},
        "learner": {"name": "stub", "bits": 1e6, "flops": 4e7},
    }
    log = simulate(**world)[1]
    assert 1 in {device for device, _ in log.deaths}
    computed = seen[1]
    assert computed[:20] == [True] * 20 and not computed[-1]
    safe = world | {"devices": {"count": 3, "battery": {"capacity_j": 1e9}}}
    for found in seen.values():
        found.clear()
    simulate(**safe)
    assert all(found == [True] * 40 for found in seen.values())


def test_totals_are_those_of_events(write_scenario, tmp_path):
    """Rows come as arrays there and one by one here; two modalities, of which each device trains one."""
    summaries = []
    for at_once in (True, False):
        path = write_scenario(
            rounds=5,
            devices={"count": 9, "rx_power_w": 0.3, "idle_power_w": 0.05},
            topology={"links": {"name": "range", "range_m": 60.0}},
            learner={"name": f"{__name__}:TwoKinds"},
        )
        simulation = build(load_plan(path), tmp_path, lambda text: None)
        totals = Totals(9)
        simulation.watch(totals)
        with pytest.MonkeyPatch.context() as patch:
            if not at_once:
                patch.setattr(netsim.protocols.decentralized, "undisturbed", lambda *_: False)
            simulation.run()
        summaries.append(totals.summary())
    assert summaries[0] == summaries[1]
    assert summaries[0]["iterations_per_device"] == {"even": 25 / 9, "odd": 20 * 7 / 9}
