"""Exchange and mixing of DMML (eqs. 13 and 15), and the three algorithms against each other."""

from __future__ import annotations

from typing import Any

import networkx as nx
import pytest
import torch
from tiny_task import UNLIMITED, Deal, make_learner, play_of, play_round

from learners.algorithms.dmml_kd_balance import BalanceReport, per_iteration
from learners.checks import fingerprint
from learners.training.decomposed.aggregate import aggregate
from netsim.learner import Message
from netsim.scenario.model import Evaluation

MIXED = Deal({0: ("audio",), 1: ("audio", "visual"), 2: ("visual",), 3: ("audio", "visual")})


def states(learner: Any) -> dict[int, Any]:
    return play_of(learner).models()


def assert_close(one: Any, other: Any) -> None:
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-7)


def test_all_devices_begin_with_the_same_model() -> None:
    learner = make_learner("dmml_kd", partition=MIXED)
    for part in ("common", "generator"):
        assert len({fingerprint(state[part]) for state in states(learner).values()}) == 1
    assert fingerprint(states(learner)[0]["trunk/audio"]) == fingerprint(states(learner)[3]["trunk/audio"])
    other = make_learner("dmml_kd", partition=MIXED, seed=1)
    assert fingerprint(states(other)[0]["common"]) != fingerprint(states(learner)[0]["common"])


def test_on_a_complete_graph_a_round_is_federated_averaging() -> None:
    """All weights are 1/K: everybody has the plain mean of all local models."""
    learner = make_learner("dmml_kd", graph=nx.complete_graph(3))
    play_round(learner, 1)
    local = [play_of(learner).local[k] for k in range(3)]
    for part in local[0]:
        for name in local[0][part]:
            if "num_batches" not in name:
                mean = torch.stack([state[part][name] for state in local]).mean(0)
                for k in range(3):
                    torch.testing.assert_close(states(learner)[k][part][name], mean, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("graph", [nx.path_graph(4), nx.star_graph(3), nx.cycle_graph(4)])
def test_mixing_keeps_the_mean_over_those_who_hold_a_part(graph: nx.Graph) -> None:
    """Metropolis-Hastings weights are doubly stochastic, also on the sub-graph of a modality's owners."""
    learner = make_learner("dmml_kd", graph=graph, partition=MIXED)
    play_round(learner, 1)
    for part in ("common", "generator", "trunk/audio", "specific/audio", "trunk/visual"):
        holders = [k for k in graph if part in states(learner)[k]]
        for name in play_of(learner).local[holders[0]][part]:
            if "num_batches" not in name:
                before = torch.stack([play_of(learner).local[k][part][name] for k in holders]).mean(0)
                after = torch.stack([states(learner)[k][part][name] for k in holders]).mean(0)
                torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-7)


def test_mixing_follows_whom_devices_meet() -> None:
    """The links are a path as the run begins; in the first round all meet on a ring, and the mean is kept there."""
    learner = make_learner("dmml", graph=nx.path_graph(4), partition=MIXED)
    ring = learner.graph = nx.cycle_graph(4)  # for the play
    for k in ring:
        learner.meets(k, 1, {n: sorted(ring[n]) for n in (k, *ring[k])})
    play_round(learner, 1)
    for part in ("common", "trunk/audio"):
        holders = [k for k in ring if part in states(learner)[k]]
        for name in play_of(learner).local[holders[0]][part]:
            if "num_batches" not in name:
                before = torch.stack([play_of(learner).local[k][part][name] for k in holders])
                after = torch.stack([states(learner)[k][part][name] for k in holders])
                torch.testing.assert_close(after.mean(0), before.mean(0), rtol=1e-5, atol=1e-7)
                if part == "common":  # thirds of one's own and of both neighbours'
                    torch.testing.assert_close(after[0], before[[3, 0, 1]].mean(0), rtol=1e-5, atol=1e-7)


def test_mixing_weights_are_those_of_each_parts_owners() -> None:
    """On the path 0-1-2-3 audio is owned by 0, 1, 3: 0-1 mix by half, and 3, without a neighbour, keeps its own."""
    learner = make_learner("dmml", partition=MIXED)
    weights = learner._neighbourhood.value.weights
    assert weights["audio"] == {0: {0: 0.5, 1: 0.5}, 1: {0: 0.5, 1: 0.5}, 3: {3: 1.0}}
    for rows in weights.values():
        for k, row in rows.items():
            assert sum(row.values()) == pytest.approx(1.0)
            assert all(rows[n][k] == weight for n, weight in row.items()), "symmetric"
    play_round(learner, 1)
    own = play_of(learner).local[3]["trunk/audio"]
    assert fingerprint(states(learner)[3]["trunk/audio"]) == fingerprint(own)


