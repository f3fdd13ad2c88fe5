"""A learner whose answers are checked, so that a mistake in one is told in a line that says whose and when."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import networkx as nx

from netsim.core.asking import wrong
from netsim.core.budget import Budget
from netsim.core.errors import ScenarioError
from netsim.core.own_code import tell_whose
from netsim.learner import Cost, Kept, Learner, Message, Metric, Report, Step
from netsim.protocols.decisions import Decisions
from netsim.work.future import Future
from netsim.work.graph import TaskGraph

T = TypeVar("T")


class Asked(Learner):
    """Passes each question on to ``learner`` and checks its answer.

    An error in a user's own code becomes a :class:`ScenarioError` of one line, with the node and the round.

    Args:
        learner: The learner.
        devices: Number of devices; the server's number is the next one.
        work: Is told what the learner is being asked.

    Attributes:
        evaluated: The last round after which the learner was asked to evaluate each node.
        decisions: What policies decide as a node begins its computation; None if the scenario has none.
    """

    decisions: Decisions | None = None

    def __init__(self, learner: Learner, devices: int, work: TaskGraph) -> None:
        self._learner = learner
        self._work = work
        self._server = devices
        self.evaluated: dict[int, int] = {}
        self.coordinated = learner.coordinated
        self.takes_late = learner.takes_late

    def __getattr__(self, name: str) -> Any:
        """Return what else the learner has: its setup, and whatever a protocol of its own wants to know."""
        if name == "_learner":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self._learner, name)

    @property
    def hears_acknowledgements(self) -> bool:
        """Ask the learner; see :meth:`netsim.learner.Learner.hears_acknowledgements`."""
        return self._learner.hears_acknowledgements

    @property
    def weighs_messages(self) -> bool:
        """Ask the learner; see :meth:`netsim.learner.Learner.weighs_messages`."""
        return self._learner.weighs_messages

    def answers_alike(self, *questions: str) -> bool:
        """Ask the learner; see :meth:`netsim.learner.Learner.answers_alike`."""
        return self._learner.answers_alike(*questions)

    def owners(self) -> Mapping[str, frozenset[int]]:
        """Ask the learner; see :meth:`netsim.learner.Learner.owners`."""
        return self._learner.owners()

    def sample_counts(self) -> Mapping[int, int]:
        """Ask the learner; see :meth:`netsim.learner.Learner.sample_counts`."""
        return self._learner.sample_counts()

    def prepare(self, graph: nx.Graph) -> None:
        """Ask the learner; see :meth:`netsim.learner.Learner.prepare`."""
        self._learner.prepare(graph)

    def meets(self, node: int, round: int, neighbours: Mapping[int, Sequence[int]]) -> None:
        """Ask the learner; see :meth:`netsim.learner.Learner.meets`."""
        self._ask(self._learner.meets, node, round, node, round, neighbours)

    def first(self, work: TaskGraph, node: int) -> Step:
        """Ask the learner; see :meth:`netsim.learner.Learner.first`."""
        step = self._ask(self._learner.first, node, 0, work, node)
        return self._step(step, "first", node, 0)

    def cost(self, node: int, round: int, peers: Sequence[int], budget: Budget, plan: Any) -> Cost:
        """Ask the learner; see :meth:`netsim.learner.Learner.cost`."""
        if self.decisions is not None:
            budget = self.decisions.begin(node, round, peers, budget)
        cost = self._ask(self._learner.cost, node, round, node, round, peers, budget, plan)
        if not isinstance(cost, Cost) or not all(map(_is_size, cost.flops.values())):
            raise self._wrong("cost", node, round, cost, "a Cost whose FLOPs are finite and not negative")
        if self.decisions is not None:
            self.decisions.computes(node, cost.total_flops)
        return cost

    def messages(
        self, node: int, round: int, receivers: Sequence[int], together: bool = False
    ) -> Sequence[Message]:
        """Ask the learner; see :meth:`netsim.learner.Learner.messages`."""
        messages = self._ask(self._learner.messages, node, round, node, round, receivers, together)
        if not isinstance(messages, (list, tuple)) or not all(map(_is_message, messages)):
            wanted = "a list of Message(a tuple of receivers, a size that is finite and not negative)"
            raise self._wrong("messages", node, round, messages, wanted)
        if len(messages) == 1 and messages[0].receivers == tuple(receivers):
            return messages
        asked = frozenset(receivers)
        named = [k for one in messages for k in one.receivers]
        if not asked.issuperset(named) or len(set(named)) < len(named):
            wanted = f"at most one message for each of the receivers {sorted(asked)}, and none for others"
            raise self._wrong("messages", node, round, messages, wanted)
        if node >= self._server and len(named) < len(asked):
            wanted = f"a message of the server for each of the receivers {sorted(asked)}"
            raise self._wrong("messages", node, round, messages, wanted)
        return messages

    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Ask the learner; see :meth:`netsim.learner.Learner.train`."""
        step = self._ask(self._learner.train, node, round, work, node, round, state, cost)
        return self._step(step, "train", node, round)

    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Any]
    ) -> Step:
        """Ask the learner; see :meth:`netsim.learner.Learner.aggregate`."""
        step = self._ask(self._learner.aggregate, node, round, work, node, round, state, arrived)
        return self._step(step, "aggregate", node, round)

    def aggregate_weighed(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        factors: Mapping[int, float],
    ) -> Step:
        """Ask the learner; see :meth:`netsim.learner.Learner.aggregate_weighed`."""
        method = self._learner.aggregate_weighed
        step = self._ask(method, node, round, work, node, round, state, arrived, factors)
        return self._step(step, "aggregate_weighed", node, round)

    def merge(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        devices: Mapping[int, Sequence[int]],
    ) -> Step:
        """Ask the learner; see :meth:`netsim.learner.Learner.merge`."""
        step = self._ask(self._learner.merge, node, round, work, node, round, state, arrived, devices)
        return self._step(step, "merge", node, round)

    def evaluate(self, work: TaskGraph, node: int, round: int, state: Any) -> Future | None:
        """Ask the learner; see :meth:`netsim.learner.Learner.evaluate`."""
        metrics = self._ask(self._learner.evaluate, node, round, work, node, round, state)
        self.evaluated[node] = round
        if (
            work.keeper is not None
            and work.keeper.wants(round)
            and (kept := self._learner.model(node, state))
        ):
            work.keep(node, round, kept)
        return metrics

    def model(self, node: int, state: Any) -> Kept | None:
        """Ask the learner; see :meth:`netsim.learner.Learner.model`."""
        return self._learner.model(node, state)

    def acknowledged(self, node: int, round: int, delivered: Mapping[int, bool]) -> None:
        """Ask the learner; see :meth:`netsim.learner.Learner.acknowledged`."""
        self._ask(self._learner.acknowledged, node, round, node, round, delivered)

    def report(self, work: TaskGraph, device: int, round: int, state: Any, budget: Budget) -> Report:
        """Ask the learner; see :meth:`netsim.learner.Learner.report`."""
        report = self._ask(self._learner.report, device, round, work, device, round, state, budget)
        if not isinstance(report, Report) or not _is_size(report.size_bits):
            raise self._wrong("report", device, round, report, _REPORT)
        return report

    def decide(
        self, work: TaskGraph, head: int, round: int, reports: Mapping[int, Any]
    ) -> tuple[Mapping[int, Report], Sequence[Metric]]:
        """Ask the learner; see :meth:`netsim.learner.Learner.decide`."""
        found = self._ask(self._learner.decide, head, round, work, head, round, reports)
        if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], Mapping):
            raise self._wrong(
                "decide", head, round, found, "what each device is told, by device, and metrics"
            )
        for told in found[0].values():
            if told is not None and not (isinstance(told, Report) and _is_size(told.size_bits)):
                raise self._wrong("decide", head, round, told, f"for each device {_REPORT}")
        return found

    def _ask(self, method: Callable[..., T], node: int, round: int, *given: Any) -> T:
        self._work.question = method.__name__, node, round
        try:
            return method(*given)
        except (Exception, SystemExit) as error:
            tell_whose(error, self._when(method.__name__, node, round), method)
            raise
        finally:
            self._work.question = None

    def _step(self, step: Any, method: str, node: int, round: int) -> Step:
        if not isinstance(step, Step):
            raise self._wrong(method, node, round, step, "a Step")
        return step

    def _wrong(self, method: str, node: int, round: int, found: Any, wanted: str) -> ScenarioError:
        return wrong(self._when(method, node, round), wanted, found)

    def _when(self, method: str, node: int, round: int) -> str:
        name = name_of_node(node, self._server)
        return f"learner: {type(self._learner).__name__}.{method} of {name}, round {round}"


def name_of_node(node: int, devices: int) -> str:
    """Return what a person is told of ``node``, where there are so many ``devices``."""
    return {devices: "the server"}.get(node, f"{'device' if node < devices else 'server'} {node}")


_REPORT = "a Report with a size that is finite and not negative"


def _is_message(value: Any) -> bool:
    return isinstance(value, Message) and isinstance(value.receivers, tuple) and _is_size(value.size_bits)


def _is_size(value: Any) -> bool:
    try:
        return not isinstance(value, str) and 0 <= value < math.inf
    except (TypeError, ValueError):
        return False
