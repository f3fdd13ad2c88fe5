"""Compressors by hand, what they promise, memories of errors, and gossip of compressed models (CHOCO)."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from server_play import AUDIO, EARS, Play, Together, assert_models_close, initial, make, part, played
from tiny_task import make_learner, play_of

from learners.networks.state import Part, Row
from learners.training.coding import Codec, compressed
from learners.training.compression import Compressor, CompressorChoice, largest
from learners.training.late_fusion.local_update import Trained
from learners.training.late_fusion.neighbours import Neighbours, owners
from learners.training.late_fusion.sending import gossip
from netsim.core.errors import ScenarioError
from netsim.core.registry import load, names
from netsim.learner import because_of
from netsim.scenario.model import Costs, StatedCosts
from netsim.world.topology.mixing import metropolis_weights

HAND: dict[str, tuple[dict[str, Any], list[int], list[float], list[float], float]] = {
    "none": ({}, [4], [3, -1, 2, -2], [3, -1, 2, -2], 128),
    "top_k": ({"ratio": 0.5}, [4], [3, -1, 2, -2], [3, 0, 2, 0], 68),
    "random_k": ({"ratio": 0.5}, [4], [2, 2, 2, 2], [4, 4, 0, 0], 128),
    "quantise": ({"levels": 5}, [2], [3, -4], [3, -4], 40),
    "sign": ({}, [4, 1], [3, -1, 0, 2, -5], [1.5, -1.5, 1.5, 1.5, -5], 69),
}


def made(name: str, **options: Any) -> Compressor:
    return CompressorChoice(name=name, **options).make()


def slices(sizes: list[int]) -> list[slice]:
    return [slice(a, b) for a, b in pairwise(np.cumsum([0, *sizes]).tolist())]


@pytest.mark.parametrize("name", HAND)
def test_compressors_by_hand(name: str) -> None:
    """Values of 32 bits.

    * none: four numbers, 4 · 32 = 128 bits.
    * top_k: two of 3, −1, 2, −2; of 2 and −2 the first. 2 (32 + ⌈log₂ 4⌉) = 68 bits, as many as 2 · 32 + 4.
    * random_k: any two of four 2s, times 4/2. A seed of 64 bits and two values: 128 bits.
    * quantise: ‖(3, −4)‖ = 5, s = 5: 3/5 and 4/5 are whole numbers of fifths. 2 ⌈log₂ 11⌉ + 32 = 40 bits.
    * sign: (3 + 1 + 0 + 2)/4 = 1.5 in the first tensor, 5 in the second; 0 counts as +. 5 + 2 · 32 = 69 bits.
    """
    options, sizes, row, expected, bits = HAND[name]
    compressor = made(name, **options)
    (found,) = compressor.compress(torch.tensor([row], dtype=torch.float64), slices(sizes), [7], True)
    if name == "random_k":
        found = found.sort(descending=True).values
    assert found.tolist() == pytest.approx(expected)
    assert compressor.bits(sizes, 32) == bits


def test_every_compressor_has_its_hand_computed_example() -> None:
    assert sorted(HAND) == names("compressors")


def test_top_k_takes_the_shorter_way_to_say_where() -> None:
    """Of 1000: ten by their places of ten bits, half by a bit each, all without saying where."""
    assert made("top_k", ratio=0.01).bits([900, 100], 32) == 10 * (32 + 10)
    assert made("top_k", ratio=0.5).bits([1000], 32) == 500 * 32 + 1000
    assert made("top_k", ratio=1.0).bits([1000], 32) == 32000


@pytest.mark.parametrize("kind", ["normal", "ties", "rare", "equal"])
@pytest.mark.parametrize("count", [1, 17, 900, 3000])
@pytest.mark.parametrize("guess", [math.inf, 0.0, 1.0, 1.5])
def test_the_largest_are_those_of_a_sorted_list(kind: str, count: int, guess: float) -> None:
    """Also where guess and sample say nothing of the few that are large, and exactly so many of equal ones."""
    draw = np.random.default_rng(count)
    sizes = {
        "normal": np.abs(draw.normal(size=3000)),
        "ties": draw.integers(0, 4, size=3000).astype(float),
        "rare": np.where(np.arange(3000) % 100 == 1, draw.uniform(1, 2, size=3000), 0.0),
        "equal": np.ones(3000),
    }[kind]
    expected = np.argsort(-sizes, kind="stable")[:count]
    assert sorted(largest(sizes, count, guess)) == sorted(expected)


VECTOR = torch.tensor([[0.5, -2.0, 0.1, 1.0, 0.0, -0.3]], dtype=torch.float64)


@pytest.mark.parametrize(("name", "options"), [("random_k", {"ratio": 0.5}), ("quantise", {"levels": 2})])
def test_the_mean_is_the_change(name: str, options: dict[str, Any]) -> None:
    """Within five standard errors over 4000 seeds."""
    rows = VECTOR.expand(4000, -1)
    found = made(name, **options).compress(rows, [slice(0, 6)], range(4000), True)
    error = found.std(0) / 4000**0.5
    assert ((found.mean(0) - VECTOR[0]).abs() <= 5 * error + 1e-12).all()


@pytest.mark.parametrize(
    ("name", "options", "kept"),
    [
        ("top_k", {"ratio": 0.5}, 0.5),
        ("random_k", {"ratio": 0.5}, 0.5),
        ("quantise", {"levels": 2}, 1 / (1 + min(6 / 4, 6**0.5 / 2))),
        ("sign", {}, float(VECTOR.abs().sum() ** 2 / (6 * (VECTOR**2).sum()))),
    ],
)
def test_with_a_memory_it_is_a_contraction(name: str, options: dict[str, Any], kept: float) -> None:
    """E‖C(v) − v‖² ≤ (1 − δ)‖v‖² with δ = k/d, 1/τ, or ‖v‖₁²/(d‖v‖²) of the sign, where it is exact."""
    rows = VECTOR.expand(4000, -1)
    found = made(name, **options).compress(rows, [slice(0, 6)], range(4000), False)
    left = ((found - rows) ** 2).sum(1) / (VECTOR**2).sum()
    mean, error = float(left.mean()), float(left.std() / 4000**0.5)
    assert mean <= 1 - kept + 5 * error + 1e-12
    if name in ("random_k", "sign"):
        assert mean == pytest.approx(1 - kept, abs=5 * error + 1e-12)


@pytest.mark.parametrize("name", HAND)
def test_nothing_is_made_of_nothing(name: str) -> None:
    zeros = torch.zeros(2, 5)
    assert not made(name).compress(zeros, slices([3, 2]), [1, 2], True).any()


def trained(numbers: Any, device: int = 0, finite: bool = True) -> Trained:
    row = torch.as_tensor(numbers, dtype=torch.float64)
    like = part([0.0] * len(row))
    return Trained({"fusion": Part(Row(row[None], 0), like.layout)}, 0.0, {}, 1, 1.0, {}, {}, finite)


def job(codec: Codec, own: Trained, known: Any, **others: Any) -> dict[str, Any]:
    return {
        "codec": codec, "device": 0, "round": 1, "error": {}, "trained": own, "known": known.state, **others
    }  # fmt: skip


@pytest.mark.parametrize("name", [one for one in HAND if one != "none"])
def test_what_is_left_out_is_sent_later(name: str) -> None:
    """Σ C(Δ_t + e_t) + e_T = Σ Δ_t: nothing of 20 changes is lost, however coarse the messages are."""
    codec = Codec(CompressorChoice(name=name, error_feedback=True), {}, 3, False)
    draw, error, said, meant = torch.Generator().manual_seed(1), {}, torch.zeros(30), torch.zeros(30)
    for t in range(20):
        before, change = (torch.randn(30, dtype=torch.float64, generator=draw) for _ in range(2))
        (sent,) = compressed([job(codec, trained(before + change), trained(before), error=error, round=t)])
        said = said + sent.trained.state["fusion"].weights - before
        meant, error = meant + change, sent.error
    torch.testing.assert_close(said + error["fusion"].tensor, meant)
    assert float(error["fusion"].tensor.abs().max()) > 0.01


def test_error_feedback_by_hand() -> None:
    """top_k with k = 1 of 2: of (3, 2) it sends (3, 0), of (1, 0) + (0, 2) then (0, 2); e is (0, 2), then (1, 0)."""
    codec = Codec(CompressorChoice(name="top_k", ratio=0.5, error_feedback=True), {}, 0, False)
    nothing = trained([0.0, 0.0])
    (first,) = compressed([job(codec, trained([3.0, 2.0]), nothing)])
    (second,) = compressed([job(codec, trained([1.0, 0.0]), nothing, error=first.error)])
    assert [one.trained.state["fusion"].weights.tolist() for one in (first, second)] == [[3, 0], [0, 2]]
    assert [one.error["fusion"].tensor.tolist() for one in (first, second)] == [[0, 2], [1, 0]]


@pytest.mark.parametrize("name", names("compressors"))
def test_all_devices_at_once_are_each_alone_to_the_byte(name: str) -> None:
    """With many numbers that are equal, devices that differ by a thousand, one that diverged, and two without an e."""
    feedback = {} if name == "none" else {"error_feedback": True}
    codec = Codec(CompressorChoice(name=name, **feedback), {}, 3, False)
    draw = torch.Generator().manual_seed(1)
    bank = torch.randn(6, 400, generator=draw).mul(4).round() * torch.tensor(
        [[1.0], [1e3], [1], [1e-3], [1], [2]]
    )
    left = torch.randn(6, 400, generator=draw).round()
    jobs = []
    for k in range(6):
        known, own = trained([0.0] * 400), trained([0.0] * 400)
        layout = known.state["fusion"].layout
        states = [{"fusion": Part(Row(rows, k), layout)} for rows in (bank, bank.sign())]
        own, known = replace(own, state=states[0], finite=k != 4), replace(known, state=states[1])
        jobs.append(job(codec, own, known, device=k, error={"fusion": Row(left, k)} if k > 1 else {}))
    for one, alone in zip(compressed(jobs), [compressed([own])[0] for own in jobs], strict=True):
        assert torch.equal(one.trained.state["fusion"].row.tensor, alone.trained.state["fusion"].row.tensor)
        assert one.error.keys() == alone.error.keys()
        assert all(torch.equal(one.error[part].tensor, e.tensor) for part, e in alone.error.items())


def choco(count: int, codec: Codec, step: float, rounds: int, miss: Any = None) -> Any:
    """Gossip of ``count`` devices on a ring that train nothing; the first numbers, and those after each round."""
    graph = nx.cycle_graph(count)
    first = trained([0.0] * 8)
    x = {k: trained(torch.randn(8, generator=torch.Generator().manual_seed(k)).double()) for k in graph}
    neighbours = Neighbours([owners(graph, list(graph), first.state)], False)
    public, copies = dict.fromkeys(graph, first.state), {k: {} for k in graph}
    history = [{k: own.state["fusion"].weights for k, own in x.items()}]
    for t in range(rounds):
        sent = compressed(
            [job(codec, x[k], replace(first, state=public[k]), device=k, round=t) for k in graph]
        )
        heard = {k: {n: sent[n].trained for n in sorted(graph[k]) if (t, n, k) != miss} for k in graph}
        late = {
            k: {n: public[n] for n in heard[k] if miss and (n, k) == miss[1:] and t > miss[0]} for k in graph
        }
        public = {k: sent[k].trained.state for k in graph}
        done = gossip(
            [
                {
                    "device": k, "own": x[k].state, "public": public[k], "arrived": heard[k], "before": late[k],
                    "copies": copies[k], "first": first.state, "neighbours": neighbours, "step": step,
                }
                for k in graph
            ]
        )  # fmt: skip
        copies = {k: done[k].copies for k in graph}
        x = {k: replace(first, state=done[k].parts) for k in graph}
        history.append({k: own.state["fusion"].weights for k, own in x.items()})
    return history, public, copies


@pytest.mark.parametrize(
    ("name", "options", "step"),
    [
        ("top_k", {"ratio": 0.25}, 0.2),
        ("random_k", {"ratio": 0.25}, 0.2),
        ("quantise", {"levels": 4}, 0.5),
        ("sign", {}, 0.2),
        ("none", {}, 1.0),
    ],
)
def test_gossip_on_a_ring_comes_to_the_mean(name: str, options: dict[str, Any], step: float) -> None:
    """The mean stays what it was in every round, and the distance to it falls to nothing (Koloskova et al., Thm. 2)."""
    codec = Codec(CompressorChoice(name=name, **options), {}, 3, True)
    history, _, _ = choco(5, codec, step, 250)
    mean = torch.stack(list(history[0].values())).mean(0)
    for rows in history[::50]:
        torch.testing.assert_close(torch.stack(list(rows.values())).mean(0), mean, rtol=0, atol=1e-9)
    start, end = (max(float((row - mean).norm()) for row in history[t].values()) for t in (0, -1))
    assert end < 1e-4 * start


def test_a_lost_message_is_missing_in_the_copy_for_good() -> None:
    """Device 1 misses q of device 0 in the second round; its copy lacks just that from then on."""
    codec = Codec(CompressorChoice(name="top_k", ratio=0.5), {}, 3, True)
    _, public, copies = choco(5, codec, 0.2, 2)
    before = choco(5, codec, 0.2, 1)[1][0]["fusion"].weights
    lost = public[0]["fusion"].weights - before
    _, public, copies = choco(5, codec, 0.2, 4, miss=(1, 0, 1))
    own, told = public[0]["fusion"].weights, copies[1][0]["fusion"].weights
    torch.testing.assert_close(own - told, lost)
    torch.testing.assert_close(copies[4][0]["fusion"].weights, own)


def test_devices_follow_algorithm_2() -> None:
    """Three rounds with training on a path, top_k by PyTorch: x̂ + C(x½ − x̂), then x½ + γ Σ ξ (x̂_n − x̂)."""
    graph = nx.path_graph(4)
    learner = make_learner(
        "fedavg", graph, **AUDIO, precision="float64",
        compression={"name": "top_k", "ratio": 0.2, "gossip_step": 0.4},
    )  # fmt: skip
    play, xi = play_of(learner), metropolis_weights(graph)
    public = {k: {n: p.weights.clone() for n, p in own.items()} for k, own in play.models().items()}
    for t in (1, 2, 3):
        play.round(t)
        for k, parts in play.local.items():
            for name, own in parts.items():
                change = own.weights - public[k][name]
                kept = change.abs().topk(math.ceil(0.2 * len(change))).indices
                public[k][name][kept] += change[kept]
        for k, parts in play.models().items():
            for name, own in parts.items():
                pull = sum(xi[k][n] * public[n][name] for n in xi[k]) - public[k][name]
                expected = play.local[k][name].weights + 0.4 * pull
                torch.testing.assert_close(own.weights, expected, rtol=1e-9, atol=1e-9)
    size = {name: p.layout.weights for name, p in play.models()[0].items()}
    counts = {d: math.ceil(0.2 * d) for d in size.values()}
    (message,) = learner.messages(0, 4, [1])
    assert message.size_bits == sum(
        min(k * (32 + math.ceil(math.log2(d))), 32 * k + d) for d, k in counts.items()
    )


def test_whole_models_by_gossip_of_step_one_are_d_psgd() -> None:
    """With k = d nothing is left out, and x½ + Σ ξ x_n − x½ is the plain mix, BatchNorm's statistics too."""
    graph = nx.path_graph(4)
    options = {"precision": "float64", "head_hidden": 6, "batch_size": 8}
    whole = {"name": "top_k", "ratio": 1.0, "gossip_step": 1.0}
    plain, gossiping = (
        play_of(make_learner("fedavg", graph, **options, **more)) for more in ({}, {"compression": whole})
    )
    for t in (1, 2):
        plain.round(t)
        gossiping.round(t)
    for k, parts in plain.models().items():
        assert_models_close(gossiping.models()[k], parts, 1e-9, 1e-9)