def test_integer_counters_stay_the_receivers_own() -> None:
    """Device 0 has two mini-batches of samples, device 1 has one."""
    learner = make_learner("dmml", graph=nx.complete_graph(2), partition=Deal(rows={0: 16, 1: 8}))
    play_round(learner, 1)
    counts = [int(states(learner)[k]["trunk/visual"]["norm.num_batches_tracked"]) for k in (0, 1)]
    assert counts == [2, 1]


def test_messages_weigh_what_both_own_and_that_is_what_is_taken_from_them() -> None:
    """Device 1 (both) sends audio to 0, visual to 2; 32 bits for each weight and running statistic."""
    learner = make_learner("dmml_kd", partition=MIXED)
    play = play_of(learner)
    play.train(1, 1)
    model = play.models()[1]
    for message, modality in zip(learner.messages(1, 1, [0, 2]), ("audio", "visual"), strict=True):
        sent = [model[part] for part in (f"trunk/{modality}", f"specific/{modality}", "common", "generator")]
        floats = [t for part in sent for n, t in part.items() if "num_batches" not in n]
        assert message.size_bits == 32 * sum(t.numel() for t in floats)
    play.aggregate(0, 1, {1: play.sent[1]})
    assert set(play.models()[0]) == {"trunk/audio", "specific/audio", "common", "generator"}


def test_the_weight_of_a_message_that_did_not_arrive_stays_at_home() -> None:
    """Device 1 on the path 0-1-2: ⅓ each; without device 0 it keeps ⅔ of its own."""
    learner = make_learner("dmml", graph=nx.path_graph(3))
    play = play_of(learner)
    for k in range(3):
        play.train(k, 1)
    own, theirs = play.models()[1], play.models()[2]
    play.aggregate(1, 1, {2: play.sent[2]})
    expected = {n: own["common"][n] * 2 / 3 + theirs["common"][n] / 3 for n in own["common"]}
    assert_close(states(learner)[1]["common"], expected)


def test_a_device_whose_training_was_cut_off_mixes_what_it_began_with() -> None:
    learner = make_learner("dmml", graph=nx.path_graph(2))
    play, before = play_of(learner), states(learner)[0]
    play.train(1, 1)
    theirs = play.models()[1]
    metrics = play.aggregate(0, 1, {1: play.sent[1]})
    expected = {n: (before["common"][n] + theirs["common"][n]) / 2 for n in before["common"]}
    assert_close(states(learner)[0]["common"], expected)
    assert metrics["variation_local", "audio"] == 0.0


def test_who_mixes_beside_whom_changes_no_bit() -> None:
    """All at once, one by one, and in another order; device 2 hears nobody."""
    learner = make_learner("dmml_kd_balance", partition=MIXED)
    play = play_of(learner)
    for k in range(4):
        play.train(k, 1)
    heard = {0: [1], 1: [0, 2], 2: [], 3: [2]}
    models, before = play.models(), make_learner("dmml_kd_balance", partition=MIXED)
    first = play_of(before).models()
    inputs = [
        {
            "device": k, "parts": models[k], "before": first[k], "arrived": {n: models[n] for n in heard[k]},
            "factors": {}, "neighbourhood": learner._neighbourhood.value, "epsilon": 1e-8,
        }
        for k in heard
    ]  # fmt: skip
    together = aggregate(inputs)
    assert fingerprint([aggregate([one])[0] for one in inputs]) == fingerprint(together)
    assert fingerprint(aggregate(inputs[::-1])[::-1]) == fingerprint(together)


def test_relative_variation_follows_eq_18() -> None:
    learner = make_learner("dmml_kd_balance", graph=nx.path_graph(2))
    before = states(learner)[0]["trunk/audio"].weights
    metrics = play_round(learner, 1)[0]
    after = states(learner)[0]["trunk/audio"].weights
    local = {k: play_of(learner).local[k]["trunk/audio"].weights for k in (0, 1)}
    phi = {k: ((w - before).norm() / after.norm()).item() for k, w in local.items()}
    assert metrics["variation", "audio"] == pytest.approx(
        ((after - before).norm() / after.norm()).item(), rel=1e-5
    )
    assert metrics["variation_local", "audio"] == pytest.approx(phi[0], rel=1e-5)
    reported = play_of(learner).work.value(play_of(learner).report(0).payload).coefficients["audio"]
    assert reported == pytest.approx({k: 0.5 / (phi[k] + 1e-8) for k in phi}, rel=1e-5)
    assert not any(
        "running" in name or "num_batches" in name
        for name in states(learner)[0]["trunk/visual"].layout.trained
    )


