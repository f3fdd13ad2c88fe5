"""The way of a device's model to others, round by round: noise, compression, mixing, and a memory of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import networkx as nx

from learners.networks.late_fusion import FUSION, head_part, trunk_part
from learners.training.coding import Codec, Memory, compressed
from learners.training.compression import WHOLE
from learners.training.late_fusion.exchange import Model, Upload
from learners.training.late_fusion.neighbours import Neighbours, mix, owners
from learners.training.late_fusion.sending import gossip, privatised
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed
from netsim.learner import Step
from netsim.work.future import Shared

if TYPE_CHECKING:
    from learners.training.late_fusion.federation import Federation
    from learners.training.late_fusion.options import FederatedOptions
    from learners.training.privacy import PrivacyOptions
    from netsim.work.future import Future
    from netsim.work.graph import TaskGraph

EPSILON = {
    "epsilon": "ε of the differential privacy of all that the device has sent so far, at the scenario's δ"
}


class Said(NamedTuple):
    """A message's place among the others: how many there were before, and the device's model for neighbours then."""

    number: int
    before: Any


class Channel:
    """Noise and compression of a scenario.

    Attributes:
        keeps: Whether devices remember anything.
        takes_late: Whether messages may come in another round and neighbours change: copies need all, in order.
    """

    def __init__(self, federation: Federation, options: FederatedOptions) -> None:
        """Find out what is to be done.

        Raises:
            ScenarioError: It cannot be done with these networks.
        """
        self._federation, setup = federation, federation.setup
        choice = getattr(options, "compression", WHOLE)
        self._privacy: PrivacyOptions | None = getattr(options, "privacy", None)
        self._codec = Codec(choice, federation.local, setup.seed, not setup.has_server)
        self._compresses = choice.name != WHOLE.name
        self._shared, self._first = Shared(self._codec), Shared(federation.initial)
        self._local = Shared(federation.local)
        self._shares: dict[tuple[str, ...], float] = {}
        self.keeps = self._privacy is not None or (self._compresses and self._codec.remembers)
        self.takes_late = not (self._compresses and self._codec.gossips)
        if self._privacy is not None:
            self._check_statistics(self._privacy)

    def _check_statistics(self, privacy: PrivacyOptions) -> None:
        local = self._federation.local
        for name, part in self._federation.initial.items():
            layout, stays = part.layout, local.get(name, ())
            kept = sum(place >= layout.weights for place in stays)
            if layout.sent - layout.weights > (0 if privacy.mode == "sample" else kept):
                raise ScenarioError(
                    f"learner.privacy: {name} has running statistics of batch normalisation, which noise on "
                    f"{'gradients of samples' if privacy.mode == 'sample' else 'weights'} does not hide; use a network "
                    "without" + (", or learner.local: [bn]" if privacy.mode == "update" else "")
                )

    def _memory(self, model: Model) -> Memory:
        """Return what a device remembers; a server's model may bring what the server does."""
        return (self.keeps and model.memory) or Memory()

    @property
    def metrics(self) -> dict[str, str]:
        """Return what is measured besides."""
        return EPSILON if self._privacy else {}

    def neighbours(self, graph: nx.Graph) -> Shared:
        """Return who mixes which parts on ``graph``: their owners, and everybody the fused head."""
        federation = self._federation
        holders = {
            (trunk_part(m), head_part(m)): sorted(devices) for m, devices in federation.owners.items()
        } | {(FUSION,): list(federation.clients)}
        groups = [
            owners(
                graph,
                devices,
                {p: federation.initial[p] for p in parts if p in federation.initial},
                federation.local,
            )
            for parts, devices in holders.items()
        ]
        return Shared(Neighbours(groups, federation.options.on_nan == "drop"))

    def bits(self, modalities: Sequence[str], whole: float) -> float:
        """Return the size of a message with ``modalities``, from that of the model as it is [bit]."""
        if not self._compresses:
            return whole
        key = tuple(modalities)
        if key not in self._shares:
            parts = self._federation.own(self._federation.initial, key)
            self._shares[key] = self._codec.share(parts, self._federation.setup.costs.bits_per_parameter)
        return round(self._shares[key] * whole, 6)

    def flops(self, modalities: Sequence[str], samples: float) -> dict[str, float]:
        """Return FLOPs of compression and of privacy; a norm and what is shortened and added are four a number."""
        if not (self._privacy or self._compresses):
            return {}
        numbers, found = self._federation.numbers(tuple(modalities)), {}
        if self._privacy:
            found["privacy"] = 4.0 * numbers * (1 if self._privacy.mode == "update" else samples)
        if self._compresses:
            found["compression"] = float(self._codec.compressor.FLOPS * numbers)
        return found

    def private(
        self, work: TaskGraph, node: int, round: int, model: Model, trained: Future, steps: int
    ) -> tuple[Future, Future, Memory]:
        """Return what was trained as others may know it, its metrics, and the device's memory so far."""
        memory = self._memory(model)
        if self._privacy is None:
            return trained, trained["metrics"], memory
        client, batch = self._federation.clients[node], self._federation.options.batch_size
        by_sample = self._privacy.mode == "sample"
        releases = memory.releases + (steps if by_sample else 1)
        share = min(1.0, batch / len(client.train)) if by_sample else 1.0
        inputs = {
            "privacy": self._privacy,
            "local": self._local,
            "seed": derive_seed(self._federation.setup.seed, "privacy", node, round),
            "trained": trained,
            "before": self._federation.own(model.parts, client.modalities),
            "epsilon": self._privacy.epsilon(releases, share),
        }
        found = work.together(privatised, inputs, round)
        return found["trained"], found["metrics"], memory._replace(releases=releases)

    def sent(
        self, work: TaskGraph, node: int, round: int, upload: Upload, memory: Memory
    ) -> tuple[Upload, Memory]:
        """Return what receivers make of an ``upload``, and the device's memory of it."""
        if not self._compresses:
            return upload, memory
        gossips, modalities = self._codec.gossips, self._federation.clients[node].modalities
        known = upload.before
        if gossips:
            known = self._federation.initial if memory.public is None else memory.public
        known = self._federation.own(known, modalities)
        inputs = {
            "codec": self._shared,
            "device": node,
            "round": round,
            "trained": upload.trained,
            "known": known,
            "error": memory.error,
        }
        found = work.together(compressed, inputs, round)
        trained = found["trained"]
        if not gossips:
            memory = memory._replace(error=found["error"]) if self._codec.remembers else memory
            return upload._replace(trained=trained), memory
        said = Said(memory.number, known)
        memory = memory._replace(public=trained["state"], number=memory.number + 1)
        return upload._replace(trained=trained, more=said), memory

    def mixed(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        model: Model,
        arrived: Mapping[int, Upload],
        how: Mapping[str, Any],
    ) -> Step:
        """Order the mix of a device's model with those that ``arrived``, or a step of gossip of compressed ones.

        Args:
            work: The task graph.
            node: The device.
            round: Its round.
            model: Its model.
            arrived: Uploads by sender.
            how: More inputs of :func:`~learners.training.late_fusion.neighbours.mix`.
        """
        memory = self._memory(model)
        inputs = {
            "device": node,
            "own": model.parts,
            "arrived": {k: upload.trained for k, upload in arrived.items()},
            **how,
        }
        if not self._compresses:
            mixed = work.together(mix, inputs, round)
            kept = memory if self.keeps else None
            return Step(Model(round, mixed["parts"], model.head_weights, kept), metrics=mixed["metrics"])
        own = self._federation.own(self._federation.initial, self._federation.clients[node].modalities)
        inputs |= {
            "public": own if memory.public is None else memory.public,
            "before": {
                k: upload.more.before
                for k, upload in arrived.items()
                if upload.more.number != memory.numbers.get(k, 0)
            },
            "copies": memory.copies,
            "first": self._first,
            "step": self._codec.step,
        }
        found = work.together(gossip, inputs, round)
        numbers = {**memory.numbers, **{k: upload.more.number + 1 for k, upload in arrived.items()}}
        memory = memory._replace(copies=found["copies"], numbers=numbers)
        return Step(Model(round, found["parts"], model.head_weights, memory), metrics=found["metrics"])
