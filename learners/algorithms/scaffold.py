"""SCAFFOLD (Karimireddy et al. 2020): control variates against the drift of clients; see docs/learners/baselines.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from learners.algorithms.directed import Directed
from learners.training.late_fusion.averaging import Averaging, Combined
from learners.training.late_fusion.control import by_part, controls_of, differences
from learners.training.late_fusion.exchange import Model, Upload
from learners.training.late_fusion.options import ScaffoldOptions
from learners.training.late_fusion.server_optimizers import ServerOptimizerChoice
from netsim.learner import Cost, Step

if TYPE_CHECKING:
    from netsim.core.options import Options
    from netsim.work.graph import TaskGraph


class Client(NamedTuple):
    """A client between its rounds, or in one.

    Attributes:
        control: c_i by part, or a future of it; None before its first round.
        model: What the server has sent.
    """

    control: Any
    model: Any = None


@dataclass(frozen=True)
class Controlled(Averaging):
    """w ← w + η_g (Σ p_k w_k − w), c ← c + Σ q_i (c_i⁺ − c_i); q_i is 1/N, or n_i over the samples of all N clients.

    Algorithm 1 with option II: c_i⁺ − c_i = z_i − c with z_i the mean direction of the client's steps, (x − y_i)/(K η).
    """

    def blend(self, round: int, before: Model, uploads: Mapping[int, Upload]) -> Combined:
        """Return the server's next model, with c as what it remembers."""
        combined = super().blend(round, before._replace(memory=None), uploads)
        total = sum(self.amounts.values())
        shares = {k: amount / total for k, amount in self.amounts.items()}
        told = {k: upload.more.state for k, upload in uploads.items()}
        control = controls_of(before.memory or {}, combined.parts, told, shares)
        return combined._replace(memory=control)


class Scaffold(Directed):
    """Clients correct their gradients by c − c_i, what the server and they know of the mean gradient and their own.

    Both ways twice as much is sent: model and control variate. A client keeps c_i until it is chosen again.
    """

    Options: ClassVar[type[Options]] = ScaffoldOptions
    SUITS = frozenset({"server"})

    def _method(self) -> Averaging:
        plain, options = super()._method(), self._options
        assert isinstance(options, ScaffoldOptions)
        step = ServerOptimizerChoice(name="fedavgm", learning_rate=options.server_learning_rate, momentum=0.0)
        return Controlled(plain.amounts, plain.drops, optimizer=step)

    def first(self, work: TaskGraph, node: int) -> Step:
        """Return the server's first weights; a client knows nothing of its gradient."""
        return Step(Client(None)) if node in self._clients else super().first(work, node)

    def _correction(self, work: TaskGraph, round: int, model: Model) -> Any:
        return model.memory

    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Order a client's update with gradients + c − c_i, and what it makes of c_i."""
        if node not in self._clients:
            return super().train(work, node, round, state, cost)
        control, sent = state
        correction: Any = {}
        if control is not None or sent.memory is not None:
            parts = self._federation.parts(self._clients[node].modalities)
            inputs = {"own": control, "server": sent.memory, "like": sent.parts, "parts": parts}
            correction = work.together(differences, inputs, round)
        step = super().train(work, node, round, sent._replace(memory=correction), cost)
        inputs = {"own": control, "direction": step.outbox.more, "correction": correction}
        return step._replace(state=Client(work.together(controls, inputs, round)))

    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Any]
    ) -> Step:
        """Take what the server sent, and keep c_i; the server combines."""
        if node in self._clients:
            (sent,) = arrived.values()
            return Step(Client(state.control, sent))
        return super().aggregate(work, node, round, state, arrived)


def controls(inputs: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return c_i⁺ = c_i − c + z_i = z_i − (c − c_i) of each client; c_i where its training diverged."""
    found = []
    for one in inputs:
        z, correction = one["direction"], one["correction"]
        if not z.finite:
            found.append(one["own"])
        elif correction:
            found.append(by_part(lambda z, more: z - more, z.state, correction))
        else:
            found.append(z.state)
    return found