def test_balance_that_cuts_nothing_is_dmml_kd_bit_for_bit() -> None:
    plain, balanced = make_learner("dmml_kd"), make_learner("dmml_kd_balance")
    for t in (1, 2, 3):
        for learner in (plain, balanced):
            play_round(learner, t)
        # As if Algorithm 2 had found nothing to cut.
        play_of(balanced).plans = {k: {"audio": 3, "visual": 3} for k in plain.graph}
    assert fingerprint(states(plain)) == fingerprint(states(balanced))


def test_decisions_are_followed_and_without_one_everything_trains() -> None:
    learner = make_learner("dmml_kd_balance")
    decided = learner.cost(0, 2, (1,), UNLIMITED, {"audio": 1, "visual": 3})
    assert decided.iterations == {"audio": 1, "visual": 3}
    assert learner.cost(0, 3, (1,), UNLIMITED, None).iterations == {"audio": 3, "visual": 3}


def test_decisions_bring_the_modalities_together() -> None:
    learner = make_learner("dmml_kd_balance")
    head = play_round(learner, 1)[-1]
    gammas = {m: head["gamma", m] for m in ("audio", "visual")}
    full = {m: head["gamma_full", m] for m in ("audio", "visual")}
    slowest = min(full, key=full.__getitem__)
    assert gammas[slowest] == full[slowest]
    assert max(gammas.values()) <= full[slowest] or head["balance_unreachable", "audio"]


@pytest.mark.parametrize("variation", ["round", "iteration"])
def test_reports_are_free_or_32_bits_a_number(variation: str) -> None:
    """Device 0 of a path has one neighbour: N^max, and for two modalities ξ/φ of itself and the neighbour.

    Where φ is taken per iteration, N of each modality that both own goes with the model.
    """
    plain = make_learner("dmml_kd").messages(0, 1, [1])[0].size_bits
    for choice, bits in (("free", 0.0), ("sent", 32.0 * (1 + 2 * 2))):
        learner = make_learner("dmml_kd_balance", coordination=choice, variation=variation)
        play_round(learner, 1)
        report = play_of(learner).report(0)
        assert report.size_bits == bits
        decisions, _ = learner.decide(play_of(learner).work, 1, 1, {0: report.payload})
        assert decisions[0].size_bits == (0.0 if choice == "free" else 64.0)
        extra = 64.0 if (choice, variation) == ("sent", "iteration") else 0.0
        assert learner.messages(0, 1, [1])[0].size_bits == plain + extra


def test_a_dead_device_is_left_out_of_the_balance() -> None:
    learner = make_learner("dmml_kd_balance")
    play_round(learner, 1)
    play = play_of(learner)
    decisions, _ = learner.decide(play.work, 1, 1, {k: play.report(k).payload for k in (0, 1, 2)})
    assert sorted(decisions) == [0, 1, 2]


def test_reference_runs_of_one_modality() -> None:
    """Devices that do not own it sit out: no work, no messages, no evaluation."""
    learner = make_learner("dmml", partition=MIXED, modalities=["audio"])
    assert learner.owners() == {"audio": frozenset({0, 1, 3})}
    assert learner.cost(2, 1, (1, 3), UNLIMITED, None).total_flops == 0
    assert play_of(learner).job(2) is None
    metrics = play_round(learner, 1)
    assert metrics[2] == {} and ("accuracy", "") in metrics[0]
    assert ("accuracy", "audio") not in metrics[0], "it would be the same number twice"
    assert [m.receivers for m in learner.messages(1, 1, [0, 2])] == [(0,)]


def test_models_are_evaluated_when_the_scenario_says_and_at_the_end() -> None:
    learner = make_learner("dmml", rounds=5, evaluation=Evaluation(every=2, samples=10))
    play = play_of(learner)
    evaluated = [t for t in range(1, 6) if learner.evaluate(play.work, 0, t, play.states[0]) is not None]
    assert evaluated == [2, 4, 5]
    made = play.work.trace()
    learner.evaluate(play.work, 0, 2, play.states[0])
    assert len(made[0].inputs["rows"].value) == 10