@pytest.mark.parametrize("name", ["fedavg", "fedprox", "fednova", "fedatt", "fedhgb", "fedasync", "fedbuff"])
def test_every_method_with_a_server_takes_what_was_sent(name: str) -> None:
    """Two rounds alone and stacked are the same; the bits are a tenth and their places; training state is kept."""
    top = {"name": "top_k", "ratio": 0.1, "error_feedback": True}
    plays = [
        Play(make(name, **EARS, precision="float64", compression=top), executor)
        for executor in (None, Together())
    ]
    for play in plays:
        play.play(2)
    one, other = plays
    assert_models_close(one.parts(), other.parts(), 1e-9, 1e-9)
    whole = Play(make(name, **EARS)).begin([0])
    turn = one.turns[-1]
    assert 0.1 < turn.sent[0].size_bits / whole.sent[0].size_bits < 0.15
    assert turn.downloads[0].size_bits == whole.downloads[0].size_bits
    assert turn.costs[0].flops["compression"] == 6.0 * one.learner._federation.numbers(("audio",))


def test_only_so_many_weights_change() -> None:
    """One client, k/d = 0.05: the server's model differs from the first in ⌈0.05 d⌉ weights of each part."""
    learner = make("fedavg", **AUDIO, compression={"name": "top_k", "ratio": 0.05})
    play = Play(learner)
    play.combine(play.begin([0]))
    for name, after in play.parts().items():
        changed = int((after.weights != initial(learner)[name].weights).sum())
        assert changed == math.ceil(round(0.05 * after.layout.weights, 6))


