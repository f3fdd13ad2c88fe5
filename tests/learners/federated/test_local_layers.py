"""Layers that stay on their device: what is named, sent, charged, averaged and evaluated."""

from __future__ import annotations

from typing import Any

import networkx as nx
import pytest
import torch
from server_play import Play, Together, initial, make
from tiny_task import make_learner, play_of

from learners.training.late_fusion.local_layers import local_columns
from netsim.core.errors import ScenarioError
from netsim.scenario.model import Costs, StatedCosts
from netsim.world.topology.mixing import metropolis_weights

EYES = {
    "modalities": ("visual",),
    "head_hidden": 6,
    "batch_size": 8,
    "learning_rate": 0.05,
    "precision": "float64",
}
"""One modality with a small ResNet, which has batch normalisation, and one head with a hidden layer."""


def named(learner: Any) -> set[str]:
    """The names of the tensors that stay."""
    found = set()
    for part, places in learner._federation.local.items():
        entries = learner._federation.initial[part].layout.entries
        found |= {f"{part}.{name}" for name, entry in entries.items() if entry.start in places.tolist()}
    return found


def test_words_name_layers() -> None:
    everything = {f"{part}.{name}" for part, own in initial(make("fedavg", **EYES)).items() for name in own}
    normal = named(make("fedavg", **EYES, local=("bn",)))
    assert normal and all("running" in one or one.endswith((".weight", ".bias")) for one in normal)
    counters = {one for one in everything if one.endswith("num_batches_tracked")}
    of_layers = {one.rpartition(".")[0] for one in counters}
    assert normal == {one for one in everything - counters if one.rpartition(".")[0] in of_layers}
    assert named(make("fedavg", **EYES, local=("head",))) == {
        one for one in everything if one.startswith("fusion.")
    }
    assert named(make("fedavg", **EYES, local=("fusion.0",))) == {"fusion.0.weight", "fusion.0.bias"}


@pytest.mark.parametrize(
    ("words", "text"),
    [(("heads",), "nothing is called 'heads'"), (("trunk", "head"), "nothing would be left to send")],
)
def test_words_that_name_nothing_or_everything_are_refused(words: tuple[str, ...], text: str) -> None:
    with pytest.raises(ScenarioError, match=rf"learner.local: {text}"):
        make("fedavg", **EYES, local=words)


def test_networks_without_normalisation_have_none_that_stays() -> None:
    """A line that says so, and not that bn could be bn."""
    plain = {**EYES, "networks": {"visual": {"name": "mlp", "hidden": [4]}}}
    with pytest.raises(
        ScenarioError, match=r"^learner.local: bn is .*, and these networks have none; leave it out"
    ):
        make("fedavg", **plain, local=("bn",))


def test_what_stays_is_not_charged_for() -> None:
    """32 bits for each number that is sent; of stated bits the same part is sent as of the numbers."""
    for words in (("bn",), ("head",)):
        learner, whole = make("fedavg", **EYES, local=words), make("fedavg", **EYES)
        kept = sum(map(len, learner._federation.local.values()))
        ours, theirs = (Play(one).begin([0]) for one in (learner, whole))
        assert ours.sent[0].size_bits == theirs.sent[0].size_bits - 32 * kept
        assert ours.downloads[0].size_bits == theirs.downloads[0].size_bits - 32 * kept
    stated = Costs(
        stated=StatedCosts(flops_per_iteration={"visual": 1e6}, bits={"visual": 1000.0}, common_bits=500.0)
    )
    assert Play(make("fedavg", **EYES, local=("head",), costs=stated)).begin([0]).sent[0].size_bits == 1000.0


@pytest.mark.parametrize("name", ["fedavg", "gradient_tracking"])
def test_neighbours_average_all_but_what_stays(name: str) -> None:
    """FedBN without a server: normalisation is each device's as it has trained it, the rest is averaged."""
    graph = nx.path_graph(3)
    learner = make_learner(name, graph, **EYES, local=("bn",), momentum=0.0)
    play, xi = play_of(learner), metropolis_weights(graph)
    for t in (1, 2):
        play.round(t)
        for part, own in play.models()[1].items():
            stays = torch.zeros(own.layout.size, dtype=torch.bool)
            stays[learner._federation.local.get(part, torch.tensor([], dtype=torch.int64))] = True
            stays[own.layout.sent :] = True
            mean = sum(xi[1][n] * play.local[n][part].row.tensor for n in xi[1])
            expected = torch.where(stays, play.local[1][part].row.tensor, mean)
            torch.testing.assert_close(own.row.tensor, expected, rtol=1e-9, atol=1e-9)
    assert not torch.equal(*(play.models()[k]["trunk/visual"].row.tensor for k in (0, 1)))


@pytest.mark.parametrize("name", ["fedavg", "fedprox", "fednova"])
@pytest.mark.parametrize("executor", [None, Together])
def test_a_client_trains_on_with_its_own_layers(name: str, executor: Any) -> None:
    """FedPer: in round 2 a client begins with its own head of round 1 and the server's trunk. Clients are judged."""
    learner = make(name, **EYES, local=("head",))
    play = Play(learner, executor and executor())
    first = play.begin([0, 1, 2])
    trained = play.results(first)
    play.combine(first)
    server = play.parts()
    assert server["fusion"].weights.equal(initial(learner)["fusion"].weights)
    assert not server["trunk/visual"].weights.equal(initial(learner)["trunk/visual"].weights)
    second = play.begin([0, 1])
    for k in (0, 1):
        before = play.work.value(second.uploads[k].before)
        assert before["fusion"].weights.equal(trained[k].state["fusion"].weights)
        assert before["trunk/visual"].weights.equal(server["trunk/visual"].weights)
    play.combine(second)
    told = play.metrics(second)
    assert {k for k, metric, _ in told if metric == "accuracy"} == {0, 1}


def test_places_are_those_of_a_row() -> None:
    learner = make("fedavg", **EYES)
    net = learner._federation.architecture.build()
    places = local_columns(net.parts(), initial(learner), ["fusion.0.bias"])
    entry = initial(learner)["fusion"].layout.entries["0.bias"]
    assert places["fusion"].tolist() == list(range(entry.start, entry.start + entry.size))