def test_isolated_devices_send_nothing_and_keep_what_they_trained() -> None:
    learner = make_learner("isolated")
    play_round(learner, 1)
    assert learner.messages(1, 1, [0, 2]) == []
    assert fingerprint(states(learner)[1]) == fingerprint(play_of(learner).local[1])


def test_centralized_trains_on_everything_at_the_best_connected_device() -> None:
    learner = make_learner("centralized", graph=nx.star_graph([2, 0, 1, 3]), partition=MIXED)
    costs = {k: learner.cost(k, 1, (), UNLIMITED, None) for k in range(4)}
    assert [k for k, cost in costs.items() if cost.total_flops] == [2]
    assert costs[2].iterations == {"audio": 12, "visual": 12}, "96 samples by 8"


@pytest.mark.parametrize("name", ["dmml", "dmml_kd"])
def test_devices_learn_the_task(name: str) -> None:
    """Chance is 1/3; two devices with all the data in two rounds of many steps leave it far behind."""
    learner = make_learner(name, graph=nx.path_graph(2), local_epochs=12, learning_rate=1e-2, rounds=2)
    for t in (1, 2):
        metrics = play_round(learner, t)
    assert metrics[0]["accuracy", ""] > 0.7
    assert set(m[0] for m in metrics[0]) <= set(learner.METRICS)


def test_concat_is_the_network_of_fig_3() -> None:
    learner = make_learner("dmml", architecture="concat")
    play_round(learner, 1)
    assert set(states(learner)[0]["common"]) == {"bias"}
    assert states(learner)[0]["specific/audio"]["weight"].shape == (3, 8)
    assert isinstance(learner.messages(0, 1, [1])[0], Message)


def test_variation_per_iteration_takes_the_feedback_out() -> None:
    """Audio trained 1 of 3 iterations: its coefficients count a third; at 0 iterations the last known ones stand."""
    learner = make_learner("dmml_kd_balance", variation="iteration")
    play = play_of(learner)
    play_round(learner, 1)
    play.plans = {k: {"audio": 1, "visual": 3} for k in (0, 1, 2)}
    play_round(learner, 2)
    assert play.sent[1].iterations == {"audio": 1, "visual": 3}
    rows = {"audio": {0: 2.0, 1: 4.0}, "visual": {0: 5.0}}
    told = {0: {"audio": 1, "visual": 3}, 1: {"audio": 3, "visual": 3}}
    (first,) = per_iteration([{"coefficients": rows, "iterations": told, "known": {}}])
    assert first.coefficients == {"audio": {0: 2.0, 1: 12.0}, "visual": {0: 15.0}}
    idle = {0: {"audio": 0, "visual": 3}, 1: {}}
    (then,) = per_iteration([{"coefficients": rows, "iterations": idle, "known": first.known}])
    assert then.coefficients == first.coefficients
    (never,) = per_iteration([{"coefficients": rows, "iterations": idle, "known": {}}])
    assert never.coefficients == {"visual": {0: 15.0}}


@pytest.mark.parametrize(
    "reference, second", [("none", {"audio": 8, "visual": 2}), ("first", {"audio": 4, "visual": 8})]
)
def test_variation_relative_to_that_of_the_first_round(reference: str, second: dict[str, int]) -> None:
    """Audio's φ falls from 0.2 to 0.1, visual's stays at 0.025; N^max = 8 on two neighbours, ξ = ½ everywhere.

    Literally S is 5 and 40, then 10 and 40: visual is cut from 8 to 1 in both rounds' decisions first, to 2 then, since
    it moves least. In units of the first round S is 1 and 1, which is balanced, then 2 and 1: audio is cut to half.
    """
    learner = make_learner("dmml_kd_balance", variation_reference=reference)
    work = play_of(learner).work
    decided = []
    for audio in (0.2, 0.1):
        rows = {m: {0: 0.5 / phi, 1: 0.5 / phi} for m, phi in (("audio", audio), ("visual", 0.025))}
        reports = {k: BalanceReport(8, rows) for k in (0, 1)}
        decisions, _ = learner.decide(work, 0, len(decided) + 1, reports)
        assert decisions[0].payload == decisions[1].payload
        decided.append(decisions[0].payload)
    first = {"audio": 8, "visual": 1} if reference == "none" else {"audio": 8, "visual": 8}
    assert decided == [first, second]