def test_none_is_no_compression() -> None:
    plain, none = played("fedavg", **AUDIO), played("fedavg", **AUDIO, compression="none")
    assert all(none.parts()[name].row.tensor.equal(own.row.tensor) for name, own in plain.parts().items())


def test_layers_that_stay_are_not_encoded() -> None:
    """FedPer: k is of the trunk alone, whose BatchNorm statistics travel whole; the head is trained on as it is."""
    eyes = {"modalities": ("visual",), "head_hidden": 6, "batch_size": 8, "local": ("head",)}
    learner = make("fedavg", **eyes, compression={"name": "top_k", "ratio": 0.1})
    play = Play(learner)
    turn = play.begin([0, 1])
    layout = initial(learner)["trunk/visual"].layout
    count = math.ceil(round(0.1 * layout.weights, 6))
    places = min(count * math.ceil(math.log2(layout.weights)), layout.weights)
    assert turn.sent[0].size_bits == count * 32 + places + 32 * (layout.sent - layout.weights)
    play.combine(turn)
    second = play.begin([0, 1])
    assert play.work.value(second.uploads[0].before)["fusion"].weights.equal(
        play.work.value(turn.uploads[0].trained).state["fusion"].weights
    )


def test_stated_bits_shrink_by_the_same_factor() -> None:
    stated = StatedCosts(flops_per_iteration={"audio": 1e6}, bits={"audio": 1000.0}, common_bits=500.0)
    counted = Play(make("fedavg", **AUDIO, compression="sign")).begin([0]).sent[0].size_bits
    whole = Play(make("fedavg", **AUDIO)).begin([0]).sent[0].size_bits
    found = Play(make("fedavg", **AUDIO, compression="sign", costs=Costs(stated=stated))).begin([0])
    assert found.sent[0].size_bits == pytest.approx(1500 * counted / whole)


