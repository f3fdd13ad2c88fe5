"""Federated averaging of a late-fusion network, with and without a server, and what all such methods share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import networkx as nx

from learners.training.late_fusion import averaging, evaluation, local_update, report
from learners.training.late_fusion.channel import Channel
from learners.training.late_fusion.exchange import Model, Upload, kept_model, module_of
from learners.training.late_fusion.federation import Client, Federation
from learners.training.late_fusion.options import FedAvgOptions, FederatedOptions, check_place
from learners.training.late_fusion.plan import LocalPlan
from netsim.core.streams import derive_seed
from netsim.learner import Budget, Cost, Kept, Learner, Message, Setup, Step
from netsim.work.future import Future, Shared
from netsim.work.job import Stack

if TYPE_CHECKING:
    from netsim.core.options import Options
    from netsim.work.graph import TaskGraph

LOSSES = {
    "loss_total": "what a client's training minimised, mean over the round's steps",
    "loss_task": "cross-entropy of the prediction in a client's training, mean over the round's steps",
    "loss_head": "cross-entropy of a modality's own head in a client's training, mean over the round's steps",
}
EVALUATION = {
    "accuracy": "test accuracy of the server's model, or without a server of each device's; per modality it is that of "
    "the modality's own head",
    "loss_test": "cross-entropy of that model's prediction on the test samples",
}
DROPPED = {
    "dropped": "models that arrived in the round and were left out of the aggregation, for their training had diverged"
}
WITH_SERVER = frozenset({"server", "asynchronous"})


class FedAvg(Learner):
    """Each client trains on its own samples, and what comes of it is averaged (McMahan et al. 2017).

    Clients hold the parts of the modalities that they own and the fused head. A server averages each part over those of
    the round's clients that hold it, weighed by numbers of samples. Without a server each device averages its own parts
    with those of the neighbours that hold them, by Metropolis-Hastings weights: D-PSGD (Lian et al. 2017) with local
    steps.

    Subclasses say what a server does with the uploads (:meth:`_method`), what is minimised (:meth:`_head_weights`,
    :meth:`_make_plan`) and what travels besides the model (:meth:`_outgoing`).

    Attributes:
        model_copies: How many numbers are sent for each trained weight.
    """

    Options: ClassVar[type[Options]] = FedAvgOptions
    METRICS: ClassVar[Mapping[str, str]] = {**LOSSES, **DROPPED, **EVALUATION}
    SUITS = WITH_SERVER | {"decentralized", "hierarchical"}
    model_copies: ClassVar[int] = 1
    limits_steps = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        check_place(self._options, setup.has_server)
        self._federation = Federation(setup, self._options, self._trains_own_heads)
        self._channel = Channel(self._federation, self._options)
        self.takes_late = type(self).takes_late and self._channel.takes_late
        self.takes_motion = type(self).takes_motion and self._channel.takes_late
        self.bound_by = "" if self._channel.takes_late else "learner.compression"
        own = {**self.METRICS, **self._channel.metrics}
        if (loss := getattr(self._options, "loss", "cross_entropy")) != "cross_entropy":
            own = {key: text.replace("cross-entropy", loss) for key, text in own.items() if key != "accuracy"}
        self.METRICS = report.metrics_of_evaluation(own, setup)  # type: ignore[misc]
        self._clients = self._federation.clients
        self._plan = self._make_plan()
        self._factor_after = self._options.schedule.factors(setup.rounds)
        self._server_method = Shared(self._method())
        self._stacks: dict[tuple[str, ...], Stack] = {}
        self._met: dict[int, Mapping[int, Sequence[int]]] = {}

    # What the methods differ in.

    @property
    def _options(self) -> FederatedOptions:
        options = self.setup.options
        assert isinstance(options, FederatedOptions)
        return options

    @property
    def _trains_own_heads(self) -> bool:
        """Return whether modalities' own heads are ever trained."""
        return getattr(self._options, "losses", "mean") == "mean"

    def _make_plan(self) -> LocalPlan:
        return LocalPlan.of(self._options, self.setup)

    def _method(self) -> averaging.Averaging:
        """Return what the server does with uploads."""
        return averaging.averaging_of(self._options, self._federation.amounts, self._federation.local)

    def _head_weights(self, work: TaskGraph, round: int, model: Model, client: Client) -> Any:
        """Return how much each of a client's heads counts in what it minimises, or a future; they sum to 1."""
        heads = self._federation.architecture.heads(client.modalities)
        return dict.fromkeys(heads, 1 / len(heads))

    def _correction(self, work: TaskGraph, round: int, model: Model) -> Any:
        """Return what is added to a client's gradients, by part, or a future; empty for nothing."""
        return {}

    def _outgoing(self, work: TaskGraph, node: int, round: int, model: Model, trained: Future) -> Upload:
        """Return what a client sends: what it has ``trained`` from ``model``. Its size is in :meth:`messages`."""
        return Upload(model.number, model.parts, trained)

    def _mixes(self, round: int) -> bool:
        """Return whether devices without a server send and average in ``round``."""
        return round % int(getattr(self._options, "mix_every", 1)) == 0

    def _message_bits(self, modalities: Sequence[str]) -> float:
        """Return the size of a model with ``modalities``, and of what goes with its weights [bit]."""
        return self._federation.message_bits(modalities, self.model_copies)

    def _upload_numbers(self, client: Client) -> int:
        """Return how many numbers a client sends to the server besides its model."""
        return 0

    def _download_numbers(self) -> int:
        """Return how many numbers the server sends besides its model."""
        return 0

    def _measured_samples(self, client: Client) -> int:
        """Return samples of forward passes that only measure losses, in one round."""
        return 0

    # The contract.

    def owners(self) -> Mapping[str, frozenset[int]]:
        """Return which devices own each modality."""
        return self._federation.owners

    def sample_counts(self) -> Mapping[int, int]:
        """Return training samples of each client, and those that it holds out."""
        return {k: len(client.train) + len(client.validation) for k, client in self._clients.items()}

    def training_memory_bytes(self, device: int) -> float:
        """Return the memory of a local update; see :meth:`Federation.training_memory_bytes`."""
        return self._federation.training_memory_bytes(device, self._plan, self.model_copies - 1)

    def facts(self) -> Mapping[str, Any]:
        """Return data set, sizes and costs, for the run's metadata."""
        return self._federation.facts()

    def prepare(self, graph: nx.Graph) -> None:
        """Place the samples; without a server, find the mixing weights."""
        super().prepare(graph)
        federation = self._federation
        federation.place_samples()
        if self.setup.has_server:
            return
        self._neighbours = self._channel.neighbours(graph)

    def meets(self, node: int, round: int, neighbours: Mapping[int, Sequence[int]]) -> None:
        """Note whose weights the next aggregation has."""
        self._met[node] = neighbours

    def first(self, work: TaskGraph, node: int) -> Step:
        """Return the first weights, for the server or else for each client; with equal z."""
        federation = self._federation
        heads = federation.architecture.heads(federation.modalities)
        z = dict.fromkeys(heads, 1 / len(heads))
        if self.setup.is_server(node):
            model = Model(0, federation.initial, z)
        elif not self.setup.has_server and node in self._clients:
            model = Model(0, federation.own(federation.initial, self._clients[node].modalities), z)
        else:
            return Step()
        return Step(model, model)

    def cost(self, node: int, round: int, peers: Sequence[int], budget: Budget, plan: Any) -> Cost:
        """Return a client's steps and measurements, or the server's sums: two FLOPs per number of each participant.

        The server's is counted as if everybody that it asked had answered.
        """
        federation = self._federation
        if self.setup.is_server(node):
            held = [own for k in peers if (own := self._modalities_of(k))]
            asked = sum(map(federation.numbers, held))
            flops = {"aggregation": 2.0 * self.model_copies * asked}
            if optimizer := getattr(self._options, "server_optimizer", None):
                step = optimizer.make().FLOPS * federation.numbers(federation.modalities)
                flops |= {"server_optimizer": float(step)} if step else {}
            return Cost({}, flops)
        client = self._clients.get(node)
        if client is None:
            return Cost()
        steps = budget.at_most(federation.steps(node, round))
        cost = federation.cost(node, steps, self._measured_samples(client))
        more = self._channel.flops(client.modalities, steps * self._options.batch_size)
        return replace(cost, flops={**cost.flops, **more}) if more else cost

    def messages(
        self, node: int, round: int, receivers: Sequence[int], together: bool = False
    ) -> Sequence[Message]:
        """Return what ``node`` sends: to the server all parts that it holds, to others the parts that both hold.

        Where ``together``, all of the server's participants hear one message that has the parts of all of them.
        """
        federation, is_server = self._federation, self.setup.is_server(node)
        client = self._clients.get(node)
        if client is not None and self.setup.has_server:
            extra = federation.costs.bits_of(self._upload_numbers(client))
            bits = self._channel.bits(client.modalities, self._message_bits(client.modalities))
            return [Message(tuple(receivers), bits + extra)]
        if not is_server and (client is None or not self._mixes(round)):
            return ()
        others = [k for k in receivers if self._modalities_of(k)]
        groups: dict[tuple[str, ...], list[int]] = {}
        for k in others:
            both = self._modalities_of(k) if is_server else federation.shared(node, k)
            groups.setdefault(both, []).append(k)
        if together and groups:
            owned = {m for group in groups for m in group}
            groups = {tuple(m for m in federation.modalities if m in owned): others}
        extra = federation.costs.bits_of(self._download_numbers()) if is_server else 0
        sizes = {modalities: self._message_bits(modalities) + extra for modalities in groups}
        if not is_server:
            sizes = {modalities: self._channel.bits(modalities, bits) for modalities, bits in sizes.items()}
        return [Message(tuple(to), sizes[modalities]) for modalities, to in groups.items()]

    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Order a client's local update from its model; the server has none of its own, and sends its model."""
        client = self._clients.get(node)
        if client is None:
            return Step(state, state)
        federation, model = self._federation, state
        inputs = {
            "architecture": federation.restricted(client.modalities),
            "state": federation.own(model.parts, client.modalities),
            "samples": federation.samples,
            "device": node,
            "round": round,
            "steps": next(iter(cost.iterations.values())),
            "head_weights": self._head_weights(work, round, model, client),
            "plan": self._plan,
            "seed": derive_seed(self.setup.seed, "training", node, round),
            "torch_device": self.setup.torch_device,
            "pace": self._pace(round, model),
            "correction": self._correction(work, round, model),
        }
        stack = self._stack(client.modalities, inputs["steps"])
        trained = work.do(local_update.local_update, inputs, round, stack)
        trained, metrics, memory = self._channel.private(work, node, round, model, trained, inputs["steps"])
        upload = self._outgoing(work, node, round, model, trained)
        if self.setup.has_server or self._mixes(round):
            upload, memory = self._channel.sent(work, node, round, upload, memory)
        kept = memory if self._channel.keeps else None
        if self.setup.has_server and not federation.local:  # it will train from what it is sent then
            return Step(kept and Model(round, None, None, kept), upload, metrics)
        return Step(Model(round, trained["state"], model.head_weights, kept), upload, metrics)

    def _pace(self, round: int, model: Model) -> float:
        """Return the factor on the step size: by rounds, or by versions of a server that does not wait."""
        return self._factor_after(max(round - 1, model.number))

    def _stack(self, modalities: tuple[str, ...], steps: int) -> Stack:
        """Return how local updates of clients with these modalities are done as one."""
        if modalities not in self._stacks:
            alike = [k for k, client in self._clients.items() if client.modalities == modalities]
            parts = self._federation.parts(modalities)
            self._stacks[modalities] = Stack(
                f"local update {self._federation.restricted(modalities).value.text} {self._plan} {len(parts)} parts",
                local_update.local_updates,
                local_update.shortened,
                max((self.training_memory_bytes(k) for k in alike), default=0.0),
                f"training {'+'.join(modalities)}",
                steps,
                local_update.obstacle,
            )
        return self._stacks[modalities]

    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Any]
    ) -> Step:
        """Order the server's next model, or a device's mix with its neighbours'; under a server a device takes its."""
        return self.aggregate_weighed(work, node, round, state, arrived, {})

    def aggregate_weighed(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        factors: Mapping[int, float],
    ) -> Step:
        """Order the same, where neighbours' models count for less than ξ by their ``factors``."""
        if self.setup.is_server(node):
            return self._combine(work, round, state, arrived)
        if node not in self._clients:
            return Step(state)
        if self.setup.has_server:
            (sent,) = arrived.values()
            return Step(self._received(work, node, round, state, sent))
        if not (self._mixes(round) or arrived):
            return Step(state._replace(number=round))
        how = {"factors": factors, "neighbours": self._neighbours, "met": self._met.get(node)}
        return self._channel.mixed(work, node, round, state, arrived, how)

    def _received(self, work: TaskGraph, node: int, round: int, own: Model | None, sent: Model) -> Model:
        """Return the model that a client begins with: what the server has sent, with what is its ``own``."""
        if self._channel.keeps:
            sent = sent._replace(memory=own and own.memory)
        if own is None or not self._federation.local:
            return sent
        parts = self._federation.merged(work, round, self._clients[node].modalities, own.parts, sent.parts)
        return sent._replace(parts=parts)

    def _combine(self, work: TaskGraph, round: int, before: Model, arrived: Mapping[int, Upload]) -> Step:
        """Order the server's next model; if nothing ``arrived`` it is the one before."""
        if not arrived:
            model = before._replace(number=round)
            return Step(model, model, self._server_method.value.dropped(0))
        inputs = {"method": self._server_method, "round": round, "before": before, "arrived": arrived}
        combined = work.together(averaging.combine, inputs, round)
        model = Model(round, combined["parts"], combined["head_weights"], combined["memory"])
        return Step(model, metrics=combined["metrics"])

    def merge(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        devices: Mapping[int, Sequence[int]],
    ) -> Step:
        """Order the mean of edge servers' models by samples; see :func:`learners.training.merging.merged`.

        The optimizer of an edge server begins anew from there.
        """
        federation, models = self._federation, {e: model.parts for e, model in arrived.items()}
        amounts = averaging.amounts_by_part(devices, federation.amounts, federation.held)
        inputs = {"own": state.parts, "arrived": models, "amounts": amounts}
        return Step(Model(round, work.together(averaging.merged, inputs, round), state.head_weights))

    def _modalities_of(self, node: int) -> tuple[str, ...]:
        """Return the modalities of a client, or of a server, which has all; none of those that take no part."""
        if self.setup.is_server(node):
            return self._federation.modalities
        return self._clients[node].modalities if node in self._clients else ()

    def model(self, node: int, state: Any) -> Kept | None:
        """Return the server's model, or a device's without a server or with ``local``, once it has been sent one."""
        modalities = self._modalities_of_model(node)
        if not modalities or state is None:
            return None
        parts = self._federation.own(state.parts, modalities)
        return kept_model(self._federation.restricted(modalities).value, parts)

    @classmethod
    def module(cls, network: Mapping[str, Any], tensors: Mapping[str, Any]) -> Any:
        """Return the network of a model that was kept; its ``logits`` are those of the fused head."""
        return module_of(network, tensors)

    def _modalities_of_model(self, node: int) -> tuple[str, ...]:
        """Return the modalities of the model of ``node``; none where it has no model of its own."""
        local = self._federation.local
        if self.setup.is_server(node) and not local:
            return self._federation.modalities
        if (not self.setup.has_server or local) and node in self._clients:
            return self._clients[node].modalities
        return ()

    def evaluate(self, work: TaskGraph, node: int, round: int, state: Any) -> Future | None:
        """Order the evaluation of the server's model, or without one of a device's; after every so many rounds."""
        settings, federation = self.setup.evaluation, self._federation
        if round % settings.every and round != self.setup.rounds:
            return None
        modalities = self._modalities_of_model(node)
        if not modalities:
            return None
        inputs = {
            "architecture": federation.restricted(modalities),
            "state": federation.own(state.parts, modalities),
            "store": federation.store,
            "rows": federation.test_rows,
            "batch_size": settings.batch_size,
            "seed": derive_seed(self.setup.seed, "evaluation", node, round),
            "torch_device": self.setup.torch_device,
            "judge": federation.judge,
            "devices": (node,) if node in self._clients else tuple(self._clients),
        }
        result = work.do(evaluation.evaluate, inputs, round)
        return work.together(report.evaluated, {"result": result, "modalities": federation.modalities}, round)
