"""Baselines of learning together: any learner without its messages, see docs/learners/baselines.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import networkx as nx
from pydantic import Field, create_model

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.registry import entry, names
from netsim.learner import Budget, Cost, Kept, Learner, Message, Setup, Step

if TYPE_CHECKING:
    from netsim.core.entry import Entry
    from netsim.work.future import Future
    from netsim.work.graph import TaskGraph
    from netsim.work.job import Inputs


class BaselineOptions(Options):
    """The block of a baseline."""

    of: str = Field(
        default="dmml",
        description="the learner that trains, by name, one that suits decentralized rounds; all other keys of the "
        "block are its own options",
    )


class Baseline(Learner):
    """Base of learners that train as another one does, and send nothing.

    Under a server messages have no bits, so that its rounds go on: they take no time and no energy. The other learner
    is told that it has neither neighbours nor a server, so it aggregates nothing.

    Attributes:
        OF: The other learner, as the registry describes it.
    """

    Options: ClassVar[type[Options]] = BaselineOptions
    OF: ClassVar[Entry]
    SUITS = frozenset({"decentralized", "server", "asynchronous"})
    METRICS: Mapping[str, str] = {}  # type: ignore[misc]
    _inner: Learner

    @classmethod
    def made_for(cls, given: Mapping[str, Any]) -> type[Self]:
        """Return the class for the learner that the block names, with its options and metrics.

        Raises:
            ScenarioError: There is no such learner, or it does not suit decentralized rounds.
        """
        name = str(given.get("of", BaselineOptions.model_fields["of"].default))
        found = entry("learners", name, "of")
        if not _fits(found):
            fitting = [known for known in names("learners") if _fits(entry("learners", known))]
            raise ScenarioError(
                f"of: {name!r} cannot be a baseline, for it does not suit decentralized rounds without messages; use "
                f"one of: {', '.join(fitting)}"
            )
        return _made(cls, found)

    def _setup_of_inner(self, **changes: Any) -> Setup:
        """Return the setup of a learner without a server; ``changes`` are other fields of it."""
        options = self.setup.options
        own = {key: getattr(options, key) for key in self.OF.options.model_fields}
        return dataclasses.replace(
            self.setup, options=self.OF.options.model_construct(**own), has_server=False, **changes
        )

    def _made_of(self, setup: Setup) -> Learner:
        """Return the other learner, whose metrics are from now on those of this one."""
        learner: Learner = self.OF.load()(setup)
        self.METRICS = learner.METRICS
        return learner

    def _trains(self, node: int) -> bool:
        """Return whether ``node`` trains a model."""
        raise NotImplementedError

    @property
    def limits_steps(self) -> bool:  # type: ignore[override]
        """Return whether the other learner does."""
        return self._inner.limits_steps

    def training_memory_bytes(self, device: int) -> float:
        """Return what the other learner takes."""
        return self._inner.training_memory_bytes(device)

    def facts(self) -> Mapping[str, Any]:
        """Return the facts of the other learner."""
        return self._inner.facts()

    def first(self, work: TaskGraph, node: int) -> Step:
        """Return the other learner's first state."""
        return Step(self._inner.first(work, node).state if self._trains(node) else None)

    def cost(self, node: int, round: int, peers: Sequence[int], budget: Budget, plan: Any) -> Cost:
        """Return what the other learner computes; nothing has to be saved for messages."""
        if not self._trains(node):
            return Cost()
        return self._inner.cost(node, round, (), budget._replace(joules_per_bit={}), None)

    def messages(
        self, node: int, round: int, receivers: Sequence[int], together: bool = False
    ) -> Sequence[Message]:
        """Return none; under a server one of no bits, which says that a round begins, or is over here."""
        return [Message(tuple(receivers), 0.0)] if self.setup.has_server and receivers else []

    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Order the other learner's training; under a server, whose devices do not aggregate, that of nothing too."""
        if not self._trains(node):
            return Step(state)
        trained = self._inner.train(work, node, round, state, cost)
        if not self.setup.has_server:
            return Step(trained.state, None, trained.metrics)
        alone = self._inner.aggregate(work, node, round, trained.state, {})
        both = {"metrics": [trained.metrics, alone.metrics]}
        return Step(alone.state, None, work.together(joined, both, round))

    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Any]
    ) -> Step:
        """Order the aggregation of nothing."""
        if self.setup.has_server or not self._trains(node):
            return Step(state)
        step = self._inner.aggregate(work, node, round, state, {})
        return Step(step.state, None, step.metrics)

    def aggregate_weighed(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        factors: Mapping[int, float],
    ) -> Step:
        """Order the aggregation of nothing."""
        return self.aggregate(work, node, round, state, arrived)

    def evaluate(self, work: TaskGraph, node: int, round: int, state: Any) -> Future | None:
        """Order the other learner's evaluation."""
        return self._inner.evaluate(work, node, round, state) if self._trains(node) else None

    def model(self, node: int, state: Any) -> Kept | None:
        """Return the other learner's model."""
        return self._inner.model(node, state) if self._trains(node) else None

    @classmethod
    def module(cls, network: Mapping[str, Any], tensors: Mapping[str, Any]) -> Any:
        """Return the other learner's module."""
        return cls.OF.load().module(network, tensors)


def unlinked(count: int) -> nx.Graph:
    """Return the network of ``count`` nodes as the other learner sees it: nobody has a neighbour."""
    return nx.empty_graph(count)


def joined(inputs: Sequence[Inputs]) -> list[list[Any]]:
    """Return the metrics of each, one after the other."""
    return [[metric for some in one["metrics"] for metric in some] for one in inputs]


def _fits(found: Entry) -> bool:
    return "decentralized" in found.suits and not issubclass(found.options, BaselineOptions)


@cache
def _made(cls: Any, of: Entry) -> Any:
    """Return ``cls`` for the learner ``of``: the same class whenever it is asked for."""
    return type(
        f"{cls.__name__}Of",
        (cls,),
        {
            "__doc__": cls.__doc__,
            "__module__": cls.__module__,
            "OF": of,
            "Options": create_model(f"{cls.__name__}Options", __base__=(BaselineOptions, of.options)),
            "network_per_device": of.network_per_device,
        },
    )
