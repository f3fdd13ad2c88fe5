"""Messages of an earlier round, kept by a protocol: what is mixed, and the same bytes wherever it is done."""

from __future__ import annotations

import statistics
from typing import Any

import networkx as nx
import pytest
import torch
from test_dmml_rounds import assert_close, states
from tiny_task import NETWORKS, Kept, make_learner, play_of

from learners.checks import fingerprint
from netsim.app.build import build
from netsim.scenario.loading import load_plan


def test_a_late_model_is_mixed_as_it_was_sent_beside_those_who_hear_the_newest() -> None:
    """On the triangle all weights are 1/3. Device 0 hears what 1 sent a round earlier; 2 hears 1's newest."""
    learner = make_learner("dmml", graph=nx.complete_graph(3))
    play = play_of(learner)
    late: dict[int, Any] = {}
    for t in (1, 2):
        for k in range(3):
            play.train(k, t)
        local, sent = play.models(), dict(play.sent)
        if t == 1:
            late, earlier = sent, local
            for k in range(3):
                play.aggregate(k, 1, {})
    heard_by = {0: {1: late[1], 2: sent[2]}, 1: {0: sent[0], 2: sent[2]}, 2: {0: sent[0], 1: sent[1]}}
    for k, arrived in heard_by.items():  # ordered first, then done together
        play.states[k] = learner.aggregate(play.work, k, 2, play.states[k], arrived).state
    for part in ("common", "trunk/audio"):
        for k, heard in ((0, (local[0], earlier[1], local[2])), (2, (local[0], local[1], local[2]))):
            names = [name for name in local[0][part] if "num_batches" not in name]
            expected = {n: torch.stack([state[part][n] for state in heard]).mean(0) for n in names}
            assert_close(expected, states(learner)[k][part])
    assert fingerprint(states(learner)[1]["common"]) != fingerprint(states(learner)[0]["common"])


class Airtimes(Kept):
    """And airtimes of all messages [s], and how many came late, by row."""

    def __init__(self) -> None:
        super().__init__()
        self.airtimes_s: list[float] = []
        self.late: list[int] = []

    def on_transfers(self, batch: Any) -> None:
        self.airtimes_s += batch.each("airtime_s")

    def on_round_end(self, row: Any, iterations: Any) -> None:
        self.late.append(row.late)


@pytest.fixture
def run(write_scenario: Any, tmp_path: Any) -> Any:
    def run(protocol: dict[str, Any], **jobs: Any) -> Airtimes:
        path = write_scenario(
            rounds=6,
            devices={"count": 4},
            topology={
                "placement": {"name": "grid", "spacing_m": 20.0},
                "links": {"name": "range", "range_m": 30.0},
            },
            radio={"bandwidth_hz": 1e3},
            protocol={"name": "decentralized_rounds", **protocol},
            data={"name": "tiny_task:TinyData"},
            partition={"name": "iid"},
            learner={"name": "dmml", "networks": NETWORKS, "batch_size": 8},
            jobs={"device": "cpu", "threads": 1, **jobs},
        )
        simulation = build(load_plan(path), tmp_path, lambda text: None)
        simulation.watch(kept := Airtimes())
        simulation.run()
        return kept

    return run


@pytest.mark.parametrize("schedule", ["shared", "own"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch cannot be forked where it sees a GPU")
def test_late_messages_give_the_same_bytes_wherever_it_is_done(run: Any, schedule: str) -> None:
    """With rounds as long as the median message takes, some come in time, some late, and some never."""
    loop = {"executor": "inline", "stacking": "off"}
    length_s = statistics.median(run({}, **loop).airtimes_s)
    protocol = {"deadline_s": length_s, "schedule": schedule, "late": "keep"}
    here = run(protocol, **loop)
    assert 5 < sum(here.late) < len(here.airtimes_s) / 2
    for executor in ("threads", "forked"):
        there = run(protocol, executor=executor, stacking="off")
        assert (there.rows, there.late) == (here.rows, here.late)
    as_it_comes = run(protocol)
    assert as_it_comes.late == here.late
    assert [row[:5] for row in as_it_comes.rows] == [row[:5] for row in here.rows]
    values = [[row.value for row in kept.rows if row.name == "loss_test"] for kept in (as_it_comes, here)]
    assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_predictions_of_one_rounds_samples_are_of_no_use_later(write_scenario: Any, tmp_path: Any) -> None:
    from netsim.core.errors import ScenarioError

    for transport, late, fits in (("predictions", "keep", False), ("checkpoint", "keep", True)):
        path = write_scenario(
            protocol={"name": "decentralized_rounds", "deadline_s": 1.0, "late": late},
            data={"name": "generated", "samples": 60, "test_samples": 20, "shape": [8]},
            partition={"name": "iid", "public_share": 0.2},
            learner={
                "name": "mhd",
                "transport": transport,
                "networks": {"features": {"name": "mlp", "hidden": [8]}},
            },
        )
        if fits:
            build(load_plan(path), tmp_path, lambda text: None)
        else:
            with pytest.raises(
                ScenarioError, match=r"protocol\.late: 'keep' cannot be used with this learner"
            ):
                build(load_plan(path), tmp_path, lambda text: None)