@pytest.mark.parametrize(
    ("server", "compression", "text"),
    [
        (
            False,
            {"name": "sign", "error_feedback": True},
            "compression.error_feedback: without an edge server",
        ),
        (True, {"name": "sign", "gossip_step": 0.5}, "compression.gossip_step: is about devices without"),
    ],
)
def test_where_it_means_nothing_it_is_refused(server: bool, compression: Any, text: str) -> None:
    from tiny_task import make_setup

    with pytest.raises(ScenarioError, match=rf"learner.{text}"):
        load("learners", "fedavg")(make_setup("fedavg", has_server=server, compression=compression))


@pytest.mark.parametrize(
    ("learner", "compression"),
    [
        ("fedavg", {"name": "top_k", "ratio": 0}),
        ("fedavg", "topk"),
        ("scaffold", "top_k"),
        ("fedavg", {"ratio": 1}),
    ],
)
def test_bad_input_is_refused(learner: str, compression: Any) -> None:
    from tiny_task import make_setup

    with pytest.raises(ValueError, match=r"compression|ratio"):
        make_setup(learner, has_server=True, compression=compression)


def test_gossip_of_compressed_models_needs_every_message() -> None:
    """So protocols that leave some out, and worlds whose neighbours change, refuse it; a server does not."""
    gossiping = make_learner("fedavg", **AUDIO, compression="sign")
    assert not gossiping.takes_late and not gossiping.takes_motion
    assert because_of(gossiping) == " (because of learner.compression)"
    for other in (make_learner("fedavg", **AUDIO), make("fedavg", **AUDIO, compression="sign")):
        assert other.takes_late and other.takes_motion and not because_of(other)
