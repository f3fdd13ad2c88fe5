"""A model that walks over the network, trained wherever it is; see docs/learners/baselines.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import networkx as nx

from learners.algorithms.fedavg import FedAvg
from learners.training.late_fusion.exchange import Model, Upload
from learners.training.late_fusion.options import RandomWalkOptions
from netsim.core.streams import stream
from netsim.learner import Cost, Message, Step
from netsim.world.topology.mixing import metropolis_weights

if TYPE_CHECKING:
    from netsim.core.budget import Budget
    from netsim.core.options import Options
    from netsim.work.future import Future
    from netsim.work.graph import TaskGraph


class RandomWalk(FedAvg):
    """One model walks over the links: whoever has it trains it and passes it on to a neighbour.

    It is a walk on the links between devices with samples, drawn from the run's seed, so that all know whose turn it is
    (Ayache & El Rouayheb 2021; Johansson, Rabi & Johansson 2009). All modalities travel; a device trains its own. Where
    the message does not arrive, the next device goes on with the last model that it had.
    """

    Options: ClassVar[type[Options]] = RandomWalkOptions
    SUITS = frozenset({"decentralized"})
    takes_motion: bool = False

    def prepare(self, graph: nx.Graph) -> None:
        """Draw the walk: whose turn it is in each round, and in the one after the last."""
        super().prepare(graph)
        options = self._options
        assert isinstance(options, RandomWalkOptions)
        links = graph.subgraph(self._clients)
        weights = metropolis_weights(links)
        draw = stream(self.setup.seed, "random walk")
        here = min(links, default=-1)
        self._turn = [-1]
        for _ in range(self.setup.rounds + 1):
            self._turn.append(here)
            near = sorted(links[here]) if here in links else []
            if not near:
                continue
            if options.transition == "uniform":
                here = near[int(draw.integers(len(near)))]
            else:
                nodes = [here, *near]
                here = nodes[int(draw.choice(len(nodes), p=[weights[here][k] for k in nodes]))]

    def first(self, work: TaskGraph, node: int) -> Step:
        """Return the first weights of all modalities, for every device."""
        step = super().first(work, node)
        return step if step.state is None else Step(step.state._replace(parts=self._federation.initial))

    def cost(self, node: int, round: int, peers: Sequence[int], budget: Budget, plan: Any) -> Cost:
        """Return the local update of the device whose turn it is."""
        return super().cost(node, round, peers, budget, plan) if node == self._turn[round] else Cost()

    def messages(
        self, node: int, round: int, receivers: Sequence[int], together: bool = False
    ) -> Sequence[Message]:
        """Return the whole model for the next device, if it is another one and lives; nothing after the last round."""
        following = self._turn[round + 1]
        if node != self._turn[round] or following not in receivers or round == self.setup.rounds:
            return ()
        return [Message((following,), self._message_bits(self._federation.modalities))]

    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Order the local update of the device whose turn it is; parts of others' modalities stay as they are."""
        if node != self._turn[round]:
            return Step(state)
        step = super().train(work, node, round, state, cost)
        own = self._federation.own(step.state.parts, self._clients[node].modalities)
        model = step.state._replace(
            parts={**{part: state.parts[part] for part in self._federation.initial}, **own}
        )
        return Step(model, model, step.metrics)

    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Model | Upload]
    ) -> Step:
        """Take the model that arrived, if any did."""
        return Step(next(iter(arrived.values()), state))

    def evaluate(self, work: TaskGraph, node: int, round: int, state: Any) -> Future | None:
        """Order the evaluation of the model where it was trained."""
        return super().evaluate(work, node, round, state) if node == self._turn[round] else None
