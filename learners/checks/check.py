"""Plays copies of a learner in different ways, and compares what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import networkx as nx

from learners.checks.graph import CheckedGraph, PlainGraph
from learners.checks.play import HEAD, HierarchyPlay, Play, ServerPlay
from learners.checks.promise import fingerprint, promise
from netsim.learner import Learner

FAMILIES = ("decentralized", "server", "asynchronous", "hierarchical")


def check_learner(learner: Learner, graph: nx.Graph | None = None, rounds: int = 2) -> None:
    """Play rounds with copies of ``learner`` and see whether it keeps its contract.

    It is played without a server, with one, and with two below a cloud, as far as ``SUITS`` says that it can be. Copies
    are made from its class and its ``setup``. No simulator is needed; all devices are in step, and all messages arrive.

    Args:
        learner: The learner.
        graph: The network of devices without a server; by default a path. With a server it is a star.
        rounds: How many rounds to play.

    Raises:
        BrokenPromise: At the first promise that is not kept.
    """
    strangers = sorted(set(learner.SUITS) - set(FAMILIES))
    promise(not strangers, f"SUITS names {strangers}; families of protocols are {', '.join(FAMILIES)}")
    promise(bool(learner.SUITS), f"SUITS names no family of protocols; they are {', '.join(FAMILIES)}")
    if "decentralized" in learner.SUITS:
        network = nx.path_graph(learner.setup.device_count) if graph is None else graph
        _Copies(learner, network, Play).check(rounds)
    count = learner.setup.device_count
    if learner.SUITS & {"server", "asynchronous"}:
        _Copies(learner, _star(count, [count]), ServerPlay).check(rounds)
    if "hierarchical" in learner.SUITS:
        below = _star(count, [count, count + 1])
        below.add_node(count + 2)  # the cloud
        _Copies(learner, below, HierarchyPlay).check(rounds)


def _star(devices: int, servers: Sequence[int]) -> nx.Graph:
    return nx.Graph([(k, server) for k in range(devices) for server in servers])


class _Copies:
    """Copies of a learner, all on one network.

    Args:
        learner: The learner.
        graph: The network.
        kind: How they are played.
    """

    def __init__(self, learner: Learner, graph: nx.Graph, kind: type[Play]) -> None:
        self.cls, self.graph, self.kind = type(learner), graph, kind
        has_server = issubclass(kind, ServerPlay)
        self.setup = replace(learner.setup, has_server=has_server)
        nodes = sorted(k for k in graph if not self.setup.is_server(k))
        held = learner.sample_counts()
        self.nodes = [k for k in nodes if held.get(k, 0) > 0] if has_server and held else nodes

    def check(self, rounds: int) -> None:
        """Compare one play with others that must not differ from it."""
        first = self._play(self._copy(), CheckedGraph(), self.nodes)
        for t in range(1, rounds + 1):
            _whole(first, t)
            first.settle()

        if self.kind is Play:
            _check_alike(first, self.nodes)

        again = self._play(self._copy(), PlainGraph(), self.nodes)
        backwards = self._play(self._copy(), PlainGraph(), self.nodes[::-1])
        for play in (again, backwards):
            for t in range(1, rounds + 1):
                _whole(play, t)
                play.settle()
        _compare(first, again, "same seed, different {what}")
        _compare(first, backwards, "nodes visited in another order, different {what}")

        # One learner in two runs, a round apart, and no work is done before the end.
        shared, work = self._copy(), PlainGraph()
        ahead, behind = (self._play(shared, work, order) for order in (self.nodes, self.nodes[::-1]))
        for t in range(1, rounds + 2):
            playing = [p.round(r) for p, r in ((ahead, t), (behind, t - 1)) if 1 <= r <= rounds]
            while playing:
                playing = [one for one in playing if next(one, self) is not self]
        for play in (ahead, behind):
            play.settle()
            _compare(
                first,
                play,
                "one learner in two runs, its work done at their end: state is kept, different {what}",
            )

    def _copy(self) -> Learner:
        learner = self.cls(self.setup)
        learner.prepare(self.graph)
        return learner

    def _play(self, learner: Learner, work: PlainGraph, order: Sequence[int]) -> Play:
        play = self.kind(learner, self.graph, work, order)
        play.begin()
        return play


def _whole(play: Play, t: int) -> None:
    for _ in play.round(t):
        pass


def _check_alike(play: Play, nodes: Sequence[int]) -> None:
    """Check that devices have said the same where methods are marked as :func:`~netsim.learner.alike`."""
    marked = [
        what for question, said in _SAID.items() if play.learner.answers_alike(question) for what in said
    ]
    said: dict[tuple[int, str], Any] = {}
    for (t, k, what), answer in sorted(play.said.items(), key=lambda one: one[0]):
        if what not in marked or k not in nodes:
            continue
        if what == "messages":
            all_heard = len(answer) == 1 and sorted(answer[0][0]) == sorted(play.graph[k])
            promise(
                all_heard or not play.graph[k],
                f"node {k}, round {t}: messages() is marked alike, so it must return one message to all receivers",
            )
            answer = [size_bits for _, size_bits in answer]
        promise(
            fingerprint(answer) == fingerprint(said.setdefault((t, what), answer)),
            f"marked alike, but devices differ in {what}: node {k}, round {t}",
        )


def _compare(one: Play, other: Play, text: str) -> None:
    """Check that both have said the same; the first difference, in the order of a round, is told."""
    ours, theirs = one.digests(), other.digests()
    for place in sorted(
        ours.keys() | theirs.keys(), key=lambda place: (place[0], _ORDER.index(place[2]), place[1])
    ):
        t, k, what = place
        where = "the head" if k == HEAD else f"node {k}"
        promise(ours.get(place) == theirs.get(place), f"{text.format(what=what)}: {where}, round {t}")


_SAID = {
    "cost": ["cost"],
    "train": ["state after training", "outbox", "metrics of training"],
    "messages": ["messages"],
    "aggregate": ["state after aggregation", "metrics of aggregation"],
    "evaluate": ["metrics of evaluation"],
}
"""What a learner says in answer to which question."""

_ORDER = (
    "first state",
    "cost",
    "state after training",
    "outbox",
    "metrics of training",
    "messages",
    "state after aggregation",
    "metrics of aggregation",
    "state after merging",
    "metrics of merging",
    "metrics of evaluation",
    "report",
    "decision",
    "metrics of the decision",
)
"""Causes come before what follows from them."""
